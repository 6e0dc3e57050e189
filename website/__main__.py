"""`python -m website`: builds the site into site/, and fails on a broken link or anchor.

`python -m website serve` shows it at http://localhost:8001.
"""

import sys

from website.build import BUILD, SERVE, build

if __name__ == "__main__":
    sys.exit(build(arguments=SERVE if sys.argv[1:] == ["serve"] else BUILD).returncode)
