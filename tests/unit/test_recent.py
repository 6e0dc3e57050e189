"""A value that pages share: it is read again, and a page waits only when it is too old."""

from collections.abc import Iterator
from itertools import count
from threading import Event

import pytest

from tests.support.waiting import wait_until
from worker.api.console import recent as recently
from worker.api.console.recent import Recent


def test_a_fresh_value_is_not_read_again() -> None:
    numbers = count()
    recent = Recent(lambda: next(numbers), 60)
    assert [recent.get(), recent.get()] == [0, 0]


def test_no_caller_waits_while_a_value_is_read_again() -> None:
    numbers, allowed = count(), Event()

    def read() -> int:
        number = next(numbers)
        assert number == 0 or allowed.wait(10)
        return number

    recent = Recent(read, 0)
    assert [recent.get(), recent.get(), recent.get()] == [0, 0, 0]
    allowed.set()
    wait_until(lambda: recent.get() > 0, "the new value")


def test_a_value_that_is_too_old_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recently, "OLDEST_SECONDS", 0)
    numbers = count()
    recent = Recent(lambda: next(numbers), 0)
    assert [recent.get(), recent.get()] == [0, 1]


def test_a_failure_to_read_is_raised_and_read_again() -> None:
    results: Iterator[str] = iter(["read"])

    def read() -> str:
        if not failed:
            failed.append(True)
            raise ConnectionError
        return next(results)

    failed: list[bool] = []
    recent = Recent(read, 60)
    with pytest.raises(ConnectionError):
        recent.get()
    assert recent.get() == "read"


def test_a_value_that_cannot_be_read_again_is_not_shown_for_long() -> None:
    def read() -> str:
        if read_before:
            raise ConnectionError
        read_before.append(True)
        return "read"

    read_before: list[bool] = []
    recent = Recent(read, 0)
    assert [recent.get(), recent.get()] == ["read", "read"]
    with pytest.raises(ConnectionError):
        wait_until(lambda: recent.get() != "read", "the error")
