"""What becomes of a delivery after a try, and what a batch of tries says of an endpoint. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import groupby
from operator import attrgetter

from schemas.values.delivery import GONE, Attempt, Health, Settled
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
"""After the first failed try, the second, and so on; after the eighth it has failed for good."""
JITTER = 0.2
"""A pause is longer by up to this share, so that what failed together is not tried together."""
LONGEST_WAIT = timedelta(hours=10)
"""However long a receiver asks us to wait."""
WAIT_STATUSES = (429, 503)
"""Where `Retry-After` counts."""
PATIENCE = timedelta(days=5)
"""An endpoint that has done nothing but fail for so long is disabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a delivery."""

    state: DeliveryState
    pause: timedelta = timedelta()


def verdict(attempt: Attempt, attempts_before: int, chance: float) -> Verdict:
    """Judge a try; `chance` in [0, 1) decides on the jitter."""
    if attempt.succeeded:
        return Verdict(state=DeliveryState.DELIVERED)
    if attempt.status == GONE or attempts_before >= len(PAUSES):
        return Verdict(state=DeliveryState.FAILED)
    pause = PAUSES[attempts_before] * (1 + JITTER * chance)
    asked = attempt.retry_after or timedelta()
    return Verdict(state=DeliveryState.PENDING, pause=max(pause, min(asked, LONGEST_WAIT)))


def retry_after(status: int, value: str | None, now: datetime) -> timedelta | None:
    """How long a receiver asks us to wait: seconds or an HTTP date (RFC 9110); nonsense is none."""
    if value is None or status not in WAIT_STATUSES:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(int(value[:9]), LONGEST_WAIT.total_seconds()))
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment - now, timedelta())


def health(results: Iterable[Settled]) -> list[Health]:
    """What a batch of tries says of each endpoint that took part."""
    by_endpoint = attrgetter("endpoint_id")
    return [
        _health(list(tries)) for _, tries in groupby(sorted(results, key=by_endpoint), by_endpoint)
    ]


def _health(tries: Sequence[Settled]) -> Health:
    in_order = sorted((each.attempt for each in tries), key=_ended_at)
    last_success = max(
        (nth for nth, attempt in enumerate(in_order) if attempt.succeeded), default=None
    )
    since = in_order if last_success is None else in_order[last_success + 1 :]
    failures = [attempt for attempt in in_order if not attempt.succeeded]
    return Health(
        endpoint_id=tries[0].endpoint_id,
        succeeded=last_success is not None,
        failing_since=_ended_at(since[0]) if since else None,
        gone=any(attempt.status == GONE for attempt in failures),
        detail=describe(failures[-1]) if failures else "",
    )


def _ended_at(attempt: Attempt) -> datetime:
    return attempt.started_at + timedelta(milliseconds=attempt.duration_ms)


def describe(attempt: Attempt) -> str:
    """Why a try failed, in a few words."""
    return attempt.error or f"It answered {attempt.status}."
