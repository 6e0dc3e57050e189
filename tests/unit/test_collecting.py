"""Collecting: which messages of `publish.enqueue` share a batch, and how many are delivered."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from worker.app.collecting import MOST_BYTES, MOST_MESSAGES, Collector, Held, count_processes
from worker.app.pool import TaskPool


def message(size: int = 100) -> Held:
    return Held(id="i", body=b"x" * size, message=None, reject=list)


@dataclass
class Worker:
    """A pool, and the prefetch window beyond its own width."""

    processes: int = 1
    batches: list[list[Held]] = field(default_factory=list[list[Held]])
    window: int = 0

    def collector(self) -> Collector:
        return Collector(lambda: self.processes, self.batches.append, self.widen)

    def widen(self, by: int) -> None:
        self.window += by

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def test_a_message_that_finds_a_free_process_goes_at_once() -> None:
    worker = Worker(processes=2)
    collector = worker.collector()
    collector.add(message())
    collector.add(message())
    assert worker.sizes == [1, 1]


def test_messages_that_arrive_while_every_process_has_a_batch_form_the_next_one() -> None:
    worker = Worker()
    collector = worker.collector()
    first, *others = [message() for _ in range(8)]
    collector.add(first)
    for each in others:
        collector.add(each)
    assert worker.batches == [[first]]
    collector.end(worker.batches[0])
    assert worker.batches == [[first], others]
    collector.end(others)
    collector.add(first)
    assert worker.sizes == [1, 7, 1]


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([1] * (MOST_MESSAGES + 1), [MOST_MESSAGES, 1]),
        ([MOST_BYTES // 2] * 3, [2, 1]),
        ([4 * MOST_BYTES, 1, 1], [1, 2]),
        ([1, 4 * MOST_BYTES, 1], [1, 1, 1]),
    ],
)
def test_a_batch_has_a_number_of_messages_and_of_bytes(
    sizes: list[int], batches: list[int]
) -> None:
    worker = Worker()
    collector = worker.collector()
    for size in [1, *sizes]:
        collector.add(message(size))
    end_all(collector, worker)
    assert worker.sizes == [1, *batches]


def end_all(collector: Collector, worker: Worker) -> None:
    for batch in worker.batches:  # it grows meanwhile
        collector.end(batch)


@pytest.mark.parametrize(
    ("add", "most"),
    [(message, MOST_MESSAGES), (lambda: message(MOST_BYTES // 2), 2)],
)
def test_the_prefetch_window_grows_with_the_next_batch_and_shrinks_as_batches_end(
    add: Callable[[], Held], most: int
) -> None:
    worker = Worker()
    collector = worker.collector()
    for _ in range(1 + most):
        collector.add(add())
    assert worker.window == 1 + most
    collector.add(add())  # the worker's own width is for this one
    assert worker.window == 1 + most
    end_all(collector, worker)
    assert worker.window == 0


def test_no_batch_is_sent_for_a_lost_connection() -> None:
    worker = Worker()
    collector = worker.collector()
    collector.add(message())
    collector.add(message())
    worker.processes = 0
    collector.end(worker.batches[0])
    assert worker.sizes == [1]


def test_a_pool_that_is_ending_gets_no_batch() -> None:
    """Celery itself cannot count its processes then: the message would be quarantined."""
    assert count_processes(TaskPool(1)) == 0
