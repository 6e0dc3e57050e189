"""`publish-worker up` and `demo`: everything on this machine."""

from typing import Annotated

import typer

from worker.cli.late_imports import late_imports
from worker.runtime.explained_error import ExplainedError

with late_imports():  # without the extra `embedded`, the first two cannot be imported
    from worker.local import demo as local_demo
    from worker.local import up as local_up


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
    raise typer.Exit(local_up.up(with_platform=with_platform, sample=sample))


def demo() -> None:
    """Show how videos are published, from start to finish, on temporary engines and data."""
    try:
        show = local_demo.demo
    except ModuleNotFoundError as error:
        raise ExplainedError(
            f"The demo needs {error.name}: install publish-worker[embedded], "
            "or run `make demo` in a checkout."
        ) from error
    raise typer.Exit(show())
