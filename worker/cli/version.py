"""`publish-worker --version`."""

import platform
from typing import Annotated

import typer

from worker.cli.late_imports import late_imports
from worker.runtime.printing import print_line

with late_imports():
    from importlib import metadata


def print_version(wanted: bool) -> None:
    """Print the versions of this program, Python and the system, and end, if that is asked for."""
    if wanted:
        print_line(
            f"publish-worker {metadata.version('publish-worker')} "
            f"(Python {platform.python_version()}, {platform.system()} {platform.machine()})"
        )
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version",
        help="Show the version of this program and of Python, and exit.",
        callback=print_version,
        is_eager=True,
    ),
]
