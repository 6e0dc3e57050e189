"""Pages of dead letters: what a subscriber's group gave up; read, redrive and delete it.

A group reads the events of every workspace, so only a key of every workspace sees them.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from schemas.audit import AuditAction
from schemas.fields import INT64_MAX, MAX_NAME, Frozen, Name
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.confirmation import Confirmed
from worker.api.console.failures import to_filter
from worker.api.console.forms import SubmittedForm
from worker.api.console.rendering import HEADERS, render
from worker.api.console.session import (
    PATH,
    ConsoleRoute,
    EveryWorkspaceSession,
    OperatorSession,
    may_administer,
)
from worker.api.console.videos import to_query
from worker.api.problems import ApiProblem, ProblemKind
from worker.api.routing import Router
from worker.operations import dead_letters
from worker.subscribe.dead_letters import MAX_DIGITS, DeadLetter, is_letter_id

LETTERS = f"{PATH}/failures/dead-letters/"
PAGE = 50
SHOWN_CHARACTERS = 2_000
"""Of a letter's content, in a list."""
BAD_GROUP = ProblemKind("no-such-group", 404, "The address of this page names no group.")

router = Router(route_class=ConsoleRoute)


def _check_id(text: str) -> str:
    if not is_letter_id(text):
        raise ValueError("this is not the ID of an entry of a stream")
    return text


CheckedId = Annotated[str, AfterValidator(_check_id)]
LetterId = Annotated[str, Path(), AfterValidator(_check_id)]


class LettersQuery(Frozen):
    """The parameters of the page's address."""

    group: Name
    before: CheckedId | None = None
    """The last letter of the page before this one."""
    redriven: int | None = None
    """How many events the last form has redriven."""
    deleted: bool = False


class RedriveForm(Frozen):
    """The fields of the form that redrives all letters, step by step."""

    until: CheckedId | None = None
    """The newest letter that the person has seen: what becomes a dead letter after it stays."""
    after: CheckedId | None = None
    """The last letter of the step before this one."""
    done: Annotated[int, Field(ge=0, le=INT64_MAX)] = 0
    """How many events the steps before this one have redriven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLetter:
    """A dead letter as the page shows it."""

    letter: DeadLetter
    id: str
    kind: str
    video_id: int | None
    text: str
    """The beginning of its content."""
    size: int
    """Of the whole content, in bytes."""
    is_shortened: bool


_GROUP: TypeAdapter[str] = TypeAdapter(Name)


async def _find_group(form: SubmittedForm) -> str:
    try:
        return _GROUP.validate_python(form.get("group", ""))
    except ValidationError:
        raise ApiProblem(BAD_GROUP) from None


GroupOfForm = Annotated[str, Depends(_find_group)]


@router.get(LETTERS)
def show_letters(
    request: Request,
    runtime: CurrentRuntime,
    session: EveryWorkspaceSession,
    query: Annotated[LettersQuery, Query()],
) -> Response:
    """Show a page of a group's dead letters, the newest first."""
    group = query.group
    page = dead_letters.list_page(runtime.redis, group, query.before, PAGE)
    last = page.next_after
    return render(
        request,
        "dead_letters.html",
        session,
        group=group,
        letters=[to_shown(each) for each in page.items],
        count=dead_letters.count_letters(runtime.redis, group),
        until=dead_letters.find_last(runtime.redis, group),
        older=last and to_query({"group": group, "before": last.id.decode()}),
        redriven=query.redriven,
        deleted=query.deleted,
        may_administer=may_administer(session),
    )


@router.get(f"{LETTERS}{{letter_id}}")
def show_content(
    runtime: CurrentRuntime,
    _: EveryWorkspaceSession,
    letter_id: LetterId,
    group: Annotated[Name, Query()],
) -> Response:
    """Show the whole content of a dead letter as text."""
    letter = dead_letters.read_whole_letter(runtime.redis, group, letter_id)
    return PlainTextResponse(to_text(letter.raw), headers=HEADERS)


@router.post(f"{LETTERS}redrive", dependencies=[audits(AuditAction.DEAD_LETTER_RETRY)])
def redrive_all(
    request: Request,
    runtime: CurrentRuntime,
    session: OperatorSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    group: GroupOfForm,
    form: SubmittedForm,
) -> Response:
    """Redrive the next of a group's dead letters, and show how far it has come.

    Each step looks at 2,000 letters, fewer if they are large; the page asks for the next one.
    """
    asked: RedriveForm = to_filter(RedriveForm, form, tuple(RedriveForm.model_fields))
    until = asked.until or dead_letters.find_last(runtime.redis, group)
    step = dead_letters.redrive_all(
        runtime.engine,
        runtime.redis,
        group,
        actor,
        after=asked.after,
        until=until,
        limit=dead_letters.STEP,
    )
    done = asked.done + step.events
    if step.last is None:
        return _lead_to(group, redriven=done)
    fields = {"group": group, "until": until, "after": step.last, "done": done}
    return render(
        request,
        "next_step.html",
        session,
        title="Redriving",
        step="events are delivered again",
        rest="dead letters",
        fields=fields,
        done=done,
    )


@router.post(
    f"{LETTERS}{{letter_id}}/redrive", dependencies=[audits(AuditAction.DEAD_LETTER_RETRY)]
)
def redrive_one(
    runtime: CurrentRuntime,
    _: OperatorSession,
    actor: CurrentActor,
    letter_id: LetterId,
    group: GroupOfForm,
) -> Response:
    """Deliver one event again, to the group alone."""
    dead_letters.redrive_one(runtime.engine, runtime.redis, group, letter_id, actor)
    return _lead_to(group, redriven=1)


@router.post(
    f"{LETTERS}{{letter_id}}/delete", dependencies=[audits(AuditAction.DEAD_LETTER_DELETE)]
)
def delete(
    runtime: CurrentRuntime,
    _: OperatorSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    letter_id: LetterId,
    group: GroupOfForm,
) -> Response:
    """Delete a dead letter for good."""
    dead_letters.delete(runtime.engine, runtime.redis, group, letter_id, actor)
    return _lead_to(group, deleted=True)


def to_shown(letter: DeadLetter) -> ShownLetter:
    """Return what the page shows of a letter, which another program may have written."""
    text, event = to_text(letter.raw), letter.event
    return ShownLetter(
        letter=replace(
            letter,
            error=letter.error[:SHOWN_CHARACTERS],
            traceback=letter.traceback[-SHOWN_CHARACTERS:],
            consumer=letter.consumer[:MAX_NAME],
        ),
        id=letter.id.decode(),
        kind=str(event.get("type", ""))[:100].encode(errors="replace").decode(),
        video_id=_to_video_id(event.get("subject")),
        text=text[:SHOWN_CHARACTERS],
        size=letter.size,
        is_shortened=len(text) > SHOWN_CHARACTERS or len(letter.raw) < letter.size,
    )


def to_text(raw: bytes) -> str:
    r"""Return content as text; a byte that is not UTF-8 as `\xff`."""
    return raw.decode(errors="backslashreplace")


def _to_video_id(subject: object) -> int | None:
    if not isinstance(subject, str) or len(subject) >= MAX_DIGITS:
        return None
    return int(subject) if subject.isascii() and subject.isdigit() else None


def _lead_to(group: str, **said: object) -> Response:
    return RedirectResponse(f"{LETTERS}{to_query({'group': group, **said})}", 303)
