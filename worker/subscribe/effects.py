"""What the course of a subscriber asks of the world: said here, done by the two subscribers."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
Value = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Send:
    """Send commands to Redis in one go; the replies come as a list, a refusal as an exception."""

    commands: list[tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Ask:
    """Read up to `limit` events behind a position from the outbox."""

    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class AskEnds:
    """Ask the outbox for the last position given out, and the oldest one kept."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, and wake early when it is time to stop."""

    seconds: float


Effect = Send | Ask | AskEnds | Pause
Course = Generator[Effect, Any, T]
"""Yields what is to be done, is sent its result, and returns a T."""
