"""`publish-worker sessions`: list and end the sessions of the console."""

from typing import Annotated

import typer

from schemas.audit import AuditAction, AuditSubject
from worker.cli.audit import audited
from worker.cli.ids import GivenId, IdOf, find_id, parse_id
from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson, command_group
from worker.cli.output import Columns, print_json, print_rows
from worker.runtime.printing import complain, print_note

with late_imports():
    from worker.cli import connect
    from worker.operations import open_sessions
    from worker.runtime import settings

COLUMNS: Columns = {
    "id": "id",
    "of": lambda session: "person" if session.person_id else "key",
    "of id": lambda session: session.person_id or session.key_id,
    "name": "name",
    "began": "created_at",
    "last used": "last_seen_at",
    "ends": "expires_at",
}

app = command_group("List and end the sessions of the console.")


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List the sessions that have not ended, the last used first; 1,000 at most."""
    with connect.open_database() as engine:
        print_rows(open_sessions.list_sessions(engine), COLUMNS, as_json=as_json)


@app.command()
def end(
    given: Annotated[
        GivenId,
        typer.Argument(
            metavar="ID",
            help="An id that `sessions list` shows: of a session, or of a person or a key, which "
            "ends all of theirs.",
            parser=parse_id,
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """End one session, or all of a person or a key, at once. They may sign in again."""
    with connect.open_database() as engine:
        found = find_id(engine, IdOf.SESSION, given)
        subject = (AuditAction.SESSION_END, AuditSubject.SESSION, found)
        with audited(engine, *subject) as by:
            policy = settings.Settings().access_policy()
            ended = open_sessions.end_sessions(engine, found, by, policy)
    if not ended:
        complain(f"No session has this id, nor a person or key with a session: {found}.")
        raise typer.Exit(1)
    if as_json:
        print_json({"sessions": ended})
        return
    print_note(f"Ended: {ended}.")
