"""Problem details (RFC 9457): the body of every error response."""

from schemas.fields import Frozen, Int32


class FieldError(Frozen):
    """One error in a request."""

    pointer: str
    """A JSON Pointer into the body (`/commands/3/video_id`), or `query`, `header` or `path` and the
    parameter's name."""
    code: str
    """A code for programs, such as `missing`."""
    detail: str
    """The error, for people."""


class Problem(Frozen):
    """An error response: the error, what was kept and what to do."""

    type: str
    """A URI reference that identifies the type of problem."""
    title: str
    status: Int32
    detail: str
    instance: str
    correlation_id: str
    errors: list[FieldError] | None = None
    command: str | None = None
    """The URL of the command concerned."""
    resume_after: int | None = None
    """The `after` with which a reader of events can go on. It misses the events in between."""
