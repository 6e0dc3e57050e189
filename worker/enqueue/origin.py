"""Where requests come from."""

from dataclasses import dataclass
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from publish_worker_client.events.names import Trigger
from publish_worker_client.trace_context import check_traceparent
from schemas.fields import MAX_NAME, ShortText
from schemas.values.actor import Actor
from worker.enqueue.refusals import EnqueueRefused

_short_text: TypeAdapter[str | None] = TypeAdapter(ShortText | None)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where requests come from."""

    trigger: Trigger
    """Which door they came through; events name it."""
    correlation_id: str
    """The caller's name for the whole job, such as `job-4711`; every event and log line has it."""
    traceparent: str | None = None
    """The W3C trace context of the caller; one that is not valid is ignored."""
    workspace_id: int | None
    """The workspace that the caller is confined to. None, every workspace, must be said."""
    idempotency_scope: str = ""
    """The caller that the idempotency key belongs to: keys of other scopes never collide."""
    idempotency_key: str | None = None
    """A second call with this key returns the commands of the first; None: every call is new."""
    requested_by: UUID | None = None
    """The API key or person that asks; each command keeps it."""
    actor: Actor | None = None
    """Who asks, for an entry of the audit log for each command. None: `requested_by` suffices."""

    def __post_init__(self) -> None:
        """Raise EnqueueRefused for text that cannot be stored, or is too long."""
        for name in ("correlation_id", "traceparent", "idempotency_scope", "idempotency_key"):
            try:
                _short_text.validate_python(getattr(self, name))
            except ValidationError:
                text = f"{name} must be storable text of at most {MAX_NAME} characters."
                raise EnqueueRefused(text) from None
        object.__setattr__(self, "traceparent", check_traceparent(self.traceparent))
