"""The page of API keys: which there are and when they were used; create and revoke them."""

from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from schemas.audit import AuditAction
from schemas.fields import INT64_MAX
from schemas.values.caller import Caller, Scope
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.confirmation import Confirmed
from worker.api.console.forms import SubmittedForm, is_whole, keep_form
from worker.api.console.rendering import render
from worker.api.console.session import PATH, AdminSession, ConsoleRoute
from worker.api.console.videos import to_query
from worker.api.routing import Router
from worker.operations.api_keys import (
    KeyRefused,
    NoSuchKey,
    create_key_for,
    list_keys,
    revoke_key,
)

KEYS = f"{PATH}/keys/"
FORM = "key_form.html"
SCOPES = {
    Scope.EVENTS: "the feeds of events only; the only scope that may be in a URL",
    Scope.READ: "also videos, commands and webhooks; signs in to this console",
    Scope.PUBLISH: "also publish and unpublish",
    Scope.ADMIN: "also webhook endpoints, API keys and the audit log",
}
"""What a key of each scope may do."""

router = Router(route_class=ConsoleRoute)


@router.get(KEYS)
def show_keys(request: Request, runtime: CurrentRuntime, session: AdminSession) -> Response:
    """Show the keys that are valid, or also those that were revoked; the newest first."""
    keys = list_keys(runtime.engine, session.caller.workspace_id)
    with_revoked = bool(request.query_params.get("revoked"))
    return render(
        request,
        "keys.html",
        session,
        keys=[each for each in reversed(keys) if with_revoked or each.revoked_at is None],
        with_revoked=with_revoked,
        done=request.query_params.get("done") == "revoked",
    )


@router.get(f"{KEYS}new")
def show_new(request: Request, session: AdminSession) -> Response:
    """Show the form for a key."""
    scopes = _find_scopes(session.caller)
    return render(request, FORM, session, scopes=scopes, form={}, detail=None, errors=[])


@router.post(f"{KEYS}new", dependencies=[audits(AuditAction.API_KEY_CREATE)])
def create(
    request: Request,
    runtime: CurrentRuntime,
    session: AdminSession,
    actor: CurrentActor,
    form: SubmittedForm,
) -> Response:
    """Create a key, and show its secret, once."""
    keep_form(request, FORM, scopes=_find_scopes(session.caller), form=form)
    name, scope, workspace_id = form.get("name", "").strip(), _read_scope(form), _read_id(form)
    if workspace_id is None and "workspace_id" not in form:
        workspace_id = session.caller.workspace_id
    secret = create_key_for(
        runtime.engine,
        session.caller,
        name=name,
        scope=scope,
        workspace_id=workspace_id,
        by=actor,
    )
    return render(
        request,
        "key_secret.html",
        session,
        name=name,
        scope=scope,
        workspace_id=workspace_id,
        secret=secret,
    )


@router.post(f"{KEYS}{{key_id}}/revoke", dependencies=[audits(AuditAction.API_KEY_REVOKE)])
def revoke(
    runtime: CurrentRuntime,
    session: AdminSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    key_id: UUID,
) -> Response:
    """Revoke a key at once; its sessions end with it, this one too if the key is its own."""
    if not revoke_key(runtime.engine, key_id, actor, within=session.caller.workspace_id):
        raise NoSuchKey("There is no such API key that is still valid. Nothing was changed.")
    return RedirectResponse(f"{KEYS}{to_query({'done': 'revoked'})}", 303)


def _find_scopes(caller: Caller) -> dict[Scope, str]:
    """Return the scopes that this caller may give, with what each permits."""
    return {scope: text for scope, text in SCOPES.items() if caller.scope.includes(scope)}


def _read_scope(form: dict[str, str]) -> Scope:
    try:
        return Scope(form.get("scope", ""))
    except ValueError:
        raise KeyRefused(f"Choose a scope: {', '.join(Scope)}.") from None


def _read_id(form: dict[str, str]) -> int | None:
    """Return the workspace of the form. None: every workspace. Raises KeyRefused."""
    text = form.get("workspace_id", "").strip()
    if not text:
        return None
    number = int(text) if is_whole(text) else 0
    if not 1 <= number <= INT64_MAX:
        raise KeyRefused("A workspace is a number from 1 on.")
    return number
