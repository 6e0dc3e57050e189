"""The page of quarantined messages: read, retry and delete them.

A message in quarantine belongs to no workspace, so only a key of every workspace sees the page.
"""

from typing import Annotated

from fastapi import Path, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

from db.commands.quarantine import SHOWN_CHARACTERS
from schemas.audit import AuditAction
from schemas.fields import INT64_MAX
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.confirmation import Confirmed
from worker.api.console.rendering import HEADERS, render
from worker.api.console.session import (
    PATH,
    ConsoleRoute,
    EveryWorkspaceSession,
    OperatorSession,
    may_administer,
)
from worker.api.console.videos import to_query
from worker.api.routing import Router
from worker.enqueue import quarantined_messages

QUARANTINE = f"{PATH}/failures/quarantine/"
PAGE = 50
DONE = {
    "retried": "The message was accepted; its commands are carried out.",
    "deleted": "The message was deleted.",
}

router = Router(route_class=ConsoleRoute)
MessageId = Annotated[int, Path(ge=1, le=INT64_MAX)]


@router.get(QUARANTINE)
def show_messages(
    request: Request, runtime: CurrentRuntime, session: EveryWorkspaceSession
) -> Response:
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
def show_body(runtime: CurrentRuntime, _: EveryWorkspaceSession, message_id: MessageId) -> Response:
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
    runtime: CurrentRuntime,
    _: OperatorSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    message_id: MessageId,
) -> Response:
    """Delete a message for good."""
    quarantined_messages.delete(runtime.engine, message_id, actor)
    return RedirectResponse(f"{QUARANTINE}{to_query({'done': 'deleted'})}", 303)
