"""Problem details (RFC 9457): how every error leaves the API."""

from schemas.fields import Frozen


class FieldError(Frozen):
    """One thing that is wrong with a request."""

    pointer: str
    """Where, as a JSON Pointer into the body (`/commands/3/video_id`), or `query`, `header`, `path`
    and a name."""
    code: str
    """A word for programs, such as `missing`."""
    detail: str
    """The same for people."""


class Problem(Frozen):
    """What went wrong, what was kept and what to do."""

    type: str
    """A URI reference that names the kind of problem."""
    title: str
    status: int
    detail: str
    instance: str
    correlation_id: str
    errors: list[FieldError] | None = None
    command: str | None = None
    """The URL of the command that this is about."""
