"""The URL that a running `publish-worker up` serves, for the commands of another terminal."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

FILE = "public-base-url"
"""In the data directory, while the API runs."""


@contextmanager
def served_url(directory: Path, url: str) -> Generator[None]:
    """Let other processes find the URL until the block ends."""
    path, draft = directory / FILE, directory / f"{FILE}.new"
    draft.write_text(f"{url}\n")
    draft.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def find_served_url(directory: Path) -> str | None:
    """Return the URL. Ask only where engines run: a process that was killed leaves the file."""
    try:
        return (directory / FILE).read_text().strip()
    except FileNotFoundError:
        return None
