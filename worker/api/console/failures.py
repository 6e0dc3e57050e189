"""The page of failures: by cause, with their retry at a limited rate."""

from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from publish_worker_client.events.names import Action
from schemas.audit import AuditAction
from schemas.failures import FailureFilter, FailureRetry, FailureRetryStep
from worker.api.audit import CurrentActor, audits
from worker.api.auth import CurrentRuntime
from worker.api.console.confirmation import Confirmed
from worker.api.console.forms import SubmittedForm, read_count, to_number
from worker.api.console.recent import get_recents
from worker.api.console.rendering import render
from worker.api.console.session import PATH, ConsoleRoute, PublisherSession, SignedIn, may_publish
from worker.api.console.videos import BAD_FILTER, to_query
from worker.api.problems import ApiProblem
from worker.api.routing import Router
from worker.operations import dead_letters
from worker.operations.failures import read_failures, retry_failures
from worker.runtime.errors_explained import RedisUnavailable
from worker.runtime.runtime import Runtime
from worker.subscribe.dead_groups import DeadGroups
from worker.webhooks.backlogs import MOST, read_failed

FAILURES = f"{PATH}/failures/"
FILTER = tuple(FailureFilter.model_fields)
DEAD_LETTERS_SECONDS = 5.0
NEXT_STEP = ("after", "start_at", "failed_until")
"""Fields of a retry that a step hands to the next one."""

router = Router(route_class=ConsoleRoute)


@router.get(FAILURES)
def show_failures(request: Request, runtime: CurrentRuntime, session: SignedIn) -> Response:
    """Show why commands failed, the most frequent cause first."""
    wanted = to_filter(FailureFilter, dict(request.query_params), FILTER)
    workspace_id = session.caller.workspace_id
    found = read_failures(runtime.engine, wanted, workspace_id)
    return render(
        request,
        "failures.html",
        session,
        found=found,
        wanted=wanted,
        actions=list(Action),
        failed_deliveries=read_failed(runtime.engine, workspace_id),
        most_deliveries=MOST,
        dead=read_dead_letters(request, runtime) if workspace_id is None else None,
        retried=read_count(request.query_params.get("retried")),
        may_publish=may_publish(session),
        fields=wanted.model_dump(mode="json", exclude_none=True),
    )


def read_dead_letters(request: Request, runtime: Runtime) -> DeadGroups | RedisUnavailable:
    """Count the dead letters of each group, every five seconds at most; or why that failed.

    The client for hints answers or gives up within a moment: the rest of the page does not wait.
    """
    redis = runtime.waker.redis
    try:
        return (
            get_recents(request)
            .find("dead letters", lambda: dead_letters.count_groups(redis), DEAD_LETTERS_SECONDS)
            .look()
        )
    except RedisUnavailable as error:
        return error


@router.post(f"{FAILURES}retry", dependencies=[audits(AuditAction.COMMAND_RETRY_ALL)])
def retry_all(
    request: Request,
    runtime: CurrentRuntime,
    session: PublisherSession,
    _confirmed: Confirmed,
    actor: CurrentActor,
    form: SubmittedForm,
) -> Response:
    """Retry the next of all that match, and show how far it has come.

    Each step is one transaction of at most 2,000 commands; the page asks for the next one.
    """
    asked = to_filter(FailureRetry, form, (*FILTER, *NEXT_STEP, "per_second"))
    done = to_number(form.get("done", ""))
    step: FailureRetryStep = retry_failures(
        runtime.engine, runtime.waker, asked, session.caller.workspace_id, actor
    )
    done += step.commands
    if step.next is None:
        return RedirectResponse(f"{FAILURES}{to_query({'retried': done})}", 303)
    fields = step.next.model_dump(mode="json", exclude_none=True) | {"done": done}
    return render(
        request,
        "next_step.html",
        session,
        title="Retrying",
        step="commands were given new attempts",
        rest="failed",
        fields=fields,
        done=done,
    )


def to_filter(kind: type[Any], given: dict[str, str], names: tuple[str, ...]) -> Any:
    """Return the filter that a form or an address describes. Raises ApiProblem."""
    values = {name: given[name].strip() for name in names if given.get(name, "").strip()}
    if "cause" in values:
        values["cause"] = given["cause"]  # it may end with a space
    number = values.pop("per_second", "")
    try:
        if number:
            return kind.model_validate(
                {
                    **kind.model_validate_strings(values).model_dump(exclude_unset=True),
                    "per_second": to_number(number),
                }
            )
        return kind.model_validate_strings(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ApiProblem(BAD_FILTER, f"{name} is not valid: {first['msg']}.") from None
