"""The runtime: what a process works with, built by the process that needs it."""

from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from celery import Celery
from redis import Redis
from sqlalchemy import Engine

from worker.runtime.database import open_engine
from worker.runtime.producer import make_producer, send_wake_up
from worker.runtime.redis_clients import Silence, open_hint_redis, open_redis
from worker.runtime.settings import Settings
from worker.runtime.wake_ups import Waker


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Settings, and the engine and clients made from them; a context manager that closes them.

    Opening connects to nothing, and changes nothing else in the process.
    """

    settings: Settings
    engine: Engine
    redis: Redis
    """For work; hints go through `waker.redis`."""
    waker: Waker

    @classmethod
    def open(
        cls,
        settings: Settings | None = None,
        producer: Celery | None = None,
        **options: Any,
    ) -> Self:
        """Make a runtime from `settings` (default: the environment's).

        `producer` sends the wake-ups; by default a Celery app of its own. `options` are those of
        `open_engine`.
        Raises SettingsError if DATABASE_URL or REDIS_URL is not set.
        """
        settings = settings or Settings()
        silence = Silence(settings.redis())
        return cls(
            settings=settings,
            engine=open_engine(settings, **options),
            redis=open_redis(settings.redis(), silence),
            waker=Waker(
                redis=open_hint_redis(settings.redis(), silence),
                send=partial(send_wake_up, producer or make_producer(settings)),
                is_broker=settings.broker() == settings.redis(),
            ),
        )

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        self.redis.close()
        self.waker.redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
