"""Webhooks a second on one worker: fifty endpoints, of which five never answer.

`python -m bench.webhooks [--events N] [--runs N]`: the receiver is a process of its own on this
machine, the worker a real Celery worker with one process that serves the webhooks' queue alone.
It counts the requests to the endpoints that answer, from the first to the last.
"""

import argparse
import asyncio
import json
import logging
import statistics
import sys
import time
from collections.abc import Sequence

import structlog
from uuid_utils.compat import uuid7

from bench.ours import ORIGIN
from bench.processes import children, free_port, python, resident, wait_for
from bench.setup import Run, set_up
from db.session import transaction
from db.webhooks.fan_out import lock_last_position
from schemas.command import PublishRequest
from worker.enqueue.accept import enqueue
from worker.publish.run import run_due
from worker.runtime.wake_ups import Waker
from worker.webhooks.signing import new_secret

ENDPOINTS = 50
HANGING = 5
EVENTS = 200
ENDPOINT = """
INSERT INTO publisher.webhook_endpoint (id, workspace_id, url, secret, after_position)
VALUES (%s, %s, %s, %s, %s)
"""
DELIVERED = "SELECT count(*) FROM publisher.webhook_delivery WHERE state = 'delivered'"
"""Asked seldom: it is not what is measured."""


async def receive(port: int) -> None:
    """Answer each POST at once, but those under /hang never; note the first and the last moment."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]
                await reader.readexactly(int(length))
                if b"/hang" in head.split(b"\r\n", 1)[0]:
                    await asyncio.sleep(3600)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


def measure(run: Run, events: int) -> dict[str, float]:
    """Deliver every event to every endpoint that answers; return what was seen."""
    port = free_port()
    environment = run.environment | {"WEBHOOKS_ALLOW_PRIVATE": "true"}
    arguments = ["celery", "-A", "worker.app", "worker", "-c", "1", "-Q", "webhooks"]
    _register(run, port)
    _publish(run, events)
    expected = events * (ENDPOINTS - HANGING)
    with (
        python(["bench.webhooks", "--receive", str(port)], "receiver", environment, run.logs),
        python(arguments, "webhooks", environment, run.logs) as worker,
        python(["celery", "-A", "worker.app", "beat"], "beat", environment, run.logs),
    ):
        wait_for(lambda: _delivered(run) > 0, "the first delivery")
        began, first = time.monotonic(), _delivered(run)
        wait_for(lambda: _delivered(run) >= expected, "every delivery", 120)
        took = time.monotonic() - began
        [process] = children(worker)
        memory = resident(process)["rss"]
    return {"per_second": (expected - first) / took, "seconds": took, "rss_mib": memory}


def _register(run: Run, port: int) -> None:
    with transaction(run.engine) as tx:
        after = lock_last_position(tx)
        for nth in range(ENDPOINTS):
            path = f"hang/{nth}" if nth < HANGING else f"answer/{nth}"
            url = f"http://127.0.0.1:{port}/{path}"
            tx.execute(ENDPOINT, (uuid7(), 1, url, new_secret(), after))


def _publish(run: Run, events: int) -> None:
    waker = Waker(redis=run.redis, send=lambda _: None)
    requests = [PublishRequest(video_id=video_id) for video_id in run.video_ids[:events]]
    enqueue(run.engine, waker, requests, ORIGIN)
    run_due(
        run.engine,
        base_url="https://videos.example",
        wake=lambda: None,
        committed=lambda _: None,
    )


def _delivered(run: Run) -> int:
    time.sleep(0.1)
    with transaction(run.engine) as tx:
        row = tx.execute(DELIVERED).fetchone()
    return row[0] if row else 0


def main(arguments: Sequence[str]) -> None:
    """Measure several runs, and print the median as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.webhooks", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--receive", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.receive:
        asyncio.run(receive(asked.receive))
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with set_up(asked.events) as standing:
        results: list[dict[str, float]] = []
        for _ in range(asked.runs):
            with standing.run() as run:
                results.append(measure(run, asked.events))
                print(json.dumps(results[-1]), file=sys.stderr)
    median = {key: statistics.median(each[key] for each in results) for key in results[0]}
    print(
        json.dumps({"endpoints": ENDPOINTS, "hanging": HANGING, "events": asked.events, **median})
    )


if __name__ == "__main__":
    main(sys.argv[1:])
