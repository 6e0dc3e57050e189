"""`publish-worker env`: the settings as exports, for another terminal."""

import shlex
from enum import StrEnum
from typing import Annotated

import typer

from worker.cli.late_imports import late_imports
from worker.runtime.explained_error import ExplainedError
from worker.runtime.printing import print_line

with late_imports():
    from worker.cli import connect
    from worker.runtime import settings

NAMES = ("DATABASE_URL", "REDIS_URL", "BROKER_URL", "PLATFORM_SCHEMA", "PUBLIC_BASE_URL")
"""What another process needs to work with the same data; only those that are set are printed."""
NOTHING = (
    "No `publish-worker up` runs in this folder, and neither DATABASE_URL nor REDIS_URL is set. "
    "Start `publish-worker up`, or set them."
)


class Shell(StrEnum):
    """Whose syntax the exports have."""

    SH = "sh"
    FISH = "fish"
    POWERSHELL = "powershell"


def env(
    *,
    shell: Annotated[Shell, typer.Option(help="The shell that reads them.")] = Shell.SH,
) -> None:
    """Print the settings as exports, with their secrets: `eval "$(publish-worker env)"`.

    They are those of a running `publish-worker up` in this folder or, if the two URLs are set, of
    this environment.
    """
    found, _ = connect.find_engines(settings.Settings())
    if not (found.database_url or found.redis_url):
        raise ExplainedError(NOTHING)
    for name in NAMES:
        field = name.lower()
        value = getattr(found, field)
        if value is not None and value != settings.Settings.model_fields[field].default:
            print_line(to_export(name, str(value), shell))


def to_export(name: str, value: str, shell: Shell) -> str:
    """Return the line that sets a variable; the value is quoted."""
    match shell:
        case Shell.FISH:
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"set -gx {name} '{escaped}'"
        case Shell.POWERSHELL:
            escaped = value.replace("'", "''")
            return f"$env:{name} = '{escaped}'"
        case _:
            return f"export {name}={shlex.quote(value)}"
