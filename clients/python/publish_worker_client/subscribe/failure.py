"""Why a try of an event failed: the error for people, and where in the handler it was raised."""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from publish_worker_client.servers.database_errors import describe_error

LONGEST_TRACE = 8_000
"""Characters: a dead letter keeps the last ones, which are next to the fault."""
MOST_FRAMES = 50
"""Of one error, counted from the fault."""
MOST_CAUSES = 10
LONGEST_TEXT = 8_000
"""Characters of an error's words: an error may quote a whole document."""
ABOVE = "\nThe error above is the cause of this one:\n"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed try."""

    text: str
    """The error in words."""
    trace: str = ""
    """The traceback, without what a database says about its rows. Empty: none is known."""
    error: BaseException | None = None
    """What the handler raised, for the log."""


def to_failure(error: BaseException | str) -> Failure:
    """Describe an error of a handler, or the words that it gave."""
    if isinstance(error, str):
        return Failure(error[:LONGEST_TEXT])
    trace = ABOVE.join(_format(each) for each in reversed(list(_list_causes(error))))
    return Failure(_describe(error), trace[-LONGEST_TRACE:], error)


def _describe(error: BaseException) -> str:
    """Name the error and say what it says; of a database's error without DETAIL, which has rows."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, psycopg.Error):
        return describe_error(error)
    return f"{type(error).__name__}: {_to_text(error)}"


def _to_text(error: BaseException) -> str:
    """Return what an error says; its own code may fail."""
    try:
        return str(error)[:LONGEST_TEXT]
    except Exception as other:  # noqa: BLE001 - the subscriber goes on, with what is known
        return f"(its text cannot be read: {type(other).__name__})"


def _format(error: BaseException) -> str:
    frames = traceback.format_tb(error.__traceback__, -MOST_FRAMES)
    return f"Traceback (most recent call last):\n{''.join(frames)}{_describe(error)}\n"


def _list_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the nearest first."""
    current: BaseException | None = error
    for _ in range(MOST_CAUSES):
        if current is None:
            return
        yield current
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)
