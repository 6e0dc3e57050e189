"""A deployment with metrics: the API, a worker and beat, as docker-compose.yml runs them."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from schemas.values.caller import Scope
from tests.support.forked import Forked, run_uvicorn
from tests.support.free_port import free_port
from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries, Celery
from tests.support.waiting import PATIENCE, WAIT, wait_until
from worker.operations.api_keys import create_key

API, WORKER, BEAT = JOBS = (
    "publish-worker-api",
    "publish-worker-worker",
    "publish-worker-beat",
)


@dataclass
class Deployment:
    """An API, a worker with two processes and beat."""

    api: httpx.Client
    api_process: Forked
    worker: Celery
    workers: Celeries
    ports: dict[str, int]
    pipeline: Pipeline

    def metrics(self, job: str) -> str:
        """What a process serves."""
        return httpx.get(f"http://127.0.0.1:{self.ports[job]}/metrics", timeout=PATIENCE).text

    def publish(self, videos: int) -> None:
        """Publish this number of videos over HTTP, and wait for the last one."""
        for _ in range(videos):
            path = f"/api/v1/videos/{self.pipeline.video()}/publish/"
            assert self.api.post(path, headers=WAIT).status_code == 200


@contextmanager
def deployed(folder: Path, pipeline: Pipeline, **urls: str) -> Generator[Deployment]:
    """Run the three of them on free ports while the block runs."""
    ports = {job: free_port() for job in JOBS}
    key = create_key(pipeline.engine, name="any", scope=Scope.PUBLISH, workspace_id=1)
    workers, beat = (
        Celeries(folder, **urls, METRICS_LISTEN=f"127.0.0.1:{ports[job]}") for job in JOBS[1:]
    )
    try:
        with serve(folder / "api.log", ports[API], urls) as process:
            started = workers.worker(concurrency=2)
            beat.start("beat")
            address = f"http://127.0.0.1:{ports[API]}"
            headers = {"Authorization": f"Bearer {key}"}
            with httpx.Client(base_url=address, headers=headers, timeout=2 * PATIENCE) as client:
                yield Deployment(client, process, started, workers, ports, pipeline)
    finally:
        workers.end()
        beat.end()


@contextmanager
def serve(log: Path, port: int, urls: dict[str, str]) -> Generator[Forked]:
    """Run the API while the block runs."""
    process = Forked(
        run_uvicorn,
        ["uvicorn", "worker.api:app", f"--port={port}"],
        log=log,
        environment={**os.environ, **urls},
    )
    try:
        wait_until(lambda: log.exists() and "running" in log.read_text(), "the API to listen")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
