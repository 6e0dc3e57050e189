"""What the routes that enqueue have in common: the path, the headers, the origin of a command."""

from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request
from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from publish_worker_client.events.names import Trigger
from schemas.fields import INT64_MAX, MAX_NAME
from schemas.problem import FieldError
from schemas.values.caller import Caller
from worker.api.auth import PublishCaller
from worker.api.middleware import correlation_id, traceparent
from worker.api.problems import NOT_JSON, ApiProblem, invalid_request, no_such_video
from worker.enqueue.origin import Origin

MAX_ERRORS_READ = 5_000
"""Errors of validation whose texts are made: five for each command of a bulk request."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key with the same request returns the same commands, however often it"
        " is sent.",
        examples=["8c0f3a4e-3d1c-4f0e-9a53-0a8a4d1f7c11"],
        json_schema_extra={"minLength": 1, "maxLength": MAX_NAME},
    ),
]


async def _origin(request: Request, caller: PublishCaller, key: IdempotencyKey = None) -> Origin:
    if key is not None and not is_valid_key(key):
        detail = f"must have 1 to {MAX_NAME} printable characters"
        raise invalid_request(
            FieldError(pointer="header Idempotency-Key", code="length", detail=detail)
        )
    return to_origin(caller, key, correlation_id(request.scope), traceparent(request.scope))


def to_origin(
    caller: Caller, key: str | None, correlation_id: str, traceparent: str | None
) -> Origin:
    """Return where a request comes from; `key` is its idempotency key."""
    return Origin(
        trigger=Trigger.API,
        correlation_id=correlation_id,
        traceparent=traceparent,
        workspace_id=caller.workspace_id,
        idempotency_scope=str(caller.id),
        idempotency_key=key,
        requested_by=caller.id,
    )


def is_valid_key(key: str) -> bool:
    """Whether an idempotency key can be stored."""
    return 0 < len(key) <= MAX_NAME and key.isprintable()


async def _require_json(request: Request) -> None:
    """Refuse a body that is not declared as JSON: a form would be read as an empty body."""
    if not await request.body():
        return
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    top, _, subtype = media_type.partition("/")
    if top != "application" or (subtype != "json" and not subtype.endswith("+json")):
        raise ApiProblem(NOT_JSON)


def _limit_errors(body: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(body)
    except ValidationError as error:
        if error.error_count() <= MAX_ERRORS_READ:
            raise
        text = f"the body has {error.error_count()} errors, too many to list; is it another format?"
        raise PydanticCustomError("too_many_errors", "{text}", {"text": text}) from None


async def _check_video_id(
    video_id: Annotated[int, Path(description="The video's id.", examples=[7])],
) -> int:
    """Refuse an id that the database cannot store: no video has it."""
    if not 0 < video_id <= INT64_MAX:
        raise no_such_video(video_id)
    return video_id


RequestOrigin = Annotated[Origin, Depends(_origin)]
"""The caller, its idempotency key, and the request's trace."""
RequiresJson = Depends(_require_json)
LimitedErrors = WrapValidator(_limit_errors)
"""For a body: one error in place of very many, whose texts would take a second."""
VideoId = Annotated[int, Depends(_check_video_id)]
"""The video's id in the path."""
