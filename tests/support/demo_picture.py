"""The picture of `make demo`: a run of its own, printed as on a terminal, some scenarios left out.

python -m tests.support.demo_picture docs/demo.svg
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COLUMNS = 120
SHOWN = 3
"""The scenarios of the picture; a line says how many more there are."""
TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
HEADING = re.compile(r"^\d+ .* ─+$")
SUMMARY = re.compile(r"^╭─+ Summary ─+╮$")
FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
"""Rich asks another host for its font. Without it, the reader sees a font of the system."""


def run() -> str:
    """Run the demo; what it prints on a terminal."""
    done = subprocess.run(
        [Path(sys.executable).with_name("publish-worker"), "demo"],
        env={**os.environ, **TERMINAL, "COLUMNS": str(COLUMNS)},
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout}\nThe demo failed: there is no picture of it.")
    return done.stdout


def shorten(lines: list[Text]) -> Iterator[Text]:
    """Leave out the scenarios after the first ones."""
    scenarios = 0
    for line in lines:
        scenarios += bool(HEADING.match(line.plain))
        if SUMMARY.match(line.plain):
            yield Text(f"… and {scenarios - SHOWN} more scenarios …", "dim italic")
            yield Text()
            scenarios = 0
        if scenarios <= SHOWN:
            yield line


def draw(printed: str) -> str:
    """The picture."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), highlight=False, emoji=False)
    lines = [Text.from_ansi(line) for line in printed.rstrip().split("\n")]
    for line in shorten(lines):
        console.print(line, no_wrap=True, overflow="ellipsis")
    return console.export_svg(
        title="make demo", code_format=FONTS.sub("", CONSOLE_SVG_FORMAT), unique_id="demo"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(run()))
