"""A batch of `publish.enqueue` messages, on its way from the worker to a pool process and back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from celery.exceptions import Reject
from kombu.utils.json import dumps

from worker.app.messages import JSON

TASK = "publish.enqueue_batch"
"""Only a worker starts it; a message from the broker that names it is quarantined."""


class MessagesLeft(Reject):
    """Some messages of a batch must go back to the queue; the others are done."""

    def __init__(
        self, reason: str | None = None, requeue: bool | None = True, left: Sequence[int] = ()
    ) -> None:
        super().__init__(reason, requeue)
        self.left = left
        """Their indexes in the batch."""


@dataclass(frozen=True, kw_only=True)
class BatchMessage:
    """A message that only Celery's code in this worker reads: what it needs of Kombu's."""

    headers: dict[str, Any]
    body: bytes
    payload: Any = ((), {}, {})
    """Without the arguments: Celery would send them to the pool process twice."""
    content_type: str = JSON
    content_encoding: str = "utf-8"
    properties: dict[str, Any] = field(default_factory=dict[str, Any])
    delivery_info: dict[str, Any] = field(default_factory=dict[str, Any])


def build_message(messages: Sequence[Any]) -> BatchMessage:
    """Return a message for the task with the ids and bodies of these, which were rewritten."""
    parts = (b"[%s,%s]" % (dumps(each.id).encode(), each.body) for each in messages)
    return BatchMessage(
        headers={"task": TASK, "id": str(uuid4())},
        body=b"[[[%s]],{},{}]" % b",".join(parts),
    )
