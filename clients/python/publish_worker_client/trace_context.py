"""W3C trace context: the text `traceparent`, which any caller or producer may have written."""

import re

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def check_traceparent(value: object) -> str | None:
    """Return a `traceparent` if it is valid; None: a trace begins here, as W3C has it."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None
