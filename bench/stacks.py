"""The two complete systems that serve HTTP: ours, and FastAPI with textbook Celery.

Both have one API process under uvicorn, a worker with two processes, the same engines, and a stream
of events. A stack says where to send requests and whose CPU time to count.
"""

import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import httpx

from bench import ours
from bench.costs import Tree, engine_trees
from bench.http_load import Answered, Job, send
from bench.peers import fastapi_delay, work
from bench.processes import free_port, python, wait_for
from bench.setup import WORKSPACE, Run, Setup
from db.session import transaction
from publish_worker_client.events.stream_entries import STREAM
from schemas.values.caller import Scope
from worker.operations.api_keys import create_key
from worker.operations.health import HEARTBEAT


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A running system."""

    name: str
    port: int
    key: str
    path: str
    """The path of one publish; `{}` is the video's id."""
    stream: str
    """Where its events appear."""
    trees: list[Tree]
    run: Run

    def publish(self, video_id: int) -> tuple[str, str]:
        """Return the request that publishes one video as it is."""
        return self.path.format(video_id), "{}"

    def send(
        self,
        requests: Sequence[tuple[str, str]],
        connections: int,
        offsets: list[float] | None = None,
    ) -> Answered:
        """Send requests: as fast as they are answered, or at these times (seconds).

        Raises Incorrect unless each is answered with 202.
        """
        job = Job(
            port=self.port,
            key=self.key,
            connections=connections,
            requests=list(requests),
            offsets=offsets,
        )
        answered = send(job)
        if refused := [status for status in answered.statuses if status != 202]:
            raise ours.Incorrect(f"{len(refused)} requests were answered with {set(refused)}")
        return answered


StartStack = Callable[[Setup, Run], AbstractContextManager[Stack]]


@contextmanager
def our_stack(setup: Setup, run: Run) -> Generator[Stack]:
    """Start API, worker and beat as in production."""
    key = create_key(run.engine, name="bench", scope=Scope.PUBLISH, workspace_id=WORKSPACE)
    celery = ["celery", "-A", "worker.app"]
    with ExitStack() as stack:
        worker = stack.enter_context(
            python([*celery, "worker", "-c", "2"], "worker", run.environment, run.logs)
        )
        beat = stack.enter_context(python([*celery, "beat"], "beat", run.environment, run.logs))
        api, port = stack.enter_context(ours.api(run))
        wait_for(lambda: run.redis.exists(HEARTBEAT) == 1, "the worker's heartbeat")
        yield Stack(
            name="publish-worker",
            port=port,
            key=key,
            path="/api/v1/videos/{}/publish/",
            stream=STREAM,
            trees=_trees(setup, API=api, worker=worker, beat=beat),
            run=run,
        )


@contextmanager
def textbook_stack(
    setup: Setup, run: Run, path: str = fastapi_delay.ROUTES["async def"]
) -> Generator[Stack]:
    """Start FastAPI, whose route calls `delay()`, and the textbook worker."""
    with transaction(run.engine) as tx:
        tx.execute(work.OUTBOX)
    key, port = secrets.token_urlsafe(32), free_port()
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = ["celery", "-A", "bench.peers.textbook", "worker", "-c", "2", "-O", "fair", *quiet]
    serve = ["uvicorn", "bench.peers.fastapi_delay:app", "--port", str(port), "--ws", "none"]
    environment = run.environment | {"BENCH_API_KEY": key}
    with ExitStack() as stack:
        worker = stack.enter_context(python(command, "textbook", environment, run.logs))
        api = stack.enter_context(
            python([*serve, "--log-level", "warning"], "fastapi", environment, run.logs)
        )
        wait_for(lambda: _is_healthy(port), "FastAPI")
        yield Stack(
            name="FastAPI + delay()",
            port=port,
            key=key,
            path=path,
            stream=work.STREAM,
            trees=_trees(setup, API=api, worker=worker),
            run=run,
        )


def _trees(setup: Setup, **pids: int) -> list[Tree]:
    own = [Tree(kind=kind, pid=pid) for kind, pid in pids.items()]
    return own + engine_trees(setup.home / "data")


def wait_for_events(stack: Stack, count: int, seconds: float = 300) -> None:
    """Wait until the stream has this number of events."""
    wait_for(lambda: stack.run.redis.xlen(stack.stream) >= count, f"{count} events", seconds)


def _is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
    except httpx.TransportError:
        return False
