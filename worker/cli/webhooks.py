"""`publish-worker webhooks`: register endpoints, list their deliveries, replay."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from publish_worker_client.events.names import EventType
from schemas.audit import AuditAction, AuditSubject
from schemas.values.actor import Actor
from schemas.webhook import (
    DeliveryFilter,
    DeliveryState,
    EndpointFilter,
    EndpointState,
    Replayed,
    ReplayRequest,
    WebhookDeliveryWithAttempts,
    WebhookEndpointChange,
    WebhookEndpointWithSecret,
    WebhookRegistration,
)
from worker.cli.audit import audited
from worker.cli.ids import GivenId, IdOf, find_id, parse_id
from worker.cli.interrupts import ctrl_c_held, take_whole
from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson, check_id, command_group, options_of_model, to_model
from worker.cli.output import Columns, print_fields, print_json, print_more, print_rows, to_text
from worker.cli.progress import progress, say_what_was_kept
from worker.runtime.printing import print_line, print_note

with late_imports():
    from worker.cli import connect
    from worker.runtime import settings
    from worker.webhooks import deliveries as deliveries_of
    from worker.webhooks import endpoints, test_event

if TYPE_CHECKING:
    from sqlalchemy import Engine

ENDPOINTS: Columns = {
    "id": "id",
    "workspace": "workspace_id",
    "url": "url",
    "events": lambda row: "all" if row.event_types is None else ", ".join(row.event_types),
    "state": "state",
    "reason": "disabled_reason",
    "failing since": "failing_since",
    "description": "description",
}
DELIVERIES: Columns = {
    "id": "id",
    "position": "position",
    "event": "event_type",
    "video": "video_id",
    "state": "state",
    "attempts": "attempts",
    "due": lambda row: row.due_at if row.state == DeliveryState.PENDING else None,
    "ended": "finished_at",
}
ATTEMPTS: Columns = {
    "started": "started_at",
    "ms": "duration_ms",
    "status": "status",
    "error": "error",
    "answer": "answer",
}

app = command_group("Register webhook endpoints, list their deliveries, send events again.")

EndpointId = Annotated[
    GivenId,
    typer.Argument(
        metavar="ENDPOINT_ID", help="An id that `webhooks list` shows.", parser=parse_id
    ),
]
Types = Annotated[
    list[EventType] | None,
    typer.Option(
        "--event-type",
        metavar="TYPE",
        help="Send only events of this type, as video.published. May be repeated.",
    ),
]
SecretAsJson = Annotated[
    bool, typer.Option("--json", help="Print the endpoint with its secret as JSON.")
]


@app.command(
    epilog="Example: `SECRET=$(publish-worker webhooks create --workspace 1 "
    "--url https://hooks.example.com/videos --event-type video.published)`"
)
def create(
    *,
    workspace: Annotated[
        int, typer.Option(help="Send the events of this workspace.", callback=check_id)
    ],
    url: Annotated[str, typer.Option(help="The URL to POST events to.")],
    event_type: Types = None,
    description: Annotated[str, typer.Option(help="A text that the list shows.")] = "",
    as_json: SecretAsJson = False,
) -> None:
    """Register an endpoint. Its secret is printed once, alone on stdout, and never shown again."""
    fields = {
        "workspace_id": workspace,
        "url": url,
        "event_types": event_type or None,
        "description": description,
    }
    new = to_model(WebhookRegistration.model_validate, fields)
    private = _allow_private()
    with connect.open_database() as engine, ctrl_c_held():  # else the secret may be lost
        with audited(engine, AuditAction.WEBHOOK_ENDPOINT_CREATE) as by:
            created = endpoints.create(engine, new, None, allow_private=private, by=by)
        _print_secret(created, as_json=as_json)


@app.command("list")
@options_of_model
def list_(*, wanted: EndpointFilter, as_json: AsJson = False) -> None:
    """List endpoints, the newest first."""
    with connect.open_database() as engine:
        page = endpoints.list_page(engine, wanted, None)
    print_rows(page.items, ENDPOINTS, as_json=as_json)
    print_more(page.next_after and page.next_after.id)


@app.command()
def show(endpoint_id: EndpointId, *, as_json: AsJson = False) -> None:
    """Show an endpoint without its secret."""
    with connect.open_database() as engine:
        found = find_id(engine, IdOf.ENDPOINT, endpoint_id)
        print_fields(dict(endpoints.show(engine, found, None)), as_json=as_json)


@app.command(epilog="Example: `publish-worker webhooks update ID --enable`")
def update(
    endpoint_id: EndpointId,
    *,
    url: Annotated[str | None, typer.Option(help="A new URL.")] = None,
    event_type: Types = None,
    all_event_types: Annotated[
        bool, typer.Option("--all-event-types", help="Send events of every type.")
    ] = False,
    description: Annotated[str | None, typer.Option(help="A new description.")] = None,
    enable: Annotated[
        bool | None,
        typer.Option(
            "--enable/--disable", help="Enable or disable deliveries.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change an endpoint. Options that are left out keep their values.

    --disable cancels pending deliveries. --enable starts with the next event: events that were
    missed are sent only on replay.
    """
    if event_type and all_event_types:
        raise typer.BadParameter("Give either --event-type or --all-event-types.")
    state = {True: EndpointState.ENABLED, False: EndpointState.DISABLED, None: None}[enable]
    fields = {
        "url": url,
        "event_types": event_type or None,
        "description": description,
        "state": state,
    }
    every_type = {"event_types": None} if all_event_types else {}  # `to_model` drops null
    change = to_model(
        lambda given: WebhookEndpointChange.model_validate({**given, **every_type}), fields
    )
    private = _allow_private()
    with _changing(AuditAction.WEBHOOK_ENDPOINT_UPDATE, endpoint_id) as (engine, found, by):
        changed = endpoints.update(engine, found, change, None, allow_private=private, by=by)
    print_rows([changed], ENDPOINTS, as_json=as_json)


@app.command()
def delete(endpoint_id: EndpointId, *, as_json: AsJson = False) -> None:
    """Delete an endpoint and the log of its deliveries."""
    with _changing(AuditAction.WEBHOOK_ENDPOINT_DELETE, endpoint_id) as (engine, found, by):
        endpoints.delete(engine, found, None, by)
    if as_json:
        print_json({"id": found})
        return
    print_note("Removed.")


@app.command()
def rotate(endpoint_id: EndpointId, *, as_json: SecretAsJson = False) -> None:
    """Make a new secret, printed once, alone on stdout. The previous one signs for 24 hours."""
    with ctrl_c_held():
        with _changing(AuditAction.WEBHOOK_ENDPOINT_ROTATE, endpoint_id) as (engine, found, by):
            rotated = endpoints.rotate(engine, found, None, by)
        _print_secret(rotated, as_json=as_json)


@app.command("test")
def send_test(endpoint_id: EndpointId, *, as_json: AsJson = False) -> None:
    """Send a test event now and show the answer. Exit code 1 unless its status is 2xx."""
    with _changing(AuditAction.WEBHOOK_ENDPOINT_TEST, endpoint_id) as (engine, found, by):
        result = test_event.send_test_event(
            engine,
            found,
            None,
            base_url=connect.find_base_url(),
            allow_private=_allow_private(),
            by=by,
        )
    print_fields(dict(result), as_json=as_json)
    if not result.delivered:
        raise typer.Exit(1)


@app.command(
    epilog="Examples: `publish-worker webhooks deliveries ID --state failed`, "
    "`publish-worker webhooks deliveries ID DELIVERY_ID`"
)
@options_of_model
def deliveries(
    endpoint_id: EndpointId,
    delivery_id: Annotated[
        GivenId | None,
        typer.Argument(
            metavar="DELIVERY_ID",
            help="Show only this delivery, with its attempts.",
            parser=parse_id,
        ),
    ] = None,
    *,
    wanted: DeliveryFilter,
    as_json: AsJson = False,
) -> None:
    """List an endpoint's deliveries, the highest position first, or show one with its attempts."""
    with connect.open_database() as engine:
        found = find_id(engine, IdOf.ENDPOINT, endpoint_id)
        if delivery_id is not None:
            one = find_id(engine, IdOf.DELIVERY, delivery_id)
            _print_delivery(deliveries_of.show(engine, found, one, None), as_json=as_json)
            return
        page = deliveries_of.list_page(engine, found, wanted, None)
    print_rows(page.items, DELIVERIES, as_json=as_json)
    print_more(page.next_after and page.next_after.position)


@app.command(
    epilog="Examples: `publish-worker webhooks replay ID --failed`, "
    "`publish-worker webhooks replay ID --since-position 1200`, "
    "`publish-worker webhooks replay ID DELIVERY_ID`"
)
def replay(
    endpoint_id: EndpointId,
    delivery_id: Annotated[
        GivenId | None,
        typer.Argument(metavar="DELIVERY_ID", help="Send only this delivery.", parser=parse_id),
    ] = None,
    *,
    since_position: Annotated[
        int | None,
        typer.Option(help="Send every event from this position on.", callback=check_id),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Send every failed delivery.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send again one delivery, every event from a position on, or every failed delivery.

    The last two work in pages of 1,000.
    """
    if (delivery_id is not None) + (since_position is not None) + failed != 1:
        raise typer.BadParameter("Give one of DELIVERY_ID, --since-position and --failed.")
    if delivery_id is None:
        request = ReplayRequest(since_position=since_position, failed=failed)
        _replay_many(endpoint_id, request, as_json=as_json)
    else:
        _replay_one(endpoint_id, delivery_id, as_json=as_json)


def _replay_one(endpoint_id: GivenId, delivery_id: GivenId, *, as_json: bool) -> None:
    with connect.open_database() as engine:
        endpoint = find_id(engine, IdOf.ENDPOINT, endpoint_id)
        found = find_id(engine, IdOf.DELIVERY, delivery_id)
        subject = (AuditSubject.WEBHOOK_DELIVERY, found)
        with audited(engine, AuditAction.WEBHOOK_DELIVERY_REPLAY, *subject) as by:
            replayed = deliveries_of.replay_one(engine, endpoint, found, None, by)
    if as_json:
        print_json(replayed)
        return
    print_note("1 deliveries will be sent again.")


def _replay_many(endpoint_id: GivenId, request: ReplayRequest, *, as_json: bool) -> None:
    done = Replayed(deliveries=0, next_position=request.since_position)

    def describe() -> str | None:
        if not done.deliveries:
            return None
        here = "the command" if request.failed else f"it with --since-position {done.next_position}"
        return f"{done.deliveries} deliveries will be sent again. To go on, repeat {here}."

    def note(page: Replayed) -> None:
        nonlocal done
        bar.advance(_count_progress(request, done, page))
        done = Replayed(
            deliveries=done.deliveries + page.deliveries, next_position=page.next_position
        )

    with _changing(AuditAction.WEBHOOK_ENDPOINT_REPLAY, endpoint_id) as (engine, found, by):
        total = deliveries_of.measure_replay(engine, found, request)
        with progress("Replaying", total) as bar, say_what_was_kept(describe):
            take_whole(deliveries_of.replay_in_pages(engine, found, request, by), note)
    if as_json:
        print_json(done)
        return
    print_note(f"{done.deliveries} deliveries will be sent again.")


def _count_progress(request: ReplayRequest, before: Replayed, page: Replayed) -> int:
    """Return the number of deliveries, or of positions, that a page has covered."""
    if request.failed or page.next_position is None or before.next_position is None:
        return page.deliveries
    return page.next_position - before.next_position


def _print_delivery(delivery: WebhookDeliveryWithAttempts, *, as_json: bool) -> None:
    if as_json:
        print_json(delivery)
        return
    print_fields(delivery.model_dump(exclude={"log"}), as_json=False)
    print_line()
    print_rows(delivery.log, ATTEMPTS, as_json=False)


def _print_secret(endpoint: WebhookEndpointWithSecret, *, as_json: bool) -> None:
    if as_json:
        print_json(endpoint)
        return
    until = endpoint.previous_secret_until
    previous = f" The previous one signs too until {to_text(until)}." if until else ""
    print_note(
        f"Endpoint {endpoint.id} of workspace {endpoint.workspace_id}. "
        f"Its secret is shown only once.{previous}"
    )
    print_line(endpoint.secret)


@contextmanager
def _changing(action: AuditAction, given: GivenId) -> "Generator[tuple[Engine, UUID, Actor]]":
    """Yield the database, the endpoint's id and the operator, for an action on an endpoint."""
    with connect.open_database() as engine:
        found = find_id(engine, IdOf.ENDPOINT, given)
        with audited(engine, action, AuditSubject.WEBHOOK_ENDPOINT, found) as by:
            yield engine, found, by


def _allow_private() -> bool:
    return settings.Settings().webhooks_allow_private
