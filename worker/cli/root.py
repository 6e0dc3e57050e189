"""The root of the command line: its own options, and the commands of the registry."""

import typer
from typer.main import get_command

from worker.cli.failures import one_clear_end
from worker.cli.late import root_group
from worker.cli.registry import COMMANDS
from worker.cli.version import Version

app = typer.Typer(
    name="publish-worker",
    cls=root_group(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    epilog="Settings come from the environment: DATABASE_URL, REDIS_URL, BROKER_URL, "
    "PUBLIC_BASE_URL, … With neither URL set, a command uses the engines of a running "
    "`publish-worker up` in this folder, and says so on stderr. Start with `publish-worker demo`."
    "\n\nExit codes: 0 done; 1 refused, failed or unhealthy; 2 the command line is not valid; "
    "3 accepted, but not finished within `--wait`; 130 ended by Ctrl-C; 141 the reader of stdout "
    "ended first."
)
def publish_worker(*, version: Version = False) -> None:
    """Publish generated videos once, at the right moment, and notify every subscriber."""


def run(arguments: list[str] | None) -> None:
    """Run one command; print an error that has an explanation as one line on stderr."""
    with one_clear_end():
        code = get_command(app).main(arguments, standalone_mode=False)
    raise SystemExit(code)
