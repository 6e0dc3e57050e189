"""Build or serve the site, in the checkout or in a folder of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

from website.pages import ROOT, write_pages

CONFIGURATION = "zensical.toml"
SERVE = ("serve", "--dev-addr", "localhost:8001")
BUILD = ("build", "--strict", "--clean")


def build(
    folder: Path = ROOT, arguments: tuple[str, ...] = BUILD
) -> "subprocess.CompletedProcess[str]":
    """Write the pages into build/website of a folder, and the site into its site/."""
    write_pages(folder / "build" / "website")
    shutil.rmtree(folder / "site", ignore_errors=True)
    if folder != ROOT:
        shutil.copy(ROOT / CONFIGURATION, folder)
    return subprocess.run(
        [sys.executable, "-m", "zensical", *arguments],
        cwd=folder,
        capture_output=folder != ROOT,
        text=True,
        check=False,
    )
