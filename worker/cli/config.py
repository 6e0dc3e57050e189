"""`publish-worker config`: every setting, from the code; or what each one is now."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson
from worker.cli.output import print_json, print_table
from worker.runtime.printing import complain, print_line

with late_imports():
    from worker.cli import connect
    from worker.runtime import setting_sources

if TYPE_CHECKING:
    from worker.runtime.setting_sources import Setting

PAGE = """\
# Configuration

<!-- Written by `publish-worker config --markdown`: edit worker/runtime/settings.py. -->

Settings are environment variables, and every process gets the same ones. Each is also read as
`PUBLISH_WORKER_…` (`PUBLISH_WORKER_LOG_LEVEL`), which wins: use that where another program in the
same environment owns the bare name. An address that Kubernetes sets for a Service
(`API_PORT=tcp://…`) is not a setting. Celery's own `CELERY_BROKER_URL` is not read, nor is a file
`.env`. A value that is not valid ends a process as it starts, with one line that says what is.

`publish-worker config --resolved` shows what each setting is now and what sets it;
`publish-worker doctor` checks them, and finds misspelt names. [Operations](operations.md) describes
[URLs](operations.md#urls-tls-and-failover), [poolers](operations.md#rights-and-connection-poolers)
and [sign-in](access.md#sign-in-with-an-identity-provider). Celery's own settings are in
`celeryconfig.py`, each with its reason.

| variable | type | default | meaning |
|---|---|---|---|
"""


def config(
    *,
    resolved: Annotated[
        bool,
        typer.Option("--resolved", help="Show what each setting is now, and what sets it."),
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Write docs/configuration.md on stdout.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List every setting with its type, default and meaning, or what each one is now.

    Secrets are never shown: `env` prints them.
    """
    if markdown and (resolved or as_json):
        raise typer.BadParameter("Give --markdown alone.")
    if markdown:
        for line in to_page():
            print_line(line)
    elif resolved:
        _print_resolved(as_json=as_json)
    else:
        _print_reference(as_json=as_json)


def to_page() -> list[str]:
    """Return the lines of docs/configuration.md."""
    return [*PAGE.splitlines(), *map(_to_row, setting_sources.list_settings())]


def _to_row(setting: "Setting") -> str:
    default = "none" if setting.default is None else f"`{setting.default}`"
    cells = (f"`{setting.name}`", setting.type, default, setting.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _print_reference(*, as_json: bool) -> None:
    if as_json:
        for setting in setting_sources.list_settings():
            print_json(asdict(setting))
        return
    print_table(
        ["setting", "type", "default", "meaning"],
        [
            [each.name, each.type, each.default or "", each.meaning]
            for each in setting_sources.list_settings()
        ],
    )


def _print_resolved(*, as_json: bool) -> None:
    given, invalid = setting_sources.read_valid()
    resolved = setting_sources.resolve(*connect.find_engines(given))
    if as_json:
        for each in resolved:
            print_json(asdict(each))
    else:
        rows = [[each.name, each.value or "", each.source] for each in resolved]
        print_table(["setting", "value", "source"], rows)
    for name, likely in setting_sources.find_misspelt():
        complain(f"{name} is set, and nothing reads it{f': use {likely}' if likely else ''}.")
    if invalid is not None:
        raise invalid
