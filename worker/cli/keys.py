"""`publish-worker keys`: make, list and revoke API keys."""

from typing import Annotated
from uuid import UUID

import typer

from schemas.values.caller import Scope
from worker.cli.connect import database
from worker.cli.output import moment, print_json, print_table
from worker.operations import api_keys
from worker.runtime.errors_explained import complain

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Make, list and revoke API keys."
)


@app.command(
    epilog="Example: `KEY=$(publish-worker keys create --workspace 1 --scope publish --name ci)`"
)
def create(
    *,
    name: Annotated[str, typer.Option(help="What the key is for, as the list shows it.")],
    scope: Annotated[Scope, typer.Option(help="Each includes the ones before it.")],
    workspace: Annotated[
        int | None, typer.Option(help="The workspace the key is confined to.", min=1)
    ] = None,
    all_workspaces: Annotated[
        bool, typer.Option("--all-workspaces", help="A key for every workspace.")
    ] = False,
) -> None:
    """Make a key. Its secret is printed once, alone on stdout, and stored nowhere."""
    if (workspace is None) is not all_workspaces:
        raise typer.BadParameter("Say either --workspace N or --all-workspaces.")
    with database() as engine:
        try:
            secret = api_keys.create_key(engine, name=name, scope=scope, workspace_id=workspace)
        except api_keys.NoSuchWorkspace as error:
            complain(str(error))
            raise typer.Exit(1) from None
    where = "every workspace" if workspace is None else f"workspace {workspace}"
    typer.echo(
        f"A key named {name!r} for {where}, scope {scope}. It is shown this once; send it as\n"
        "Authorization: Bearer <key>",
        err=True,
    )
    typer.echo(secret)


@app.command("list")
def list_(
    *, as_json: Annotated[bool, typer.Option("--json", help="As JSON, one key per line.")] = False
) -> None:
    """List all keys, oldest first; the secrets are not known here."""
    with database() as engine:
        keys = api_keys.list_keys(engine)
    if as_json:
        for key in keys:
            print_json(key.model_dump(mode="json"))
        return
    print_table(
        ["id", "name", "scope", "workspace", "created", "revoked"],
        [
            [
                str(key.id),
                key.name,
                key.scope,
                str(key.workspace_id or "all"),
                moment(key.created_at),
                moment(key.revoked_at),
            ]
            for key in keys
        ],
    )


@app.command()
def revoke(key_id: Annotated[UUID, typer.Argument(help="As `keys list` shows it.")]) -> None:
    """Revoke a key, at once and for good."""
    with database() as engine:
        revoked = api_keys.revoke_key(engine, key_id)
    if not revoked:
        complain(f"There is no key {key_id} that is still valid.")
        raise typer.Exit(1)
    typer.echo("Revoked.", err=True)
