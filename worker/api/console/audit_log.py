"""The page of the audit log: who changed or tried to change something, the newest first."""

from datetime import UTC, datetime
from uuid import UUID

from fastapi import Request, Response

from schemas.audit import AuditAction, AuditFilter, AuditOutcome, AuditSubject
from worker.api.auth import CurrentRuntime
from worker.api.console.failures import to_filter
from worker.api.console.rendering import render
from worker.api.console.session import PATH, AdminSession, ConsoleRoute
from worker.api.console.videos import to_query
from worker.api.routing import Router
from worker.operations.api_keys import list_keys
from worker.operations.audit import list_page

FIELDS = tuple(AuditFilter.model_fields)
OUTCOME_STYLES = {AuditOutcome.OK: "good", AuditOutcome.REFUSED: "warn", AuditOutcome.FAILED: "bad"}
PAGES_OF = {
    AuditSubject.COMMAND: f"{PATH}/commands/",
    AuditSubject.WEBHOOK_ENDPOINT: f"{PATH}/webhooks/",
}
"""Where the page of a subject is, before its id."""
PERSON = "person-"
"""Before the id of a person, in `who`: ids of keys have nothing before them."""

router = Router(route_class=ConsoleRoute)


@router.get(f"{PATH}/audit/")
def show_entries(request: Request, runtime: CurrentRuntime, session: AdminSession) -> Response:
    """Show a page of entries. `who` is a kind of actor, or the id of an API key or person."""
    given = _expand(dict(request.query_params))
    wanted: AuditFilter = to_filter(AuditFilter, given, FIELDS)
    page = list_page(runtime.engine, wanted, session.caller.workspace_id)
    last = page.next_after
    older = wanted.model_copy(update={"before": last.id}) if last else None
    return render(
        request,
        "audit_log.html",
        session,
        entries=page.items,
        wanted=wanted,
        who=str(wanted.key_id or wanted.actor or ""),
        person_id=wanted.person_id,
        since=_to_field(wanted.since),
        until=_to_field(wanted.until),
        keys=list_keys(runtime.engine, session.caller.workspace_id),
        actions=list(AuditAction),
        subjects=list(AuditSubject),
        outcomes=list(AuditOutcome),
        outcome_styles=OUTCOME_STYLES,
        pages_of=PAGES_OF,
        older=older and to_query(older.model_dump(mode="json", exclude_defaults=True)),
    )


def _expand(given: dict[str, str]) -> dict[str, str]:
    """Return the filter's own fields: `who` is one of three, and a form's times are in UTC."""
    who = given.pop("who", "").strip()
    if who.startswith(PERSON):
        given["person_id"] = who.removeprefix(PERSON)
    elif who:
        given["key_id" if _is_id(who) else "actor"] = who
    for name in ("since", "until"):
        text = given.get(name, "").strip()
        if text and not text.upper().endswith("Z") and "+" not in text:
            given[name] = f"{text}Z"
    return given


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _to_field(moment: datetime | None) -> str:
    """Return a time as a form's field has it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") if moment else ""
