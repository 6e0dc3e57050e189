"""Why a publication was not accepted: one class for each thing that a caller handles differently.

The worker's answers come by HTTP, as problems (RFC 9457), or by SQL, as SQLSTATEs `PW…` that name
the same statuses.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic_core import from_json

NO_SUCH_VIDEO = "no_such_video"
"""The code of an error about one of several publications."""

OURS = "PW"
"""How the SQLSTATEs of the worker's functions begin."""


class PublishError(Exception):
    """Nothing was accepted, as far as is known. The text says what is wrong."""


class PublishRefused(PublishError):
    """The worker has refused, and keeps nothing."""

    def __init__(self, text: str, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.problem: Mapping[str, Any] = problem or {}
        """The answer over HTTP: `type`, `title`, `status`, `detail`, `errors`. Else empty."""


class UnknownVideo(PublishRefused):
    """There is no such video or command in the caller's workspace."""


class InvalidPublication(PublishRefused):
    """The request contradicts itself, or the video."""


class ChangedVideo(PublishRefused):
    """The release does not have the expected revision."""


class TooManyOpen(PublishRefused):
    """The video or the workspace has as many open commands as it may have."""


class ReusedKey(PublishRefused):
    """The idempotency key was used for another request."""


class WrongState(PublishRefused):
    """The command has ended and cannot be changed; or it has not failed and cannot be retried."""


class AccessRefused(PublishRefused):
    """The API key is missing, revoked or of too low a scope; or the role lacks a right."""


class Unanswered(PublishError):
    """No answer came. The command may have been accepted, or changed.

    Send the publication again with the same `idempotency_key`: it is accepted once. None: of
    another request, which may be sent again as it is.
    """

    def __init__(self, text: str, idempotency_key: str | None) -> None:
        kept = (
            " The request may have arrived. Send it again: to repeat it does no harm."
            if idempotency_key is None
            else " The command may have been accepted. To be sure, send it again with "
            f"idempotency_key={idempotency_key!a}: it is accepted once."
        )
        super().__init__(f"{text}{kept}")
        self.idempotency_key = idempotency_key

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process, such as a pool's, gets the same error."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[PublishError], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class _Kinds:
    BY_PROBLEM: ClassVar[dict[str, type[PublishRefused]]] = {
        "no-such-video": UnknownVideo,
        "no-such-command": UnknownVideo,
        "video-changed": ChangedVideo,
        "too-many-commands": TooManyOpen,
        "idempotency-key-reused": ReusedKey,
        "command-ended": WrongState,
        "command-not-failed": WrongState,
        "not-authenticated": AccessRefused,
        "scope-too-low": AccessRefused,
    }
    BY_STATUS: ClassVar[dict[int, type[PublishRefused]]] = {
        400: InvalidPublication,
        401: AccessRefused,
        403: AccessRefused,
        413: InvalidPublication,
        422: InvalidPublication,
    }
    """Of other problems, as a later version may add them, and of answers of a proxy."""
    BY_STATE: ClassVar[dict[str, type[PublishRefused]]] = {
        "PW404": UnknownVideo,
        "PW409": ReusedKey,
        "PW412": ChangedVideo,
        "PW422": InvalidPublication,
        "PW429": TooManyOpen,
        "42501": AccessRefused,
    }


def read_object(body: bytes) -> Mapping[str, Any]:
    """Return the object of an answer; empty if it is something else, as a proxy's page."""
    try:
        found: Any = from_json(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def to_refusal(problem: Mapping[str, Any], status: int, otherwise: str) -> PublishRefused:
    """Return the error of an answer that refuses; `otherwise`: its text if there is no problem."""
    name = str(problem.get("type", "")).rpartition("/")[2]
    errors = _list_errors(problem)
    are_unknown = errors and all(each.get("code") == NO_SUCH_VIDEO for each in errors)
    otherwise_kind = _Kinds.BY_STATUS.get(status, PublishRefused)
    kind = _Kinds.BY_PROBLEM.get(name, UnknownVideo if are_unknown else otherwise_kind)
    text = str(problem.get("detail") or otherwise)
    details = (str(each["detail"]) for each in errors[:10] if each.get("detail"))
    return kind(" ".join((text, *details)), problem)


def _list_errors(problem: Mapping[str, Any]) -> list[dict[str, Any]]:
    given: Any = problem.get("errors")
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []  # pyright: ignore[reportUnknownVariableType]


def find_refusal(error: BaseException) -> PublishRefused | None:
    """Return the refusal in an error of a database, as SQLAlchemy and Django wrap it; else None."""
    cause: Any = error
    for _ in range(5):
        state, *parts = _read_error(cause)
        if state in _Kinds.BY_STATE or str(state).startswith(OURS):
            text = " ".join(f"{part.rstrip('.')}." for part in parts if part)
            return _Kinds.BY_STATE.get(state, PublishRefused)(text or str(cause))
        cause = getattr(cause, "orig", None) or getattr(cause, "__cause__", None)
        if cause is None:
            return None
    return None


def _read_error(error: Any) -> tuple[Any, Any, Any]:
    """Return the SQLSTATE of a driver's error, its message and its hint; None: it has none."""
    match error.args:
        case [{"C": state, "M": message, **others}]:  # pg8000's
            return state, message, others.get("H")
        case _:
            state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
            texts = getattr(error, "diag", error)
            message = getattr(texts, "message_primary", None) or getattr(texts, "message", None)
            return state, message, getattr(texts, "message_hint", getattr(texts, "hint", None))
