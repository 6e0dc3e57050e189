"""Throughput: from the first enqueue to the last event on the stream, engines included."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench import ours
from bench.peers import textbook
from bench.processes import python, wait_for
from bench.setup import Run, Setup
from db.session import transaction

WARM_UP = 100
"""Videos published before the clock starts, by both: connections, imports, plans."""
GOAL = 15.0

CHECK = """
SELECT (SELECT count(*) FROM video WHERE NOT is_draft AND id = ANY(%(ids)s)),
       (SELECT count(*) FROM publisher.video_release WHERE video_id = ANY(%(ids)s)),
       (SELECT count(DISTINCT video_id) FROM textbook_outbox)
"""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Publishes a second, run by run, and the peer's beside them."""

    commands: int
    peer_commands: int
    ours: list[float]
    peer: list[float]

    @property
    def ratio(self) -> float:
        """Our median over the peer's."""
        return median(self.ours) / median(self.peer)

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.ratio >= GOAL


def measure(setup: Setup, *, runs: int, commands: int, peer_commands: int) -> Throughput:
    """Alternate between both, so that other work on the machine affects both."""
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(runs):
        with setup.run() as run:
            mine.append(_ours(run, run.video_ids[: WARM_UP + commands]))
        with setup.run() as run:
            theirs.append(_textbook(run, run.video_ids[: WARM_UP + peer_commands]))
    return Throughput(commands=commands, peer_commands=peer_commands, ours=mine, peer=theirs)


def _ours(run: Run, video_ids: Sequence[int]) -> float:
    waking = ours.make_waker(run)
    with ours.worker(run):
        ours.enqueue_all(run.engine, waking, video_ids[:WARM_UP])
        ours.wait_for_position(run, WARM_UP)
        started = time.perf_counter()
        ours.enqueue_all(run.engine, waking, video_ids[WARM_UP:])
        ours.wait_for_position(run, len(video_ids))
        seconds = time.perf_counter() - started
    ours.check(run, video_ids)
    return (len(video_ids) - WARM_UP) / seconds


def _textbook(run: Run, video_ids: Sequence[int]) -> float:
    with transaction(run.engine) as tx:
        tx.execute(textbook.OUTBOX)
    # Two processes, and none of the chatter between workers, which ours goes without too.
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = ["celery", "-A", "bench.peers.textbook", "worker", "-c", "2", "-O", "fair", *quiet]
    broker_url = run.environment["BROKER_URL"]
    with python(command, "textbook", run.environment, run.logs):
        textbook.send_all(broker_url, video_ids[:WARM_UP])
        wait_for(lambda: run.redis.xlen(textbook.STREAM) >= WARM_UP, "the peer's warm-up")
        started = time.perf_counter()
        textbook.send_all(broker_url, video_ids[WARM_UP:])
        wanted = len(video_ids)
        wait_for(lambda: run.redis.xlen(textbook.STREAM) >= wanted, f"{wanted} events", 300)
        seconds = time.perf_counter() - started
    _check_textbook(run, video_ids)
    return (len(video_ids) - WARM_UP) / seconds


def _check_textbook(run: Run, video_ids: Sequence[int]) -> None:
    with transaction(run.engine) as tx:
        counts = tx.execute(CHECK, {"ids": list(video_ids)}).fetchone()
    if counts != (len(video_ids),) * 3:
        raise ours.Incorrect(f"the peer: expected {len(video_ids)} of each, found {counts}")
