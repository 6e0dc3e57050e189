"""Submissions: what one call submits, and what it gets."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

from db.commands.idempotency import FirstRequest, Key
from db.commands.inbox import StoredCommand
from schemas.command import PublishRequest
from worker.enqueue.new_commands import PlannedCommand, plan_commands
from worker.enqueue.origin import Origin

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_TIMES = frozenset({"publish_at", "publish_at_local", "unpublish_at", "unpublish_at_local"})


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The commands in the inbox, in the order of the requests."""

    commands: list[StoredCommand]
    replayed: bool
    """Whether an earlier call with the idempotency key enqueued them; this one wrote nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Submission:
    """The requests of one call: all of them are accepted, or none."""

    requests: Sequence[PublishRequest]
    """At least one; one with `unpublish_at` becomes two commands, publish and unpublish."""
    origin: Origin
    span: "Span | None" = None
    """None: traces are off, or the submission is not traced."""

    @cached_property
    def planned(self) -> list[PlannedCommand]:
        """Its commands, with the same ids in every attempt. Raises RequestInvalid."""
        return plan_commands(self.requests)

    @cached_property
    def key(self) -> Key | None:
        """Its idempotency key."""
        key = self.origin.idempotency_key
        return None if key is None else Key(self.origin.idempotency_scope, key)

    @cached_property
    def digest(self) -> bytes:
        """The SHA-256 of its requests, whatever the spelling of their JSON."""
        bodies = [request.model_dump(mode="json", exclude_unset=True) for request in self.requests]
        return sha256(json.dumps(bodies, sort_keys=True).encode()).digest()

    @cached_property
    def is_timed(self) -> bool:
        """Whether it names a time: then it records events."""
        return any(not _TIMES.isdisjoint(each.model_fields_set) for each in self.requests)

    @property
    def may_wait(self) -> bool:
        """Whether accepting it may wait for a lock: of its key, or of the position counter."""
        return self.key is not None or self.is_timed

    @property
    def command_ids(self) -> list[UUID]:
        """The ids of its commands; empty before they were planned."""
        return [command.id for command in self.__dict__.get("planned", ())]

    def to_first_request(self) -> FirstRequest:
        """Return what its idempotency key is stored with."""
        return FirstRequest(digest=self.digest, command_ids=self.command_ids)
