"""A value that pages share: one thread reads it while they look."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event, Thread

import pytest

from tests.support.waiting import PATIENCE, wait_until
from worker.api.console import recent as recently
from worker.api.console.recent import Recent, Recents


@pytest.fixture
def recents() -> Iterator[Recents]:
    """The values of one process."""
    opened = Recents()
    yield opened
    opened.close()


def numbers() -> Callable[[], int]:
    """Count from 0."""
    counted = count()
    return lambda: next(counted)


def test_all_who_look_see_what_was_read_once(recents: Recents) -> None:
    read = numbers()
    assert [recents.find("n", read, 60).look() for _ in range(3)] == [0, 0, 0]


def test_those_who_look_at_once_wait_for_one_read(recents: Recents) -> None:
    allowed, read = Event(), numbers()
    recent = recents.find("n", lambda: allowed.wait(PATIENCE) and read(), 60)
    with ThreadPoolExecutor(3) as threads:
        looks = [threads.submit(recent.look) for _ in range(3)]
        allowed.set()
        assert [each.result() for each in looks] == [0, 0, 0]


def test_no_look_waits_while_a_value_is_read_again(recents: Recents) -> None:
    read, allowed = numbers(), Event()

    def read_slowly() -> int:
        number = read()
        assert number == 0 or allowed.wait(PATIENCE)
        return number

    recent = recents.find("n", read_slowly, 0)
    assert [recent.look(), recent.look(), recent.look()] == [0, 0, 0]
    allowed.set()
    wait_until(lambda: recent.look() > 0, "the new value")


def test_a_value_that_is_not_looked_at_is_forgotten(
    recents: Recents, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent = recents.find("n", numbers(), 0)
    assert recent.look() == 0
    monkeypatch.setattr(recently, "FOLLOWED_SECONDS", 0)
    wait_until(lambda: not recent.is_followed, "the end")
    recents.find("another", numbers(), 0)
    assert recents.find("n", numbers(), 0) is not recent


def test_a_failure_to_read_is_raised_and_read_again(recents: Recents) -> None:
    read = numbers()

    def fail_first() -> int:
        if read() == 0:
            raise ConnectionError
        return 1

    recent: Recent[int] = recents.find("n", fail_first, 60)
    with pytest.raises(ConnectionError):
        recent.look()
    assert recent.look() == 1


def test_a_value_that_cannot_be_read_again_is_not_shown_for_long(recents: Recents) -> None:
    read = numbers()

    def fail_later() -> str:
        if read() > 0:
            raise ConnectionError
        return "read"

    recent = recents.find("n", fail_later, 0)
    assert recent.look() == "read"
    with pytest.raises(ConnectionError):
        wait_until(lambda: recent.look() != "read", "the error")


def test_the_end_of_the_application_ends_the_reading() -> None:
    recents = Recents()
    recent = recents.find("n", numbers(), 60)
    assert recent.look() == 0
    recents.close()
    assert not recent.is_followed


def test_a_thread_that_cannot_be_started_is_an_error_once(
    recents: Recents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    recent = recents.find("n", numbers(), 60)
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            recent.look()
    assert recent.look() == 0


def test_a_read_that_takes_long_is_followed_by_a_longer_pause_but_not_by_a_long_one() -> None:
    recent = Recent(numbers(), 2, Event())
    assert [recent._to_pause(took) for took in (0.01, 0.3, 9.0)] == [2, 3, 5]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
