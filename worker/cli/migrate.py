"""`publish-worker migrate`: our tables, and the platform's where they are ours."""

from typing import Annotated

import typer

from worker.cli.late_imports import late_imports
from worker.runtime.printing import print_note

with late_imports():
    from db import migrate as migrations
    from db import platform_schema, sample_data, session
    from worker.cli import connect
    from worker.runtime import errors_explained


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
    with (
        connect.open_database(migrated=False) as engine,
        errors_explained.explain_missing_tables(),
    ):
        migrations.migrate(engine, with_platform=with_platform)
        if sample:
            with session.transaction(engine) as tx:
                sample_data.load_sample(tx)
        with session.transaction(engine) as tx:
            schema = platform_schema.read_platform_schema(tx)
        if schema.fault:
            print_note(f"{schema.fault} {schema.remedy}")
    print_note("The database is up to date.")
