"""Messages from the broker, rewritten: Kombu and Celery see only what this module wrote.

Both take the types of dozens of fields for granted, and an error in the wrong place ends a worker,
or leaves it one process fewer. So each message is read once, within bounds, and written again in
one form (Celery's protocol 2) with the fields that our tasks need; everything else is dropped.
"""

import json
from base64 import b64decode
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

from amqp import basic_message, method_framing
from kombu import compression
from kombu.utils.json import dumps, loads

from worker.runtime.wake_ups import WAKE_UPS

MAX_BYTES = 4 * 2**20
"""Of a message: a thousand commands with descriptions fit."""
MAX_DEPTH = 32
"""Levels of objects and lists: a message has eight. Python's own encoders fail at some hundreds."""
YEARS = range(1970, 9000)
"""Celery drops a message whose time does not fit into the local time zone."""
JSON = "application/json"
_WITHOUT_ARGUMENTS = frozenset(wake_up.task for wake_up in WAKE_UPS)
_TASKS = _WITHOUT_ARGUMENTS | {"publish.enqueue"}
"""Celery has tasks of its own, which would run: `celery.chord_unlock` sends itself again for ever.
"""


class InvalidMessage(ValueError):
    """A message from which no task can be run."""


def refuse_compression() -> None:
    """Let Kombu refuse each compressed message of this process: a few bytes become gigabytes."""
    for content_type in compression.encoders():
        encoder: Any = compression.get_encoder(content_type)
        compression.register(encoder[0], _refuse_compressed, content_type)


def _refuse_compressed(_: bytes) -> bytes:
    raise InvalidMessage("Send messages without compression.")


class AmqpMessage(basic_message.Message):
    """A message of AMQP whose properties may be unreadable: then it has none, and is refused."""

    def _load_properties(self, class_id: int, buf: bytes, offset: int) -> int:
        try:
            return super()._load_properties(class_id, buf, offset)  # pyright: ignore
        except Exception:  # noqa: BLE001 - whatever it is, it would end the worker
            self.properties = {}
            return offset


def read_unreadable_properties() -> None:
    """Let AMQP connections of this process read every message."""
    method_framing.Message = AmqpMessage


def is_wake_up(headers: Any) -> bool:
    """Whether a message with these headers is a wake-up. By protocol 1, they do not say so."""
    try:
        return headers["task"] in _WITHOUT_ARGUMENTS
    except (LookupError, TypeError):
        return False


def is_stale(item: bytes) -> bool:
    """Whether an entry of a Redis list is a wake-up that has expired.

    Not by protocol 1, which has its task in the body: Celery drops it, and no sweep is one.
    """
    try:
        headers = json.loads(item)["headers"]
        if headers["task"] not in _WITHOUT_ARGUMENTS:
            return False
        return datetime.fromisoformat(headers["expires"]) < datetime.now(UTC)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def rewrite_envelope(item: bytes, queue: str) -> bytes:
    """Return an entry of a Redis list as an envelope that Kombu can read.

    The tag is new, so that two messages are never taken for one. The destination is the queue that
    it comes from, so that it can go back there. Raises any error if the entry is not a message.
    """
    envelope = _load(item)
    properties: Any = envelope["properties"]
    headers: Any = envelope.get("headers") or {}
    if headers.get("compression"):
        raise InvalidMessage("Send messages without compression.")
    body = envelope.get("body") or ""
    if properties.get("body_encoding") == "base64":
        body = b64decode(body).decode()
    rewritten = {
        "body": body,
        "content-type": envelope.get("content-type"),
        "headers": headers,
        "properties": {
            "delivery_tag": str(uuid4()),
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": properties.get("priority"),
        },
    }
    return dumps(rewritten).encode()


def rewrite_task(message: Any) -> None:
    """Rewrite Kombu's message of any broker, in place, into one that Celery can run.

    Raises any error if it cannot be read as a task, by protocol 1 or 2.
    """
    if message.content_type != JSON:
        raise InvalidMessage(f"The content type must be {JSON}.")
    payload = _load(message.body)
    in_body: dict[str, Any] = cast("Any", payload) if isinstance(payload, dict) else {}
    fields = {**in_body, **message.headers}
    args, kwargs = _read_arguments(payload)
    task = _check_type(fields["task"], str)
    if task not in _TASKS:
        raise InvalidMessage(f"The task {task!r} is unknown.")
    if task in _WITHOUT_ARGUMENTS and (args or kwargs):
        raise InvalidMessage(f"{task} has no arguments.")
    message.headers = {
        "task": task,
        "id": _read_id(fields["id"]),
        "eta": _read_time(fields.get("eta")),
        "expires": _read_time(fields.get("expires")),
    }
    message.body = dumps([args, kwargs, {}]).encode()
    message.content_encoding = "utf-8"
    message.properties = {}


def _load(text: Any) -> Any:
    """Parse JSON within the bounds. Raises any error of the parser, and InvalidMessage."""
    if len(text) > MAX_BYTES:
        raise InvalidMessage(f"The message has more than {MAX_BYTES} bytes.")
    value = loads(text)
    if _is_deeper(value, MAX_DEPTH):
        raise InvalidMessage(f"The message has more than {MAX_DEPTH} levels.")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    inner: Iterable[Any] = ()
    match value:
        case dict():
            inner = cast("dict[str, Any]", value).values()
        case list():
            inner = cast("list[Any]", value)
        case _:
            pass
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _read_arguments(payload: Any) -> tuple[list[Any], dict[str, Any]]:
    if isinstance(payload, dict):  # protocol 1
        fields = cast("dict[str, Any]", payload)
        args, kwargs = fields.get("args"), fields.get("kwargs")
    else:
        args, kwargs, _ = _check_type(payload, list)
    arguments: dict[str, Any] = _check_type(kwargs or {}, dict)
    if "self" in arguments:  # Celery would take it for the task
        raise InvalidMessage("The argument 'self' is unknown.")
    return _check_type(args or [], list), arguments


def _read_id(value: Any) -> str:
    """A command's idempotency key may be made from it."""
    if not value or not isinstance(value, str | int):
        raise InvalidMessage("The message has no id.")
    return str(value)


def _read_time(value: Any) -> str | None:
    if value is None:
        return None
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    if time.year not in YEARS:
        raise InvalidMessage(f"{time.isoformat()} is not a time that this worker can wait for.")
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()


def _check_type(value: Any, expected: type) -> Any:
    if not isinstance(value, expected):
        raise InvalidMessage(f"A {expected.__name__} was expected, not a {type(value).__name__}.")
    return value
