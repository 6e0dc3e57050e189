"""Retry policy, pure: a delivery's next state after an attempt, an endpoint's health after many."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import groupby
from operator import attrgetter

from schemas.values.delivery import GONE, Attempt, DeliveryResult, EndpointHealth
from schemas.webhook import DeliveryState

PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
"""The pause after the first failed attempt, the second, and so on; the eighth failure is final."""
JITTER = 0.2
"""A pause is longer by up to this share, so that retries spread out."""
LONGEST_WAIT = timedelta(hours=10)
"""The upper limit for `Retry-After`."""
LONGEST_HEADER = 100
"""Characters of `Retry-After` that are read; an HTTP date has 29."""
WAIT_STATUSES = (429, 503)
"""The statuses whose `Retry-After` header is respected."""
PATIENCE = timedelta(days=5)
"""An endpoint is disabled after it has only failed for this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """The next state of a delivery, and the time until its next attempt."""

    state: DeliveryState
    pause: timedelta = timedelta()


def decide_next_step(attempt: Attempt, attempts_before: int, chance: float) -> NextStep:
    """Decide what follows an attempt; `chance` in [0, 1) selects the jitter."""
    if attempt.succeeded:
        return NextStep(state=DeliveryState.DELIVERED)
    if attempt.status == GONE or attempts_before >= len(PAUSES):
        return NextStep(state=DeliveryState.FAILED)
    pause = PAUSES[attempts_before] * (1 + JITTER * chance)
    asked = attempt.retry_after or timedelta()
    return NextStep(state=DeliveryState.PENDING, pause=max(pause, min(asked, LONGEST_WAIT)))


def parse_retry_after(status: int, value: str | None, now: datetime) -> timedelta | None:
    """Parse a `Retry-After` header: seconds or an HTTP date (RFC 9110); None if not valid.

    The result is between zero and the longest wait, whatever the receiver asked for.
    """
    if value is None or status not in WAIT_STATUSES:
        return None
    value = value.strip()[:LONGEST_HEADER]
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=int(value[:9])), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError, LookupError, TypeError):  # the parser lets several out
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(moment - now, timedelta()), LONGEST_WAIT)


def summarize_health(results: Iterable[DeliveryResult]) -> list[EndpointHealth]:
    """Summarize a batch of results for each endpoint in it."""
    by_endpoint = attrgetter("endpoint_id")
    grouped = groupby(sorted(results, key=by_endpoint), by_endpoint)
    return [_summarize(list(results)) for _, results in grouped]


def _summarize(results: Sequence[DeliveryResult]) -> EndpointHealth:
    attempts = sorted((result.attempt for result in results), key=_get_end)
    successes = [nth for nth, attempt in enumerate(attempts) if attempt.succeeded]
    failures = [attempt for attempt in attempts if not attempt.succeeded]
    since = attempts[successes[-1] + 1 :] if successes else attempts
    return EndpointHealth(
        endpoint_id=results[0].endpoint_id,
        succeeded=bool(successes),
        failing_since=_get_end(since[0]) if since else None,
        gone=any(attempt.status == GONE for attempt in failures),
        detail=_describe_failure(failures[-1]) if failures else "",
    )


def _get_end(attempt: Attempt) -> datetime:
    return attempt.started_at + timedelta(milliseconds=attempt.duration_ms)


def _describe_failure(attempt: Attempt) -> str:
    return attempt.error or f"It answered {attempt.status}."
