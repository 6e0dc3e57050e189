"""When a webhook is tried again, and what tries say of an endpoint."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.values.delivery import Attempt, DeliveryResult
from schemas.webhook import DeliveryState
from worker.webhooks.retry_policy import (
    JITTER,
    LONGEST_WAIT,
    PAUSES,
    decide_next_step,
    parse_retry_after,
    summarize_health,
)

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
ENDPOINT = UUID(int=1)
FAILED = Attempt(started_at=NOW, duration_ms=10, status=500, error=None, answer="")
chances = st.floats(0, 1, exclude_max=True)


def tried(status: int | None, second: int = 0, endpoint: UUID = ENDPOINT) -> DeliveryResult:
    attempt = replace(FAILED, status=status, started_at=NOW + timedelta(seconds=second))
    return DeliveryResult(
        delivery_id=UUID(int=second),
        endpoint_id=endpoint,
        claimed_until=NOW,
        attempt=attempt,
        state=DeliveryState.PENDING,
        pause=timedelta(),
    )


@pytest.mark.parametrize(
    ("before", "pause"), list(enumerate(["5 s", "5 min", "30 min", "2 h", "5 h", "10 h", "10 h"]))
)
def test_the_pauses_are_those_of_the_docs(before: int, pause: str) -> None:
    number, unit = pause.split()
    seconds = int(number) * {"s": 1, "min": 60, "h": 3600}[unit]
    assert decide_next_step(FAILED, before, 0.0).pause == timedelta(seconds=seconds)


@given(st.integers(0, 100), chances)
def test_a_failure_is_retried_until_the_last_attempt(before: int, chance: float) -> None:
    found = decide_next_step(FAILED, before, chance)
    if before < len(PAUSES):
        assert found.state is DeliveryState.PENDING
        assert PAUSES[before] <= found.pause <= PAUSES[before] * (1 + JITTER)
    else:
        assert found.state is DeliveryState.FAILED


@given(st.integers(100, 599), st.integers(0, 6), chances)
def test_only_2xx_is_a_success_and_410_ends_it(status: int, before: int, chance: float) -> None:
    state = decide_next_step(replace(FAILED, status=status), before, chance).state
    assert (state is DeliveryState.DELIVERED) == (200 <= status < 300)
    assert (state is DeliveryState.FAILED) == (status == 410)


@given(st.timedeltas(timedelta(), timedelta(days=400)), st.integers(0, 6), chances)
def test_the_receiver_may_ask_for_a_longer_pause_but_not_for_ever(
    asked: timedelta, before: int, chance: float
) -> None:
    usual = decide_next_step(FAILED, before, chance).pause
    pause = decide_next_step(replace(FAILED, retry_after=asked), before, chance).pause
    assert pause == max(usual, min(asked, LONGEST_WAIT))


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "120", 120),
        (503, " 120 ", 120),
        (429, "0", 0),
        (429, "9" * 5000, 36_000),
        (429, "Tue, 01 Dec 2026 12:01:00 GMT", 60),
        (429, "Tue, 01 Dec 2026 13:01:00 +0100", 60),
        (429, "Tue, 01 Dec 2026 12:01:00 -0000", 60),
        (429, "Tue, 01 Dec 2026 11:00:00 GMT", 0),
        (500, "120", None),
        (200, "120", None),
        (429, None, None),
        (429, "", None),
        (429, "-1", None),
        (429, "1.5", None),
        (429, "soon", None),
        (429, "²", None),
        (429, "Tue, 99 Dec 2026 12:01:00 GMT", None),
        (429, "Mon, 20 Nov 9999999999 12:00:00 GMT", None),
        (429, "Fri, 31 Dec 9999 23:59:59 GMT", 36_000),
        (429, "Mon, 01 Jan 0001 00:00:00 GMT", 0),
        (429, "Tue, 01 Dec 2026 12:01:00 +99999999999999", None),
        (429, "Tue, 01 Dec 2026 99999999999:01:00 GMT", None),
        (429, f"Tue, 01 Dec {'9' * 5000} 12:01:00 GMT", None),
        (429, "\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}", None),
        (429, "+5", None),
        (429, "1e9", None),
        (429, "\x00", None),
        (429, "12\x0012", None),
    ],
)
def test_retry_after_is_read(status: int, value: str | None, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert parse_retry_after(status, value, NOW) == expected


numbers = st.one_of(st.integers().map(str), st.sampled_from(["", "9" * 5000, "-1", "\u0661"]))
dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.text(max_size=3),
    numbers,
    st.sampled_from(["Nov", "Foo", "11", ""]),
    *[numbers] * 4,
    st.one_of(st.sampled_from(["GMT", "-0000"]), numbers, st.text()),
)


@given(st.one_of(st.text(), numbers, dates))
def test_no_value_of_retry_after_is_an_error(value: str) -> None:
    found = parse_retry_after(429, value, NOW)
    assert found is None or timedelta() <= found <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("statuses", "succeeded", "failing_since"),
    [
        ([500, None], False, 0),
        ([500, 200], True, None),
        ([200, 500, 500], True, 1),
        ([500, 200, 500], True, 2),
        ([204], True, None),
    ],
)
def test_an_endpoint_fails_since_the_first_failure_after_the_last_success(
    statuses: list[int | None], succeeded: bool, failing_since: int | None
) -> None:
    results = [tried(status, second) for second, status in enumerate(statuses)]
    [found] = summarize_health(reversed(results))
    since = None if failing_since is None else results[failing_since].attempt.started_at
    assert found.succeeded == succeeded
    assert found.failing_since == (since and since + timedelta(milliseconds=10))


def test_each_endpoint_has_its_own_health() -> None:
    other = UUID(int=2)
    found = summarize_health(
        [tried(410), tried(200, 1, other), tried(500, 2), tried(503, 3, other)]
    )
    assert [(each.endpoint_id, each.gone, each.succeeded) for each in found] == [
        (ENDPOINT, True, False),
        (other, False, True),
    ]
    assert [each.detail for each in found] == ["It answered 500.", "It answered 503."]
