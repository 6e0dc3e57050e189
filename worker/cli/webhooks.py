"""`publish-worker webhooks`: register endpoints, see what became of deliveries, send again."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer
from pydantic_core import to_jsonable_python
from sqlalchemy import Engine

from db.webhooks.endpoints import EndpointRow
from db.webhooks.log import AttemptRow, DeliveryRow
from schemas.events import EventType
from schemas.webhook import (
    DeliveryFilter,
    DeliveryState,
    EndpointFilter,
    EndpointState,
    NewWebhookEndpoint,
    ReplayRequest,
    WebhookEndpointChange,
)
from worker.cli.connect import database, find_settings
from worker.cli.output import moment, print_json, print_table
from worker.cli.time_options import understood
from worker.runtime.errors_explained import complain
from worker.webhooks import endpoints

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Register webhook endpoints, see their deliveries, send again.",
)

EndpointId = Annotated[UUID, typer.Argument(help="As `webhooks list` shows it.")]
Types = Annotated[
    list[EventType] | None,
    typer.Option("--event-type", help="Only events of this type; may be given several times."),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, one document per line.")]
Limit = Annotated[int, typer.Option(help="At most so many.", min=1, max=200)]


@app.command(
    epilog="Example: `SECRET=$(publish-worker webhooks create --workspace 1 "
    "--url https://hooks.example.com/videos --event-type video.published)`"
)
def create(
    *,
    workspace: Annotated[int, typer.Option(help="Whose events to tell.", min=1)],
    url: Annotated[str, typer.Option(help="Where to POST them.")],
    event_type: Types = None,
    description: Annotated[str, typer.Option(help="What it is, as the list shows it.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="The endpoint with its secret, as JSON.")
    ] = False,
) -> None:
    """Register an endpoint. Its secret is printed once, alone on stdout, and shown nowhere else."""
    new = understood(
        NewWebhookEndpoint,
        workspace_id=workspace,
        url=url,
        event_types=event_type or None,
        description=description,
    )
    with database() as engine:
        made = _attempt(lambda: endpoints.create(engine, new, None, allow_private=_private()))
    _print_secret(made, as_json=as_json)


@app.command("list")
def list_(
    *,
    workspace: Annotated[int | None, typer.Option(help="Only this workspace's.", min=1)] = None,
    before: Annotated[UUID | None, typer.Option(help="Only those behind this one.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List endpoints, the newest first."""
    wanted = EndpointFilter(workspace_id=workspace, before=before, limit=limit)
    with database() as engine:
        page = endpoints.list_page(engine, wanted, None)
    _print_endpoints(page.endpoints, as_json=as_json)
    _tell_of_more(page.before)


@app.command()
def show(endpoint_id: EndpointId, *, as_json: AsJson = False) -> None:
    """Show one endpoint, but for its secret."""
    with database() as engine:
        endpoint = _attempt(lambda: endpoints.show(engine, endpoint_id, None))
    if as_json:
        _print_endpoints([endpoint], as_json=True)
    else:
        _print_fields(asdict(endpoint))


@app.command(epilog="Example: `publish-worker webhooks update ID --enable`")
def update(
    endpoint_id: EndpointId,
    *,
    url: Annotated[str | None, typer.Option(help="Another address.")] = None,
    event_type: Types = None,
    all_event_types: Annotated[
        bool, typer.Option("--all-event-types", help="Events of every type.")
    ] = False,
    description: Annotated[str | None, typer.Option(help="Another description.")] = None,
    enable: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="Tell it again, or no more.", show_default=False),
    ] = None,
) -> None:
    """Change an endpoint; what is not said stays.

    --disable gives up what is pending. --enable starts with the next event: what was missed
    meanwhile is not sent unless it is replayed.
    """
    if event_type and all_event_types:
        raise typer.BadParameter("Say either --event-type or --all-event-types.")
    change = _change(url, event_type, description, enable, all_event_types=all_event_types)
    with database() as engine:
        changed = _attempt(
            lambda: endpoints.update(engine, endpoint_id, change, None, allow_private=_private())
        )
    _print_endpoints([changed], as_json=False)


@app.command()
def delete(endpoint_id: EndpointId) -> None:
    """Remove an endpoint, with the log of its deliveries."""
    with database() as engine:
        _attempt(lambda: endpoints.delete(engine, endpoint_id, None))
    typer.echo("Removed.", err=True)


@app.command()
def rotate(
    endpoint_id: EndpointId,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="The endpoint with its secret, as JSON.")
    ] = False,
) -> None:
    """Make a new secret, printed once, alone on stdout. The one before signs too for 24 hours."""
    with database() as engine:
        made = _attempt(lambda: endpoints.rotate(engine, endpoint_id, None))
    _print_secret(made, as_json=as_json)


@app.command("test")
def try_out(endpoint_id: EndpointId, *, as_json: AsJson = False) -> None:
    """Send a test event now and show what came of it; exit code 1 unless the answer was 2xx."""
    with database() as engine:
        tried = _attempt(
            lambda: endpoints.try_out(
                engine,
                endpoint_id,
                None,
                base_url=find_settings().public_base_url,
                allow_private=_private(),
            )
        )
    shown = {
        "delivered": tried.succeeded,
        "started_at": tried.started_at,
        "duration_ms": tried.duration_ms,
        "status": tried.status,
        "error": tried.error,
        "answer": tried.answer,
    }
    if as_json:
        print_json(to_jsonable_python(shown))
    else:
        _print_fields(shown)
    if not tried.succeeded:
        raise typer.Exit(1)


@app.command(
    epilog="Examples: `publish-worker webhooks deliveries ID --state failed`, "
    "`publish-worker webhooks deliveries ID DELIVERY_ID`"
)
def deliveries(
    endpoint_id: EndpointId,
    delivery_id: Annotated[
        UUID | None, typer.Argument(help="This one alone, with its attempts.")
    ] = None,
    *,
    state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    before: Annotated[
        int | None, typer.Option(help="Only those before this position.", min=1)
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List an endpoint's deliveries, the highest position first; or show one with its attempts."""
    if delivery_id is not None:
        _show_delivery(endpoint_id, delivery_id, as_json=as_json)
        return
    wanted = DeliveryFilter(state=state, before=before, limit=limit)
    with database() as engine:
        page = _attempt(lambda: endpoints.deliveries(engine, endpoint_id, wanted, None))
    _print_deliveries(page.deliveries, as_json=as_json)
    _tell_of_more(page.before)


@app.command(
    epilog="Examples: `publish-worker webhooks replay ID --failed`, "
    "`publish-worker webhooks replay ID --since-position 1200`, "
    "`publish-worker webhooks replay ID DELIVERY_ID`"
)
def replay(
    endpoint_id: EndpointId,
    delivery_id: Annotated[UUID | None, typer.Argument(help="Send this one again.")] = None,
    *,
    since_position: Annotated[
        int | None, typer.Option(help="Send again every event from this position on.", min=1)
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Send again all that failed.")] = False,
) -> None:
    """Send again one delivery, everything since a position, or everything that failed."""
    if (delivery_id is not None) + (since_position is not None) + failed != 1:
        raise typer.BadParameter("Say one of a delivery's id, --since-position and --failed.")
    with database() as engine:
        if delivery_id is None:
            count = _replay_all(engine, endpoint_id, since_position)
        else:
            one = delivery_id
            _attempt(lambda: endpoints.replay_one(engine, endpoint_id, one, None))
            count = 1
    typer.echo(f"{count} deliveries will be sent again.", err=True)


def _replay_all(engine: Engine, endpoint_id: UUID, since: int | None) -> int:
    """As many calls as it takes."""
    count = 0
    while True:
        asked = ReplayRequest(since_position=since, failed=since is None)
        done = _attempt(lambda asked=asked: endpoints.replay(engine, endpoint_id, asked, None))
        count, since = count + done.deliveries, done.next_position
        if since is None:
            return count


def _change(
    url: str | None,
    types: list[EventType] | None,
    description: str | None,
    enable: bool | None,
    *,
    all_event_types: bool,
) -> WebhookEndpointChange:
    state = {True: EndpointState.ENABLED, False: EndpointState.DISABLED, None: None}[enable]
    said: dict[str, Any] = {
        "url": url,
        "event_types": types or None,
        "description": description,
        "state": state,
    }
    if all_event_types:
        # The one field in which null says something, so `understood` must not drop it.
        rest = {name: value for name, value in said.items() if value is not None}
        return WebhookEndpointChange.model_validate({**rest, "event_types": None})
    return understood(WebhookEndpointChange, **said)


def _show_delivery(endpoint_id: UUID, delivery_id: UUID, *, as_json: bool) -> None:
    with database() as engine:
        found, attempts = _attempt(
            lambda: endpoints.delivery(engine, endpoint_id, delivery_id, None)
        )
    if as_json:
        print_json(to_jsonable_python({**asdict(found), "log": [asdict(a) for a in attempts]}))
        return
    _print_fields(asdict(found))
    print()
    _print_attempts(attempts)


def _print_secret(made: endpoints.WithSecret, *, as_json: bool) -> None:
    if as_json:
        print_json(to_jsonable_python({**asdict(made.endpoint), "secret": made.secret}))
        return
    until = made.endpoint.previous_secret_until
    typer.echo(
        f"Endpoint {made.endpoint.id} of workspace {made.endpoint.workspace_id}. Its secret is "
        "shown this once"
        + (f"; the one before signs too until {moment(until)}." if until else "."),
        err=True,
    )
    typer.echo(made.secret)


def _print_endpoints(rows: Sequence[EndpointRow], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(to_jsonable_python(asdict(row)))
        return
    print_table(
        ["id", "workspace", "url", "events", "state", "reason", "failing since", "description"],
        [
            [
                str(row.id),
                str(row.workspace_id),
                row.url,
                "all" if row.event_types is None else ", ".join(row.event_types),
                row.state,
                row.disabled_reason or "",
                moment(row.failing_since),
                row.description,
            ]
            for row in rows
        ],
    )


def _print_deliveries(rows: Sequence[DeliveryRow], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(to_jsonable_python(asdict(row)))
        return
    print_table(
        ["id", "position", "event", "video", "state", "attempts", "due", "ended"],
        [
            [
                str(row.id),
                str(row.position),
                row.event_type,
                str(row.video_id or ""),
                row.state,
                str(row.attempts),
                moment(row.due_at) if row.state == DeliveryState.PENDING else "",
                moment(row.finished_at),
            ]
            for row in rows
        ],
    )


def _print_attempts(rows: Sequence[AttemptRow]) -> None:
    print_table(
        ["started", "ms", "status", "error", "answer"],
        [
            [
                moment(row.started_at),
                str(row.duration_ms),
                str(row.status or ""),
                row.error or "",
                row.answer or "",
            ]
            for row in rows
        ],
    )


def _print_fields(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        shown = moment(value) if isinstance(value, datetime) else value
        print(f"{name:<21} {'' if shown is None else shown}")


def _tell_of_more(before: UUID | int | None) -> None:
    if before:
        typer.echo(f"There are more: --before {before}", err=True)


def _private() -> bool:
    return find_settings().webhooks_allow_private


def _attempt(change: Callable[[], T]) -> T:
    """What `change` returns; if nothing was changed, one line and exit code 1."""
    try:
        return change()
    except endpoints.EndpointError as error:
        complain(str(error))
        raise typer.Exit(1) from None
