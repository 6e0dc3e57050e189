"""The peer of the HTTP door: an ordinary FastAPI route that calls `task.delay()`.

The task is the textbook worker's (bench/peers/textbook.py). In its favour: the API key is looked up
in memory, the video is not looked up at all, nothing is written before the answer, and Celery keeps
its connections to the broker in its pool. What it answers is not durable: a broker that loses the
message loses the publish.

`delay()` is a blocking call, so FastAPI's docs ask for a `def` route, which runs in a thread. An
`async def` route, which blocks the event loop for the length of the call, is faster here: the peer
is measured as the faster of the two, see ROUTES.
"""

import os
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

from bench.peers import textbook

KEYS = {os.environ.get("BENCH_API_KEY", ""): "bench"}
"""The owner of each API key."""
ROUTES = {"async def": "/api/v1/videos/{}/publish/", "def": "/in-a-thread/videos/{}/publish/"}

app = FastAPI(title="textbook")
bearer = HTTPBearer()
Credentials = Annotated[HTTPAuthorizationCredentials, Depends(bearer)]


class PublishBody(BaseModel):
    """The options of a publish, as a platform would have them."""

    title: str | None = Field(None, max_length=255)
    visibility: str | None = None
    category: int | None = None
    tags: list[int] | None = None


class Sent(BaseModel):
    """The message that was sent."""

    id: UUID
    video_id: int
    state: str


def check_key(credentials: Credentials) -> str:
    """Return the owner of the key. Raises 401 for an unknown one."""
    owner = KEYS.get(credentials.credentials)
    if owner is None:
        raise HTTPException(401, "unknown API key")
    return owner


async def current_owner(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
) -> str:
    """Do the same without a thread."""
    return check_key(credentials)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer that the process serves."""
    return {"status": "ok"}


@app.post("/api/v1/videos/{video_id}/publish/", status_code=202)
async def publish(
    video_id: int,
    body: PublishBody,  # noqa: ARG001 - validated; an edit would be another argument of the task
    owner: Annotated[str, Depends(current_owner)],  # noqa: ARG001 - only that there is one
) -> Sent:
    """Send the task from the event loop."""
    return _send(video_id)


@app.post("/in-a-thread/videos/{video_id}/publish/", status_code=202)
def publish_in_a_thread(
    video_id: int,
    body: PublishBody,  # noqa: ARG001 - as above
    owner: Annotated[str, Depends(check_key)],  # noqa: ARG001 - as above
) -> Sent:
    """Send the task from a thread."""
    return _send(video_id)


def _send(video_id: int) -> Sent:
    result = textbook.publish_video.delay(video_id)
    return Sent(id=UUID(result.id), video_id=video_id, state="sent")
