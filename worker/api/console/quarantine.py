"""The page of quarantined messages: read, retry and delete them.

A message in quarantine belongs to no workspace, so only a key of every workspace sees the page.
"""

from typing import Annotated

from fastapi import Depends, Path, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

from db.commands.quarantine import SHOWN_CHARACTERS
from schemas.audit import AuditAction
from schemas.fields import INT64_MAX
from schemas.values.caller import Scope
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.rendering import HEADERS, render
from worker.api.console.session import (
    PATH,
    ConsoleRoute,
    SignedIn,
    may_administer,
    require_scope,
)
from worker.api.console.videos import to_query
from worker.api.problems import SCOPE_TOO_LOW, ApiProblem
from worker.api.routing import Router
from worker.enqueue import quarantined_messages
from worker.operations.console_sessions import ConsoleSession

QUARANTINE = f"{PATH}/failures/quarantine/"
PAGE = 50
DONE = {
    "retried": "The message was accepted; its commands are carried out.",
    "deleted": "The message was deleted.",
}

router = Router(route_class=ConsoleRoute)
MessageId = Annotated[int, Path(ge=1, le=INT64_MAX)]


async def _require_every_workspace(session: SignedIn) -> ConsoleSession:
    if session.caller.workspace_id is not None:
        detail = "Quarantined messages belong to no workspace: this needs a key of every workspace."
        raise ApiProblem(SCOPE_TOO_LOW, detail)
    return session


ReaderSession = Annotated[ConsoleSession, Depends(_require_every_workspace)]


async def _require_admin(session: ReaderSession) -> ConsoleSession:
    require_scope(session, Scope.ADMIN)
    return session


OperatorSession = Annotated[ConsoleSession, Depends(_require_admin)]


@router.get(QUARANTINE)
def show_messages(request: Request, runtime: CurrentRuntime, session: ReaderSession) -> Response:
    """Show a page of messages, the newest first."""
    before = request.query_params.get("before", "")
    is_number = before.isascii() and before.isdigit() and len(before) < 19  # noqa: PLR2004
    page = quarantined_messages.list_page(runtime.engine, int(before) if is_number else None, PAGE)
    last = page.next_after
    return render(
        request,
        "quarantine.html",
        session,
        messages=page.items,
        shown=SHOWN_CHARACTERS,
        older=last and to_query({"before": last.id}),
        done=DONE.get(request.query_params.get("done", "")),
        may_administer=may_administer(session),
    )


@router.get(f"{QUARANTINE}{{message_id}}")
def show_body(runtime: CurrentRuntime, _: ReaderSession, message_id: MessageId) -> Response:
    """Show a message's whole body as text."""
    body = quarantined_messages.read_body(runtime.engine, message_id)
    return PlainTextResponse(body, headers=HEADERS)


@router.post(
    f"{QUARANTINE}{{message_id}}/retry", dependencies=[audits(AuditAction.QUARANTINE_RETRY)]
)
def retry(
    runtime: CurrentRuntime, _: OperatorSession, actor: CurrentActor, message_id: MessageId
) -> Response:
    """Validate and accept a message again."""
    quarantined_messages.retry(runtime.engine, runtime.waker, message_id, actor)
    return RedirectResponse(f"{QUARANTINE}{to_query({'done': 'retried'})}", 303)


@router.post(
    f"{QUARANTINE}{{message_id}}/delete", dependencies=[audits(AuditAction.QUARANTINE_DELETE)]
)
def delete(
    runtime: CurrentRuntime, _: OperatorSession, actor: CurrentActor, message_id: MessageId
) -> Response:
    """Delete a message for good."""
    quarantined_messages.delete(runtime.engine, message_id, actor)
    return RedirectResponse(f"{QUARANTINE}{to_query({'done': 'deleted'})}", 303)
