"""Wake-ups that a thread sends: coalesced, never an error, and a last one at the end."""

import threading
from dataclasses import replace

from structlog.testing import capture_logs

from tests.support.pipeline import Pipeline
from tests.support.waiting import PATIENCE, wait_until
from worker.runtime.background_waker import BackgroundWaker
from worker.runtime.wake_ups import PUBLISH, WakeUp


def test_wake_ups_during_one_become_one(pipeline: Pipeline) -> None:
    sent: list[str] = []
    is_sending, may_end = threading.Event(), threading.Event()

    def send(wake_up: WakeUp) -> None:
        sent.append(wake_up.task)
        pipeline.redis.delete(str(PUBLISH.key))  # as the worker does
        is_sending.set()
        may_end.wait(PATIENCE)

    waker = BackgroundWaker(replace(pipeline.waker, send=send))
    waker.wake()
    is_sending.wait(PATIENCE)
    for _ in range(100):
        waker.wake()
    may_end.set()
    waker.close()
    assert sent == [PUBLISH.task] * 2


def test_the_last_wake_up_is_sent_before_the_end(pipeline: Pipeline) -> None:
    for count in range(1, 6):
        pipeline.redis.flushall()
        waker = BackgroundWaker(pipeline.waker)
        waker.wake()
        waker.close()
        assert len(pipeline.wake_ups) == count


def test_a_bug_in_a_wake_up_is_logged_and_the_next_one_is_sent(pipeline: Pipeline) -> None:
    errors = [RuntimeError("a bug")]

    def send(_: WakeUp) -> None:
        pipeline.redis.flushall()
        if errors:
            raise errors.pop()
        pipeline.wake_ups.append(1)

    with capture_logs() as lines:
        waker = BackgroundWaker(replace(pipeline.waker, send=send))
        waker.wake()
        wait_until(lambda: lines, "the error")
        waker.wake()
        waker.close()
    assert [line["event"] for line in lines] == ["wake_up.failed"]
    assert pipeline.wake_ups == [1]
