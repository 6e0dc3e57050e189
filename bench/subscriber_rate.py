"""How fast a Python subscriber with an empty handler is, beside a bare XREADGROUP loop; how soon a
waiting one has an event; and how fast the relay is alone.

    python -m bench.subscriber_rate [--events 100000] [--runs 5]

Exits with 1 when a goal is missed.
"""

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable
from queue import Queue
from statistics import median
from typing import Any

from rich.console import Console
from sqlalchemy import Engine

from bench.report import Row, show
from bench.setup import Run, set_up
from db.session import transaction
from worker.events import redis_stream
from worker.runtime import logs
from worker.runtime.settings import LogFormat
from worker.subscribe import Subscriber

BASE_URL = "https://videos.example.com"
BATCH = 500
RATIO_GOAL = 0.5
RELAY_GOAL = 20_000
LATENCY_GOAL_MS = 10.0

# Events as publish records them, copied from one that it did record.
RECORD = """
WITH counter AS (
    UPDATE publisher.event_position SET position = position + %(count)s RETURNING position
), one AS (
    SELECT * FROM publisher.outbox_event WHERE type = 'video.published' LIMIT 1
)
INSERT INTO publisher.outbox_event
    (position, id, type, video_id, subject, workspace_id, occurred_at, revision, command_id,
     correlation_id, traceparent, data)
SELECT counter.position - %(count)s + nth, gen_random_uuid(), one.type, 1 + nth %% 5000,
       (1 + nth %% 5000)::text, one.workspace_id, now(), one.revision, one.command_id,
       one.correlation_id, one.traceparent, one.data
FROM counter, one, generate_series(1, %(count)s) AS nth
"""


def main() -> int:
    """Measure, show; 0 when every goal is met."""
    asked = _arguments()
    logs.configure(LogFormat.JSON, "ERROR")
    with set_up(videos=10) as ready, ready.run() as run:
        _publish_one(run)
        rows = [_relay(run, asked.events, asked.runs)]
        rows += _subscriber(run, asked.events, asked.runs)
        rows.append(_latency(run, 200))
    show(Console(), rows)
    return int(not all(row.met for row in rows))


def _publish_one(run: Run) -> None:
    from bench import ours  # noqa: PLC0415 - its Celery app reads settings that the set-up has made

    with ours.worker(run):
        ours.enqueue_all(run.engine, ours.make_waker(run), run.video_ids[:1])
        ours.wait_for_position(run, 1)


def record(engine: Engine, count: int) -> None:
    """Put events into the outbox."""
    with transaction(engine) as tx:
        tx.execute(RECORD, {"count": count})


def _relay(run: Run, events: int, runs: int) -> Row:
    rates: list[float] = []
    for _ in range(runs):
        record(run.engine, events)
        rates.append(_rate(lambda: redis_stream.relay(run.engine, run.redis, BASE_URL)))
        if len(rates) < runs:
            run.redis.xtrim(redis_stream.STREAM, maxlen=1, approximate=False)
    return _row("relay alone, events a second", rates, RELAY_GOAL)


def _subscriber(run: Run, events: int, runs: int) -> list[Row]:
    """Both in turn, so that what else the machine does meets both."""
    first = redis_stream.read_stream_end(run.redis).position - events
    bare: list[float] = []
    ours: list[float] = []
    for number in range(runs):
        bare.append(_rate(lambda at=number: _bare_loop(run, f"bare{at}", first, events)))
        ours.append(_rate(lambda at=number: _subscribe(run, f"ours{at}", first, events)))
    ratio = median(ours) / median(bare)
    return [
        _row("bare XREADGROUP loop, events a second", bare, None),
        _row("subscriber with an empty handler, events a second", ours, None),
        Row(
            what="ratio",
            value=f"{ratio:.2f}",
            spread="",
            goal=f"≥ {RATIO_GOAL}",
            met=ratio >= RATIO_GOAL,
        ),
    ]


def _bare_loop(run: Run, group: str, after: int, events: int) -> int:
    """XREADGROUP and XACK of batches, without a look at what comes."""
    run.redis.xgroup_create(redis_stream.STREAM, group, f"{after}-0")
    done = 0
    while done < events:
        answer: Any = run.redis.xreadgroup(group, "one", {redis_stream.STREAM: ">"}, count=BATCH)
        [(_, entries)] = answer.items() if hasattr(answer, "items") else answer
        entries = entries[0] if entries and isinstance(entries[0], list) else entries
        for _ in entries:
            done += 1
        run.redis.xack(redis_stream.STREAM, group, *(entry_id for entry_id, _ in entries))
    return done


def _subscribe(run: Run, group: str, after: int, events: int) -> int:
    done = 0
    url = run.environment["REDIS_URL"]
    with Subscriber(url, group=group, start_after=after) as subscriber:
        for delivery in subscriber:
            delivery.ack()
            done += 1
            if done == events:
                subscriber.stop()
    return done


def _latency(run: Run, count: int) -> Row:
    """From the commit of an event, and its relay, to a subscriber that waits."""
    arrivals: Queue[tuple[int, float]] = Queue()
    position = redis_stream.read_stream_end(run.redis).position
    subscriber = Subscriber(run.environment["REDIS_URL"], group="waits", start_after=position)

    def listen() -> None:
        with subscriber:
            for delivery in subscriber:
                assert delivery.event.data
                arrivals.put((delivery.position, time.perf_counter()))
                delivery.ack()

    thread = threading.Thread(target=listen)
    thread.start()
    times: list[float] = []
    for number in range(1, count + 1):
        time.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - a pause is not a secret
        record(run.engine, 1)
        committed = time.perf_counter()
        redis_stream.relay(run.engine, run.redis, BASE_URL)
        arrived, at = arrivals.get(timeout=30)
        assert arrived == position + number
        times.append(1_000 * (at - committed))
    subscriber.stop()
    thread.join()
    return Row(
        what="from commit to a waiting subscriber",
        value=f"{median(times):.1f} ms",
        spread=f"p95 {sorted(times)[int(0.95 * count)]:.1f} ms",
        goal=f"≤ {LATENCY_GOAL_MS:.0f} ms",
        met=median(times) <= LATENCY_GOAL_MS,
    )


def _rate(action: Callable[[], int]) -> float:
    started = time.perf_counter()
    done = action()
    return done / (time.perf_counter() - started)


def _row(what: str, rates: list[float], goal: float | None) -> Row:
    return Row(
        what=what,
        value=f"{median(rates):,.0f} /s",
        spread=f"{min(rates):,.0f} to {max(rates):,.0f} in {len(rates)} runs",
        goal=f"≥ {goal:,.0f}" if goal else "",
        met=goal is None or median(rates) >= goal,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.subscriber_rate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
