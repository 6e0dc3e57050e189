"""`publish-worker`, the command line: each command translates, calls one function and prints.

Results are printed on stdout, everything else on stderr. Exit codes: 0 done; 1 refused, failed or
unhealthy; 2 the command line is not valid; 3 accepted, but not finished within `--wait`; 130
interrupted by Ctrl-C. `events tail` and `status --watch` run until Ctrl-C: 0.
"""

from typing import Annotated

import typer
from typer.main import get_command

from db.platform_schema import read_platform_schema
from db.session import transaction
from worker.cli import (
    audit,
    commands,
    enqueue,
    events,
    keys,
    plan,
    punctuality,
    sessions,
    status,
    videos,
    webhooks,
)
from worker.cli.connect import open_database
from worker.cli.output import exit_on_refusal
from worker.runtime import logs
from worker.runtime.errors_explained import (
    ExplainedError,
    explain_missing_tables,
    one_clear_line,
)
from worker.runtime.printing import prepare_streams, print_note
from worker.runtime.settings import LogFormat

app = typer.Typer(
    name="publish-worker",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(
    "enqueue",
    epilog="Examples: `publish-worker enqueue 7 8 9 --wait 10`, "
    "`publish-worker enqueue 7 --publish-at-local 2026-12-01T18:00 --time-zone Europe/Berlin`",
)(enqueue.enqueue)
app.command(
    "unpublish",
    epilog="Examples: `publish-worker unpublish 7 --wait 10`, "
    "`publish-worker unpublish 7 --unpublish-at 2026-12-15T18:00:00Z`",
)(enqueue.unpublish)
app.command("plan", epilog="Example: `publish-worker plan 7 --publish-at 2026-12-01T18:00:00Z`")(
    plan.show_plan
)
app.command("status")(status.status)
app.command("punctuality")(punctuality.punctuality)
app.command(
    "audit", epilog="Example: `publish-worker audit --action command.cancel --workspace 1`"
)(audit.audit)
app.add_typer(commands.app, name="commands")
app.add_typer(events.app, name="events")
app.add_typer(keys.app, name="keys")
app.add_typer(sessions.app, name="sessions")
app.add_typer(videos.app, name="videos")
app.add_typer(webhooks.app, name="webhooks")


@app.callback(
    epilog="Settings come from the environment: DATABASE_URL, REDIS_URL, BROKER_URL, "
    "PUBLIC_BASE_URL, … With neither URL set, a command uses the engines of a running "
    "`publish-worker up` in this folder, and says so on stderr. Start with `publish-worker demo`."
)
def publish_worker() -> None:
    """Publish generated videos once, at the right moment, and notify every subscriber."""
    logs.configure(LogFormat.CONSOLE, "WARNING")


@app.command()
def up(
    *,
    with_platform: Annotated[
        bool | None,
        typer.Option(
            "--with-platform/--without-platform",
            help="Create the platform's tables too. Default: yes on engines that `up` starts, "
            "no on others.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        bool | None,
        typer.Option(
            "--sample/--no-sample",
            help="Load the sample workspaces into an empty platform. Default: yes on engines that "
            "`up` starts, no on others.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run engines, API, worker and beat on this machine until Ctrl-C. The data stays.

    With DATABASE_URL and REDIS_URL set, it uses those servers and starts no engines.
    """
    from worker.local.up import up as run  # noqa: PLC0415 - what it needs, only a checkout has

    raise typer.Exit(run(with_platform=with_platform, sample=sample))


@app.command()
def demo() -> None:
    """Show how videos are published, from start to finish, on temporary engines and data."""
    try:
        from worker.local.demo import demo as show  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        raise ExplainedError(
            f"The demo needs {error.name}: install publish-worker[embedded], "
            "or run `make demo` in a checkout."
        ) from error
    raise typer.Exit(show())


@app.command()
def migrate(
    *,
    with_platform: Annotated[
        bool,
        typer.Option(
            "--with-platform",
            help="Create the platform's tables too, if they do not exist.",
        ),
    ] = False,
    sample: Annotated[
        bool, typer.Option("--sample", help="Load the sample workspaces into an empty platform.")
    ] = False,
) -> None:
    """Migrate the database to this version. It may run twice, and on two hosts at once."""
    from db.migrate import migrate as bring_up_to_date  # noqa: PLC0415 - only this needs Alembic
    from db.sample_data import load_sample  # noqa: PLC0415

    with open_database(migrated=False) as engine, explain_missing_tables():
        bring_up_to_date(engine, with_platform=with_platform)
        if sample:
            with transaction(engine) as tx:
                load_sample(tx)
        with transaction(engine) as tx:
            schema = read_platform_schema(tx)
        if schema.fault:
            print_note(f"{schema.fault} {schema.remedy}")
    print_note("The database is up to date.")


def main(arguments: list[str] | None = None) -> None:
    """Run one command; print an error that has an explanation as one line on stderr."""
    with one_clear_line(), exit_on_refusal():
        prepare_streams()
        code = get_command(app).main(arguments, standalone_mode=False)
    raise SystemExit(code)
