"""A subscriber in a thread, whose handler fails for as long as a test wants."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from worker.subscribe import Event, Subscriber


@dataclass
class FailingConsumer:
    """What it was given, and whether it handles that."""

    is_broken: bool = True
    error: str = "the index <b>does not</b> answer"
    tried: list[int] = field(default_factory=list[int])
    handled: list[int] = field(default_factory=list[int])
    """Positions."""

    def handle(self, event: Event) -> None:
        """Fail, or note the event."""
        self.tried.append(event.position)
        if self.is_broken:
            raise ValueError(self.error)
        self.handled.append(event.position)


@contextmanager
def failing_consumer(redis_url: str, group: str) -> Generator[FailingConsumer]:
    """A consumer of a group, which gives up each event after its first try."""
    consumer = FailingConsumer()
    with Subscriber(redis_url, group=group, max_tries=1) as subscriber:
        thread = threading.Thread(target=subscriber.run, args=(consumer.handle,))
        thread.start()
        try:
            yield consumer
        finally:
            subscriber.stop()
            thread.join()
