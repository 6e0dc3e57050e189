"""Messages as producers put them on the broker, valid ones and others."""

import gzip
import json
from base64 import b64encode
from typing import Any
from uuid import uuid4

COMPRESSED = gzip.compress(b"[" * 100_000_000)
"""A hundred megabytes in a hundred kilobytes."""


def encode(payload: Any) -> str:
    """A body as Kombu sends it by Redis."""
    return b64encode(json.dumps(payload).encode()).decode()


def envelope(headers: Any = None, properties: Any = None, **parts: Any) -> dict[str, Any]:
    """A message of Celery's protocol 2 by Redis, with some parts replaced or added."""
    own: Any = {"lang": "py", "task": "publish.enqueue", "id": str(uuid4())}
    tagged: Any = {
        "delivery_tag": str(uuid4()),
        "delivery_info": {"exchange": "", "routing_key": "publish"},
        "body_encoding": "base64",
    }
    message: dict[str, Any] = {
        "body": encode([[], {"video_id": 999_999}, {}]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": own | headers if isinstance(headers, dict) else (headers or own),
        "properties": tagged | properties if isinstance(properties, dict) else properties or tagged,
    }
    return message | {name.replace("_", "-"): part for name, part in parts.items()}


def each(*values: Any) -> tuple[Any, ...]:
    """These values, of any type."""
    return values


def nest(levels: int) -> Any:
    """A list in a list, and so on."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def nested_body(levels: int) -> str:
    """A body with deeply nested arguments; Python's own encoder could not write it."""
    text = f'[[], {{"video_id": {"[" * levels}{"]" * levels}}}, {{}}]'
    return b64encode(text.encode()).decode()


def protocol_1(video_id: int, **parts: Any) -> dict[str, Any]:
    """A message as Go producers send it: no headers, and the task in the body."""
    body = {"id": str(uuid4()), "task": "publish.enqueue", "kwargs": {"video_id": video_id}}
    message = envelope(body=encode({**body, "args": None, "retries": 0, "eta": None}))
    message["properties"]["delivery_info"] = {"exchange": "celery", "routing_key": "celery"}
    del message["headers"]
    return message | parts


CHORD: list[Any] = ["group", {"task": "publish.run_due"}, 0.1, None, [[["result", None], None]]]
"""What Celery's own `celery.chord_unlock` asks for, again and again."""

INVALID: dict[str, list[Any]] = {
    "bodies": [
        envelope(body="x"),
        envelope(body="x"),
        envelope(body=5),
        envelope(body={"a": 1}),
        envelope(body=""),
        envelope(body="//79"),  # base64 of what is not UTF-8
        *(
            envelope(body=encode(body))
            for body in each(5, "abc", {}, [], [1, 2, 3], [[], {}], None)
        ),
        envelope(body=encode([{}, [], {}])),
        envelope(body=encode([[], {"self": 1}, {}])),
        envelope(body=encode([[], {"a": {"__type__": [], "__value__": 1}}, {}])),
    ],
    "headers": [
        *(envelope({"id": value}) for value in each(None, "", [1], {"a": 1}, 1.5)),
        *(envelope({"expires": value}) for value in each({}, [1], 5, "soon", "0001-01-01")),
        *(envelope({"eta": value}) for value in each({}, [1], 5, "soon", "9999-12-31T23:59:59")),
        *(envelope({"task": value}) for value in each(None, [1], {}, "", "\ud800", 7)),
        *(envelope(headers) for headers in each(5, [1], "x")),
        envelope({"task": "publish.run_due"}, body=encode([[], {"video_id": 1}, {}])),
        envelope({"task": "celery.chord_unlock"}, body=encode([CHORD, {}, {}])),
        *(
            envelope({"task": f"celery.{name}"}, body=encode([[], {}, {}]))
            for name in each("backend_cleanup", "map", "group", "chord")
        ),
    ],
    "properties": [
        *(envelope(properties=properties) for properties in each(5, [1], "x")),
        *(envelope(properties={"body_encoding": value}) for value in each(5, "rot13", [1])),
    ],
    "content types": [
        *(
            envelope(content_type=value)
            for value in each(None, 5, {}, "application/text", "text/json")
        ),
        envelope(content_type="application/x-python-serialize"),
        envelope(content_type="application/data", content_encoding="bz2"),
    ],
    "sizes": [
        envelope({"compression": "gzip"}, body=b64encode(COMPRESSED).decode()),
        envelope({"compression": "application/x-bz2"}),
        envelope({"compression": {}, "extra": 1}, body=b64encode(COMPRESSED).decode()),
        envelope({"compression": "gzip"}, content_encoding=5),
        *(envelope(body=nested_body(levels)) for levels in (40, 200, 500, 2_000, 100_000)),
        *(envelope({"extra": nest(levels)}) for levels in (40, 200, 400)),
        json.dumps(envelope({"extra": "?"})).replace('"?"', "[" * 9_000 + "]" * 9_000),
        "[" * 100_000,
        "9" * 5_000,
        envelope(body="A" * 5_000_000),
        "x" * 5_000_000,
    ],
}
"""Messages that are to be quarantined, by the part that is wrong."""

UNUSUAL: list[dict[str, Any]] = [
    {"content_encoding": 5},
    {"headers": {"timelimit": "x", "retries": {}, "stamps": 5, "stamped_headers": 5, "group": [1]}},
    {"properties": {"delivery_tag": [1], "delivery_info": 5, "priority": "x", "reply_to": {}}},
    {"properties": {"delivery_tag": "the same"}},
    {"properties": {"delivery_tag": "the same"}},
    {"headers": {"id": 7, "ignore_result": [], "shadow": {}, "root_id": [], "argsrepr": 5}},
    {"headers": {"expires": "2100-01-01T00:00:00", "eta": "2026-01-01T00:00:00+00:00"}},
]
"""Parts of valid messages that no task of ours reads, or that are rare."""
