"""The checks of processes: whether a worker sweeps, every queue is served, and beat runs."""

from collections.abc import Sequence

from redis.exceptions import RedisError

from db.processes import SeenProcess
from schemas.values.process import ProcessRole
from worker.operations.checks import Check
from worker.runtime.producer import QUEUES
from worker.runtime.wake_ups import QUEUE

STALE_SECONDS = 10.0
"""Beat sweeps each second, and a batch takes less: after ten seconds something is wrong."""
START_WORKER = "Start a worker: celery -A worker.app worker"
START_BEAT = "Start beat: celery -A worker.app beat"

Processes = Sequence[SeenProcess] | None


def check_worker(sweep_age: float | RedisError | None, seen: Processes) -> Check:
    """Check that workers sweep; `sweep_age` is how long ago the last one was, if it is known.

    The sweep decides: a worker of an earlier version has no row.
    """
    name, who = "worker", describe_workers(seen)
    if isinstance(sweep_age, RedisError):
        detail = f"Unknown: Redis cannot be read. {who}"
        return Check(name=name, ok=False, detail=detail, remedy="See the check `redis`.")
    if sweep_age is None or sweep_age > STALE_SECONDS:
        last = "in the last minute" if sweep_age is None else f"for {sweep_age:.0f} s"
        detail = f"No worker has run a sweep {last}: is the worker or beat down? {who}"
        return Check(name=name, ok=False, detail=detail, remedy=_find_missing(seen))
    return Check(name=name, ok=True, detail=f"{who} Ran a sweep {sweep_age:.1f} s ago.")


def _find_missing(seen: Processes) -> str:
    """Return what to do about sweeps that do not run: start what does not run."""
    if seen is None:
        return f"See the check `database`: sweeps wait for it. Otherwise: {START_WORKER}"
    workers = _select(seen, ProcessRole.WORKER, alive=True)
    if not any(QUEUE in each.queues for each in workers):
        return f"{START_WORKER}. If one runs, see the checks `queues`, `beat` and `broker`."
    if not _select(seen, ProcessRole.BEAT, alive=True):
        return f"{START_BEAT}."
    return "Both run: see the checks `redis` and `broker`, then the workers' log."


def describe_workers(seen: Processes) -> str:
    """Return a sentence on the workers: how many, which queues, and the last batch."""
    if seen is None:
        return "Which workers run is not known."
    workers = _select(seen, ProcessRole.WORKER, alive=True)
    gone = len(_select(seen, ProcessRole.WORKER, alive=False))
    parts = [_count(len(workers), "worker")]
    if workers:
        parts[0] += f" ({_count(sum(each.processes for each in workers), 'process')})"
        queues = sorted({queue for each in workers for queue in each.queues})
        parts[0] += f" on queue{'s'[: len(queues) != 1]} {', '.join(queues)}"
    ages = [each.batch_seconds for each in workers if each.batch_seconds is not None]
    if ages:
        parts.append(f"last batch {min(ages):.1f} s ago")
    if gone:
        parts.append(f"{gone} gone without shutting down")
    return "; ".join(parts) + "."


def check_queues(seen: Processes) -> Check:
    """Check that a living worker serves every queue."""
    name = "queues"
    if seen is None:
        return _to_unknown(name)
    served = {
        queue for each in _select(seen, ProcessRole.WORKER, alive=True) for queue in each.queues
    }
    missing = [queue for queue in QUEUES if queue not in served]
    if not missing:
        return Check(name=name, ok=True, detail=f"Workers serve {' and '.join(QUEUES)}.")
    names = " and ".join(missing)
    detail = f"No worker serves the queue{'s'[: len(missing) != 1]} {names}."
    remedy = f"{START_WORKER} -Q {','.join(missing)} (without -Q a worker serves every queue)."
    return Check(name=name, ok=False, detail=detail, remedy=remedy)


def check_beat(seen: Processes) -> Check:
    """Check that a beat is alive: without it, what falls due later waits for another wake-up."""
    name = "beat"
    if seen is None:
        return _to_unknown(name)
    running = _select(seen, ProcessRole.BEAT, alive=True)
    if running:
        return Check(name=name, ok=True, detail=f"{len(running)} running.")
    ages = [each.seen_seconds for each in _select(seen, ProcessRole.BEAT, alive=False)]
    last = f" The last heartbeat was {min(ages):.0f} s ago." if ages else ""
    detail = f"Beat does not run: timed commands and retries are late.{last}"
    return Check(name=name, ok=False, detail=detail, remedy=f"{START_BEAT}.")


def _select(seen: Sequence[SeenProcess], role: ProcessRole, *, alive: bool) -> list[SeenProcess]:
    return [each for each in seen if each.role == role and each.is_alive == alive]


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def _to_unknown(name: str) -> Check:
    detail = "Unknown: the table publisher.process cannot be read."
    return Check(name=name, ok=False, detail=detail, remedy="See the check `database`.")
