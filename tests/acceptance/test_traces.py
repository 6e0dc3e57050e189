"""One trace from the caller to the subscriber and the webhook, by real processes, in a file."""

import os
import signal
from collections.abc import Generator
from functools import partial
from pathlib import Path

import httpx
import pytest

from schemas.values.caller import Scope
from tests.support.forked import Forked, run_uvicorn
from tests.support.free_port import free_port
from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries
from tests.support.receiver import Receiver, endpoint, receiver
from tests.support.traced_consumer import main as consume
from tests.support.traces import (
    CALLER,
    SAMPLED,
    TRACE_ID,
    UNSAMPLED,
    Collector,
    ExportedSpan,
    collector,
)
from tests.support.waiting import PATIENCE, wait_until
from worker.operations.api_keys import create_key

PUBLISH = "POST /api/v1/videos/{video_id}/publish"
NAMES = (
    PUBLISH,
    "enqueue commands",
    "publish command",
    "send video.events",
    "process video.events",
    "POST",
)


@pytest.fixture
def collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Collector]:
    monkeypatch.setenv("WEBHOOKS_ALLOW_PRIVATE", "true")
    with collector(tmp_path / "traces.jsonl") as started:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", started.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield started


@pytest.fixture
def receiving() -> Generator[Receiver]:
    with receiver() as started:
        yield started


@pytest.fixture
def api_url(
    collected: Collector,  # noqa: ARG001 - sets the environment
    pipeline: Pipeline,  # noqa: ARG001
    tmp_path: Path,
    database_url: str,
    redis_url: str,
) -> Generator[str]:
    port, log = free_port(), tmp_path / "api.log"
    urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LOG_FORMAT": "json"}
    arguments = ["uvicorn", "worker.api:app", f"--port={port}"]
    process = Forked(run_uvicorn, arguments, log=log, environment={**os.environ, **urls})
    wait_until(lambda: log.exists() and "Uvicorn running" in log.read_text(), "the API to listen")
    yield f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE)


@pytest.fixture
def consumer_log(collected: Collector, tmp_path: Path, redis_url: str) -> Generator[Path]:  # noqa: ARG001
    log = tmp_path / "consumer.log"
    environment = {**os.environ, "OTEL_SERVICE_NAME": "search"}
    program = ["consumer", redis_url, "search"]
    process = Forked(consume, program, log=log, environment=environment)
    yield log
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE)


def find_orphans(collected: Collector) -> list[ExportedSpan]:
    """The spans whose parent has not arrived: each process exports its own."""
    spans = collected.spans
    ids = {span.id for span in spans} | {CALLER, ""}
    return [span for span in spans if span.parent not in ids]


def find_batches(collected: Collector, command: ExportedSpan) -> list[ExportedSpan]:
    return [each for each in collected.named("publish batch") if command.id in each.links]


def test_one_trace_leads_from_the_caller_to_the_subscriber_and_the_webhook(
    api_url: str,
    consumer_log: Path,
    collected: Collector,
    receiving: Receiver,
    pipeline: Pipeline,
    celery: Celeries,
) -> None:
    endpoint(pipeline, receiving.url("/secret-path"))
    celery.beat()
    worker = celery.worker(concurrency=2)
    key = create_key(pipeline.engine, name="any", scope=Scope.PUBLISH, workspace_id=1)
    quiet, video = pipeline.video(), pipeline.video()
    for each, traceparent in ((quiet, UNSAMPLED), (video, SAMPLED)):
        headers = {"Authorization": f"Bearer {key}", "traceparent": traceparent}
        path = f"{api_url}/api/v1/videos/{each}/publish/"
        answer = httpx.post(path, headers=headers, timeout=PATIENCE)
        assert answer.status_code == 202
    command_id = answer.json()["id"]

    wait_until(lambda: len(receiving.received) >= 2, "both webhooks")
    for name in NAMES:
        wait_until(partial(collected.named, name), f"a span {name}")
    wait_until(lambda: not find_orphans(collected), "the spans that these are parts of")
    [request] = collected.named(PUBLISH)
    [accepted] = collected.named("enqueue commands")
    [command] = collected.named("publish command")
    sent, *again = collected.named("send video.events")  # two relays at once may both send it
    [processed] = collected.named("process video.events")
    [attempt] = collected.named("POST")
    steps = [request, accepted, command, sent, processed, attempt]
    assert {step.trace_id for step in steps} == {TRACE_ID}
    assert all((each.trace_id, each.parent) == (TRACE_ID, command.id) for each in again)
    assert [step.parent for step in steps] == [
        CALLER,
        request.id,
        accepted.id,
        command.id,
        command.id,
        command.id,
    ]
    assert [(step.service, step.kind) for step in steps] == [
        ("publish-worker-api", "server"),
        ("publish-worker-api", "producer"),
        ("publish-worker-worker", "consumer"),
        ("publish-worker-worker", "producer"),
        ("search", "consumer"),
        ("publish-worker-worker", "client"),
    ]
    [batch] = wait_until(lambda: find_batches(collected, command), "the batch's span")
    assert (command.links, batch.parent) == ({batch.id}, "")
    assert batch.trace_id != TRACE_ID
    assert batch.start <= command.start <= command.end <= sent.start
    assert command.attributes["publish_worker.command.id"] == command_id
    assert command.attributes["publish_worker.video.id"] == str(video)
    assert command.attributes["publish_worker.outcome"] == "published"

    [hook] = [each for each in receiving.received if each.event["subject"] == str(video)]
    assert hook.headers["traceparent"] == f"00-{TRACE_ID}-{attempt.id}-01"
    assert hook.event["traceparent"] == f"00-{TRACE_ID}-{command.id}-01"
    [unsampled] = [each for each in receiving.received if each.event["subject"] == str(quiet)]
    assert unsampled.event["traceparent"] == UNSAMPLED
    assert f"{hook.event['id']} {TRACE_ID}" in consumer_log.read_text()

    exported = collected.file.read_text()
    assert "secret-path" not in exported
    assert key not in exported
    assert f'"trace_id": "{batch.trace_id}"' in worker.log.read_text()
    assert f'"trace_id": "{TRACE_ID}"' in (worker.log.parent / "api.log").read_text()
    assert worker.stop() == 0
    worker.assert_no_traceback()
