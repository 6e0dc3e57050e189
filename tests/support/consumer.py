"""A consumer as a program of its own: each event's effect is a row, in its own table.

Arguments: Redis, database, group, kind (`alone`, `0of2`, `async` …), positions at which it is
killed between the effect and the acknowledgement (each once: a file of that name asks for it).
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psycopg

from worker.subscribe import AsyncSubscriber, Event, Subscriber, once, once_async

EFFECT = "INSERT INTO effect (group_name, position, subject) VALUES (%s, %s, %s)"
LEASE_SECONDS = 1.5


def die_if_asked(folder: Path, group: str, position: int) -> None:
    """SIGKILL this process, the first time that the position comes."""
    order = folder / f"{group}-{position}"
    if order.exists():
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def effect(group: str, event: Event) -> tuple[str, int, str | None]:
    return group, event.position, event.subject


def in_threads(options: dict[str, Any], group: str, own: str, folder: Path) -> None:
    subscriber = Subscriber(**options)

    def stop(_number: int, _frame: object) -> None:
        subscriber.stop()

    signal.signal(signal.SIGTERM, stop)
    with psycopg.connect(own, autocommit=True) as connection, subscriber:
        for delivery in subscriber:
            with once(connection, group, delivery.event) as is_new:
                if is_new:
                    connection.execute(EFFECT, effect(group, delivery.event))
            die_if_asked(folder, group, delivery.position)
            delivery.ack()


async def on_asyncio(options: dict[str, Any], group: str, own: str, folder: Path) -> None:
    subscriber = AsyncSubscriber(**options)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, subscriber.stop)
    connection = await psycopg.AsyncConnection.connect(own, autocommit=True)
    async with connection, subscriber:
        async for delivery in subscriber:
            async with once_async(connection, group, delivery.event) as is_new:
                if is_new:
                    await connection.execute(EFFECT, effect(group, delivery.event))
            die_if_asked(folder, group, delivery.position)
            await delivery.ack()


def main() -> None:
    redis_url, database_url, own, group, kind, folder = sys.argv[1:]
    options: dict[str, Any] = {
        "redis_url": redis_url,
        "database_url": database_url,
        "group": group,
        "lease_seconds": LEASE_SECONDS,
        "max_tries": 50,  # it is killed often, and that counts
    }
    if "of" in kind:
        index, _, count = kind.partition("of")
        options["partition"] = int(index), int(count)
    if kind == "async":
        asyncio.run(on_asyncio(options, group, own, Path(folder)))
    else:
        in_threads(options, group, own, Path(folder))


if __name__ == "__main__":
    main()
