"""Webhook endpoints: made, changed, tried out, and what they missed sent again.

For the API and the command line; what sends the deliveries is beside this file.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from db import api_keys
from db.session import Connection, transaction
from db.webhooks import deliveries as delivery_rows
from db.webhooks import endpoints as endpoint_rows
from db.webhooks import log as delivery_log
from db.webhooks.endpoints import EndpointRow, NewEndpointRow
from db.webhooks.log import AttemptRow, DeliveryRow
from schemas.problem import FieldError
from schemas.values.delivery import Attempt
from schemas.webhook import (
    MAX_ENDPOINTS,
    DeliveryFilter,
    EndpointFilter,
    EndpointState,
    NewWebhookEndpoint,
    Replayed,
    ReplayRequest,
    WebhookEndpointChange,
)
from worker.webhooks.addresses import AddressRefused, check_url
from worker.webhooks.signing import new_secret
from worker.webhooks.test_event import send_test

OVERLAP = timedelta(hours=24)
"""How long the secret before a rotation signs too."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class EndpointError(Exception):
    """Nothing was changed."""


class NoSuchEndpoint(EndpointError):
    """There is no such endpoint, as far as the caller can see."""


class NoSuchDelivery(EndpointError):
    """The endpoint has no such delivery."""


class EndpointInvalid(EndpointError):
    """A field of the endpoint is not acceptable."""

    def __init__(self, error: FieldError) -> None:
        super().__init__(error.detail)
        self.error = error


class TooManyEndpoints(EndpointError):
    """The workspace has as many endpoints as it may have."""


class EndpointNotEnabled(EndpointError):
    """A disabled endpoint is sent nothing, and so nothing again."""


class EventNotKept(EndpointError):
    """The event is older than what is kept, so it cannot be sent again."""


@dataclass(frozen=True, kw_only=True)
class WithSecret:
    """An endpoint, and the secret that was just made for it."""

    endpoint: EndpointRow
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class EndpointPage:
    """Some endpoints, newest first; the next page is `before` this one, if there is any."""

    endpoints: list[EndpointRow]
    before: UUID | None


@dataclass(frozen=True, kw_only=True)
class DeliveryPage:
    """Some deliveries, the highest position first; the next page is `before` this position."""

    deliveries: list[DeliveryRow]
    before: int | None


def create(
    engine: Engine, new: NewWebhookEndpoint, workspace_id: int | None, *, allow_private: bool
) -> WithSecret:
    """Make an endpoint, to be told of every event that is recorded from now on.

    Raises EndpointInvalid or TooManyEndpoints.
    """
    owner = _owner(new.workspace_id, workspace_id)
    _check_address(new.url, allow_private=allow_private)
    made, secret = uuid7(), new_secret()
    with transaction(engine) as tx:
        if not api_keys.workspace_exists(tx, owner):
            raise _no_such_workspace(owner)
        row = NewEndpointRow(
            id=made,
            workspace_id=owner,
            url=new.url,
            description=new.description,
            event_types=_plain(new.event_types),
            secret=secret,
            after=delivery_rows.hear_from_now(tx),
        )
        if not endpoint_rows.insert(tx, row):
            raise TooManyEndpoints(
                f"Workspace {owner} has {MAX_ENDPOINTS} endpoints, the most it may have."
            )
        endpoint = _find(tx, made, owner)
    log.info("webhook.endpoint_created", endpoint_id=str(made), workspace_id=owner)
    return WithSecret(endpoint=endpoint, secret=secret)


def show(engine: Engine, endpoint_id: UUID, workspace_id: int | None) -> EndpointRow:
    """An endpoint as it stands. Raises NoSuchEndpoint."""
    with transaction(engine) as tx:
        return _find(tx, endpoint_id, workspace_id)


def list_page(engine: Engine, wanted: EndpointFilter, workspace_id: int | None) -> EndpointPage:
    """A page of endpoints, newest first; `workspace_id` is what the caller may see."""
    if workspace_id is not None and wanted.workspace_id not in (None, workspace_id):
        return EndpointPage(endpoints=[], before=None)
    with transaction(engine) as tx:
        found = endpoint_rows.page(
            tx,
            wanted,
            workspace_id=workspace_id if workspace_id is not None else wanted.workspace_id,
            limit=wanted.limit + 1,
        )
    shown = found[: wanted.limit]
    return EndpointPage(endpoints=shown, before=shown[-1].id if len(found) > wanted.limit else None)


def update(
    engine: Engine,
    endpoint_id: UUID,
    change: WebhookEndpointChange,
    workspace_id: int | None,
    *,
    allow_private: bool,
) -> EndpointRow:
    """Change what was said of an endpoint. Raises NoSuchEndpoint or EndpointInvalid.

    Disabled, it gives up what is pending; enabled again, it hears of what is recorded from then on.
    """
    said: dict[str, Any] = change.model_dump(mode="json", exclude_unset=True)
    if "url" in said:
        show(engine, endpoint_id, workspace_id)  # no look-up of names for what is not there
        _check_address(change.url, allow_private=allow_private)
    with transaction(engine) as tx:
        # The outlet's row is locked before the endpoint's, as everywhere.
        enable = said.get("state") == EndpointState.ENABLED
        now = delivery_rows.hear_from_now(tx) if enable else None
        before = _find(tx, endpoint_id, workspace_id, hold=True)
        after = replace(before, **said)
        turned = after.state != before.state
        endpoint_rows.update(tx, after, after=now if turned else None)
        if turned:
            delivery_rows.cancel_pending(tx, endpoint_id)
        changed = _find(tx, endpoint_id, workspace_id)
    log.info("webhook.endpoint_changed", endpoint_id=str(endpoint_id), fields=sorted(said))
    return changed


def rotate(engine: Engine, endpoint_id: UUID, workspace_id: int | None) -> WithSecret:
    """Make a new secret; the one before signs too for 24 hours. Raises NoSuchEndpoint."""
    secret = new_secret()
    with transaction(engine) as tx:
        _find(tx, endpoint_id, workspace_id, hold=True)
        endpoint_rows.rotate(tx, endpoint_id, secret, OVERLAP)
        endpoint = _find(tx, endpoint_id, workspace_id)
    log.info("webhook.secret_rotated", endpoint_id=str(endpoint_id))
    return WithSecret(endpoint=endpoint, secret=secret)


def delete(engine: Engine, endpoint_id: UUID, workspace_id: int | None) -> None:
    """Remove an endpoint, with its deliveries and their attempts. Raises NoSuchEndpoint."""
    with transaction(engine) as tx:
        _find(tx, endpoint_id, workspace_id, hold=True)
        endpoint_rows.delete(tx, endpoint_id)
    log.info("webhook.endpoint_deleted", endpoint_id=str(endpoint_id))


def try_out(
    engine: Engine,
    endpoint_id: UUID,
    workspace_id: int | None,
    *,
    base_url: str,
    allow_private: bool,
) -> Attempt:
    """Send a test event now, whether the endpoint is enabled or not. Raises NoSuchEndpoint."""
    with transaction(engine) as tx:
        _find(tx, endpoint_id, workspace_id)
        receiver = endpoint_rows.receiver(tx, endpoint_id)
    if receiver is None:
        raise _no_such_endpoint(endpoint_id)
    return send_test(receiver, base_url=base_url, allow_private=allow_private)


def deliveries(
    engine: Engine, endpoint_id: UUID, wanted: DeliveryFilter, workspace_id: int | None
) -> DeliveryPage:
    """A page of an endpoint's deliveries, the highest position first. Raises NoSuchEndpoint."""
    with transaction(engine) as tx:
        _find(tx, endpoint_id, workspace_id)
        found = delivery_log.page(tx, endpoint_id, wanted, limit=wanted.limit + 1)
    shown = found[: wanted.limit]
    return DeliveryPage(
        deliveries=shown, before=shown[-1].position if len(found) > wanted.limit else None
    )


def delivery(
    engine: Engine, endpoint_id: UUID, delivery_id: UUID, workspace_id: int | None
) -> tuple[DeliveryRow, list[AttemptRow]]:
    """A delivery and the last attempts at it. Raises NoSuchEndpoint or NoSuchDelivery."""
    with transaction(engine) as tx:
        _find(tx, endpoint_id, workspace_id)
        return _delivery(tx, endpoint_id, delivery_id), delivery_log.attempts(tx, delivery_id)


def replay_one(
    engine: Engine, endpoint_id: UUID, delivery_id: UUID, workspace_id: int | None
) -> DeliveryRow:
    """Begin a delivery anew, whatever became of it; the next sweep sends it.

    Raises NoSuchEndpoint, NoSuchDelivery, EndpointNotEnabled or EventNotKept.
    """
    with transaction(engine) as tx:
        found = _find(tx, endpoint_id, workspace_id, hold=True)
        _delivery(tx, endpoint_id, delivery_id)
        _check_enabled(found)
        if not delivery_rows.replay_one(tx, endpoint_id, delivery_id):
            raise EventNotKept("The event is older than what is kept; it cannot be sent again.")
        replayed = _delivery(tx, endpoint_id, delivery_id)
    log.info("webhook.replayed", endpoint_id=str(endpoint_id), deliveries=1)
    return replayed


def replay(
    engine: Engine, endpoint_id: UUID, asked: ReplayRequest, workspace_id: int | None
) -> Replayed:
    """Begin anew everything from a position on, or everything that failed.

    The next sweep sends it.     Raises NoSuchEndpoint or EndpointNotEnabled.
    """
    with transaction(engine) as tx:
        _check_enabled(_find(tx, endpoint_id, workspace_id, hold=True))
        replayed = _replay(tx, endpoint_id, asked.since_position)
    log.info("webhook.replayed", endpoint_id=str(endpoint_id), deliveries=replayed.deliveries)
    return replayed


def _replay(tx: Connection, endpoint_id: UUID, since: int | None) -> Replayed:
    if since is None:
        return Replayed(deliveries=delivery_rows.replay_failed(tx, endpoint_id))
    replayed = delivery_rows.replay_after(tx, endpoint_id, after=since - 1)
    return Replayed(
        deliveries=replayed.deliveries,
        next_position=replayed.position + 1 if replayed.more else None,
    )


def _owner(asked: int | None, confined_to: int | None) -> int:
    """Whose endpoint it is to be: what was said, or else the only workspace the caller has."""
    if asked is None and confined_to is None:
        detail = "This key sees every workspace; say which one."
        raise EndpointInvalid(FieldError(pointer="/workspace_id", code="missing", detail=detail))
    owner = asked if asked is not None else confined_to
    if owner is None or confined_to not in (None, owner):
        raise _no_such_workspace(owner)
    return owner


def _no_such_workspace(workspace_id: int | None) -> EndpointInvalid:
    detail = f"There is no workspace {workspace_id}."
    error = FieldError(pointer="/workspace_id", code="no_such_workspace", detail=detail)
    return EndpointInvalid(error)


def _check_address(url: str, *, allow_private: bool) -> None:
    try:
        check_url(url, allow_private=allow_private)
    except AddressRefused as error:
        refused = FieldError(pointer="/url", code="address_refused", detail=str(error))
        raise EndpointInvalid(refused) from None


def _check_enabled(endpoint: EndpointRow) -> None:
    if endpoint.state != EndpointState.ENABLED:
        raise EndpointNotEnabled("The endpoint is disabled; enable it, then replay.")


def _plain(types: list[Any] | None) -> list[str] | None:
    return None if types is None else [str(each) for each in types]


def _no_such_endpoint(endpoint_id: UUID) -> NoSuchEndpoint:
    return NoSuchEndpoint(f"There is no webhook endpoint {endpoint_id}.")


def _find(
    tx: Connection, endpoint_id: UUID, workspace_id: int | None, *, hold: bool = False
) -> EndpointRow:
    found = endpoint_rows.show(tx, endpoint_id, workspace_id, hold=hold)
    if found is None:
        raise _no_such_endpoint(endpoint_id)
    return found


def _delivery(tx: Connection, endpoint_id: UUID, delivery_id: UUID) -> DeliveryRow:
    found = delivery_log.show(tx, endpoint_id, delivery_id)
    if found is None:
        raise NoSuchDelivery(f"The endpoint has no delivery {delivery_id}.")
    return found
