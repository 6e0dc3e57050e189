"""`publish-worker keys`: make, list and revoke API keys."""

from typing import Annotated

import typer

from schemas.audit import AuditAction, AuditSubject
from schemas.values.caller import ApiKey, Scope
from worker.cli.audit import audited
from worker.cli.ids import GivenId, IdOf, find_id, parse_id
from worker.cli.interrupts import ctrl_c_held
from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson, check_id, command_group
from worker.cli.output import Columns, print_json, print_rows
from worker.runtime.printing import complain, print_line, print_note

with late_imports():
    from worker.cli import connect
    from worker.operations import api_keys

COLUMNS: Columns = {
    "id": "id",
    "name": "name",
    "scope": "scope",
    "workspace": lambda key: key.workspace_id or "all",
    "created": "created_at",
    "last used": "last_used_at",
    "revoked": "revoked_at",
}

app = command_group("Make, list and revoke API keys.")


@app.command(
    epilog="Example: `KEY=$(publish-worker keys create --workspace 1 --scope publish --name ci)`"
)
def create(
    *,
    name: Annotated[str, typer.Option(help="A name for the key; `keys list` shows it.")],
    scope: Annotated[
        Scope,
        typer.Option(
            help="What the key may do. Each scope includes the ones before it. Only a key of scope "
            "`events` may be in a URL."
        ),
    ],
    workspace: Annotated[
        int | None, typer.Option(help="Confine the key to this workspace.", callback=check_id)
    ] = None,
    all_workspaces: Annotated[
        bool, typer.Option("--all-workspaces", help="Make a key for every workspace.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the key with its secret as JSON.")
    ] = False,
) -> None:
    """Make a key. Its secret is printed once, alone on stdout, and stored only as a hash."""
    if (workspace is None) is not all_workspaces:
        raise typer.BadParameter("Give either --workspace N or --all-workspaces.")
    with connect.open_database() as engine, ctrl_c_held():  # else the secret may be lost
        with audited(engine, AuditAction.API_KEY_CREATE) as by:
            secret = api_keys.create_key(
                engine, name=name, scope=scope, workspace_id=workspace, by=by
            )
            made = api_keys.read_key_of(engine, secret)
        _print_secret(made, secret, as_json=as_json)


def _print_secret(made: ApiKey, secret: str, *, as_json: bool) -> None:
    if as_json:
        print_json({**dict(made), "secret": secret})
        return
    where = "every workspace" if made.workspace_id is None else f"workspace {made.workspace_id}"
    print_note(
        f"A key named {made.name!r} for {where}, scope {made.scope}. It is shown only once; send "
        "it as"
    )
    print_note("Authorization: Bearer <key>")
    print_line(secret)


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List all keys, the oldest first, without their secrets."""
    with connect.open_database() as engine:
        print_rows(api_keys.list_keys(engine), COLUMNS, as_json=as_json)


@app.command()
def revoke(
    key_id: Annotated[
        GivenId,
        typer.Argument(metavar="KEY_ID", help="An id that `keys list` shows.", parser=parse_id),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Revoke a key, at once and for ever."""
    with connect.open_database() as engine:
        found = find_id(engine, IdOf.KEY, key_id)
        subject = (AuditAction.API_KEY_REVOKE, AuditSubject.API_KEY, found)
        with audited(engine, *subject) as by:
            revoked = api_keys.revoke_key(engine, found, by)
        if not revoked:
            complain(f"There is no key {found} that is still valid.")
            raise typer.Exit(1)
        if as_json:
            print_json(api_keys.read_key(engine, found))
    print_note("Revoked.")
