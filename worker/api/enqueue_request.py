"""What every way to enqueue over HTTP has in common: headers in, origin and answer out."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Header, Path, Request

from schemas.command import PublishRequest, Trigger
from schemas.fields import INT64_MAX
from schemas.problem import FieldError
from worker.api.auth import Publisher
from worker.api.middleware import correlation_id, traceparent
from worker.api.problems import ApiProblem, invalid, no_such_video
from worker.enqueue.accept import Accepted, Origin, enqueue
from worker.runtime.runtime import Runtime

MAX_KEY = 255

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key and request give the same commands, however often they are sent.",
        examples=["8c0f3a4e-3d1c-4f0e-9a53-0a8a4d1f7c11"],
    ),
]


async def _origin(request: Request, caller: Publisher, key: IdempotencyKey = None) -> Origin:
    if key is not None and not (0 < len(key) <= MAX_KEY and key.isprintable()):
        detail = f"must have 1 to {MAX_KEY} printable characters"
        raise invalid([FieldError(pointer="header Idempotency-Key", code="length", detail=detail)])
    return Origin(
        trigger=Trigger.API,
        correlation_id=correlation_id(request.scope),
        traceparent=traceparent(request.scope),
        workspace_id=caller.workspace_id,
        idempotency_scope=str(caller.key_id),
        idempotency_key=key,
    )


async def _json_only(request: Request) -> None:
    """Refuse a body that does not say that it is JSON: a form would be misread as nothing."""
    if not await request.body():
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise ApiProblem(
            status=415,
            kind="not-json",
            title="Not JSON",
            detail="Send the body with `Content-Type: application/json`.",
        )


From = Annotated[Origin, Depends(_origin)]
"""Where a request comes from."""
JsonOnly = Depends(_json_only)


def accept(runtime: Runtime, requests: Sequence[PublishRequest], origin: Origin) -> Accepted:
    """Enqueue, in the words of this runtime."""
    return enqueue(runtime.engine, runtime.waker, requests, origin)


async def checked_id(
    video_id: Annotated[int, Path(description="The video's id.", examples=[7])],
) -> int:
    """An id that a database can hold; there is no video with any other."""
    if not 0 < video_id <= INT64_MAX:
        raise no_such_video(video_id)
    return video_id


VideoId = Annotated[int, Depends(checked_id)]
"""The video's id in the path."""
