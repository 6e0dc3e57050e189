"""Pictures of the console for its page in docs/, from a running `make up` with some activity.

python -m tests.support.console_pictures http://localhost:8000 pw_… docs/console
"""

import sys
from pathlib import Path

from tests.support.browser import PHONE, Visit, chromium, visit

PAGES = {
    "now": "/console/",
    "calendar": "/console/calendar/",
    "videos": "/console/videos/",
    "video": "/console/videos/7",
    "failures": "/console/failures/",
    "webhooks": "/console/webhooks/",
    "keys": "/console/keys/",
    "audit": "/console/audit/",
}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 860}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 860}},
    "phone": {"color_scheme": "light", "viewport": PHONE},
}


def main(url: str, key: str, folder: str) -> None:
    """Take a picture of each page in each look."""
    Path(folder).mkdir(exist_ok=True)
    with chromium() as browser:
        for look, options in LOOKS.items():
            with visit(browser, url, **options) as opened:
                opened.sign_in(key)
                for name, path in PAGES.items():
                    take(opened, path, Path(folder) / f"{name}-{look}.jpg")


def take(opened: Visit, path: str, target: Path) -> None:
    """Take a picture of one page, when all it needs has arrived."""
    opened.page.goto(f"{opened.url}{path}", wait_until="load")
    opened.page.wait_for_function("document.querySelector('#zone').textContent.includes('/')")
    if "calendar" in path:
        opened.page.locator(".ec-body, .ec-main").first.wait_for()
    opened.page.screenshot(path=target, type="jpeg", quality=72)


if __name__ == "__main__":
    main(*sys.argv[1:4])
