"""Webhook endpoints: create, list, change, rotate the secret, delete.

For the API and the command line. In every function, `workspace_id` is the workspace that the
caller's key is confined to (None: every workspace); endpoints of other workspaces do not exist for
that caller. Each change has an entry of the audit log in its transaction.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from db import api_keys, audit_log
from db.session import Connection, transaction
from db.webhooks import deliveries, fan_out
from db.webhooks import endpoints as endpoint_rows
from schemas.audit import AuditAction, AuditSubject
from schemas.problem import FieldError
from schemas.values.actor import SYSTEM, Actor, AuditRecord
from schemas.values.page import Page
from schemas.webhook import (
    MAX_ENDPOINTS,
    EndpointFilter,
    EndpointState,
    WebhookEndpoint,
    WebhookEndpointChange,
    WebhookEndpointWithSecret,
    WebhookRegistration,
)
from worker.runtime.refused import Refused
from worker.webhooks.addresses import AddressRefused
from worker.webhooks.look_ups import LookUpsBusy, check_url
from worker.webhooks.signing import new_secret

OVERLAP = timedelta(hours=24)
"""How long the previous secret signs too after a rotation."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class EndpointError(Refused):
    """The request was refused and nothing was changed; the message gives the reason."""


class NoSuchEndpoint(EndpointError):
    """The endpoint does not exist in a workspace that the caller sees."""

    def __init__(self, endpoint_id: UUID) -> None:
        super().__init__(f"There is no webhook endpoint {endpoint_id}.")


class NoSuchDelivery(EndpointError):
    """The endpoint has no such delivery."""


class EndpointInvalid(EndpointError):
    """A field of the endpoint is not valid."""

    def __init__(self, pointer: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.error = FieldError(pointer=pointer, code=code, detail=detail)


class TooManyEndpoints(EndpointError):
    """The workspace has reached its limit of endpoints."""


class TooManyLookUps(EndpointError):
    """The workspace has too many names whose addresses are being looked up."""


class TooManyWaiting(EndpointError):
    """Too many deliveries of the endpoint wait to be sent for a replay to add more."""


class EndpointNotEnabled(EndpointError):
    """A replay needs an enabled endpoint."""


class EventNotKept(EndpointError):
    """The outbox has pruned the event, so it cannot be replayed."""


def create(
    engine: Engine,
    new: WebhookRegistration,
    workspace_id: int | None,
    *,
    allow_private: bool,
    by: Actor = SYSTEM,
) -> WebhookEndpointWithSecret:
    """Create an endpoint, which receives every later event of its types.

    Raises EndpointInvalid, TooManyEndpoints or TooManyLookUps.
    """
    owner = _choose_workspace(new.workspace_id, workspace_id)
    _check_address(new.url, owner, allow_private=allow_private)
    endpoint_id, secret = uuid7(), new_secret()
    with transaction(engine) as tx:
        if not api_keys.has_workspace(tx, owner):
            raise _no_such_workspace(owner)
        last = fan_out.lock_last_position(tx)
        if not endpoint_rows.insert(
            tx, endpoint_id, new, workspace_id=owner, secret=secret, after=last
        ):
            raise TooManyEndpoints(
                f"Workspace {owner} has {MAX_ENDPOINTS} endpoints, the most it may have."
            )
        endpoint = find_endpoint(tx, endpoint_id, owner)
        types = new.model_dump(mode="json")["event_types"]
        audit_endpoint(
            tx, AuditAction.WEBHOOK_ENDPOINT_CREATE, endpoint, by, {"event_types": types}
        )
    log.info("webhook.endpoint_created", endpoint_id=str(endpoint_id), workspace_id=owner)
    return WebhookEndpointWithSecret(**dict(endpoint), secret=secret)


def show(engine: Engine, endpoint_id: UUID, workspace_id: int | None) -> WebhookEndpoint:
    """Return an endpoint. Raises NoSuchEndpoint."""
    with transaction(engine) as tx:
        return find_endpoint(tx, endpoint_id, workspace_id)


def list_page(
    engine: Engine, wanted: EndpointFilter, workspace_id: int | None
) -> Page[WebhookEndpoint]:
    """Return a page of endpoints, the newest first; the next page is `before` the last one."""
    if workspace_id is not None:
        if wanted.workspace_id not in (None, workspace_id):
            return Page()
        wanted = wanted.model_copy(update={"workspace_id": workspace_id})
    with transaction(engine) as tx:
        return endpoint_rows.list_page(tx, wanted)


def update(
    engine: Engine,
    endpoint_id: UUID,
    change: WebhookEndpointChange,
    workspace_id: int | None,
    *,
    allow_private: bool,
    by: Actor = SYSTEM,
) -> WebhookEndpoint:
    """Change the fields that are set in `change`.

    Raises NoSuchEndpoint, EndpointInvalid or TooManyLookUps.
    Disabling cancels pending deliveries. An endpoint that is enabled again receives later events.
    """
    changes: dict[str, Any] = change.model_dump(exclude_unset=True)
    if "url" in changes:
        owner = show(engine, endpoint_id, workspace_id).workspace_id
        _check_address(change.url, owner, allow_private=allow_private)
    with transaction(engine) as tx:
        is_enabling = changes.get("state") == EndpointState.ENABLED
        # The lock order: the outlet before the endpoint.
        last = fan_out.lock_last_position(tx) if is_enabling else None
        before = find_endpoint(tx, endpoint_id, workspace_id, lock=True)
        after = before.model_copy(update=changes)
        has_new_state = after.state != before.state
        endpoint_rows.update(tx, after, after=last if has_new_state else None)
        if has_new_state:
            deliveries.cancel_pending(tx, endpoint_id)
        changed = find_endpoint(tx, endpoint_id, workspace_id)
        details = {"fields": sorted(changes), "state": changed.state}
        audit_endpoint(tx, AuditAction.WEBHOOK_ENDPOINT_UPDATE, changed, by, details)
    log.info("webhook.endpoint_changed", endpoint_id=str(endpoint_id), fields=sorted(changes))
    return changed


def rotate(
    engine: Engine, endpoint_id: UUID, workspace_id: int | None, by: Actor = SYSTEM
) -> WebhookEndpointWithSecret:
    """Create a new secret; the previous one signs too for 24 hours. Raises NoSuchEndpoint."""
    secret = new_secret()
    with transaction(engine) as tx:
        find_endpoint(tx, endpoint_id, workspace_id, lock=True)
        endpoint_rows.rotate(tx, endpoint_id, secret, OVERLAP)
        endpoint = find_endpoint(tx, endpoint_id, workspace_id)
        audit_endpoint(tx, AuditAction.WEBHOOK_ENDPOINT_ROTATE, endpoint, by)
    log.info("webhook.secret_rotated", endpoint_id=str(endpoint_id))
    return WebhookEndpointWithSecret(**dict(endpoint), secret=secret)


def delete(engine: Engine, endpoint_id: UUID, workspace_id: int | None, by: Actor = SYSTEM) -> None:
    """Delete an endpoint, with its deliveries and their attempts. Raises NoSuchEndpoint."""
    with transaction(engine) as tx:
        endpoint = find_endpoint(tx, endpoint_id, workspace_id, lock=True)
        audit_endpoint(tx, AuditAction.WEBHOOK_ENDPOINT_DELETE, endpoint, by)
        endpoint_rows.delete(tx, endpoint_id)
    log.info("webhook.endpoint_deleted", endpoint_id=str(endpoint_id))


def find_endpoint(
    tx: Connection, endpoint_id: UUID, workspace_id: int | None, *, lock: bool = False
) -> WebhookEndpoint:
    """Read an endpoint, and lock it on request. Raises NoSuchEndpoint."""
    found = endpoint_rows.read_endpoint(tx, endpoint_id, workspace_id, lock=lock)
    if found is None:
        raise NoSuchEndpoint(endpoint_id)
    return found


def audit_endpoint(
    tx: Connection,
    action: AuditAction,
    endpoint: WebhookEndpoint,
    by: Actor,
    details: dict[str, Any] | None = None,
) -> None:
    """Record an action on an endpoint."""
    record = AuditRecord(
        actor=by,
        action=action,
        subject=AuditSubject.WEBHOOK_ENDPOINT,
        subject_id=endpoint.id,
        workspace_id=endpoint.workspace_id,
        details=details or {},
    )
    audit_log.append(tx, [record])


def _choose_workspace(asked: int | None, confined_to: int | None) -> int:
    """Return the workspace that was asked for, or else the one that the key is confined to."""
    owner = confined_to if asked is None else asked
    if owner is None:
        detail = "This key sees every workspace; say which one."
        raise EndpointInvalid("/workspace_id", "missing", detail)
    if confined_to not in (None, owner):
        raise _no_such_workspace(owner)
    return owner


def _no_such_workspace(workspace_id: int) -> EndpointInvalid:
    detail = f"There is no workspace {workspace_id}."
    return EndpointInvalid("/workspace_id", "no_such_workspace", detail)


def _check_address(url: str, workspace_id: int, *, allow_private: bool) -> None:
    try:
        check_url(url, workspace_id, allow_private=allow_private)
    except AddressRefused as error:
        raise EndpointInvalid("/url", "address_refused", str(error)) from None
    except LookUpsBusy as error:
        raise TooManyLookUps(f"{error} Nothing was changed.") from None
