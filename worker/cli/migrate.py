"""`publish-worker migrate`: our tables, and the platform's where they are ours."""

from typing import Annotated

import typer

from db.migrate import migrate as bring_up_to_date
from db.platform_schema import read_platform_schema
from db.sample_data import load_sample
from db.session import transaction
from worker.cli.connect import open_database
from worker.runtime.errors_explained import explain_missing_tables
from worker.runtime.printing import print_note


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
