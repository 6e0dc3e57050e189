"""Each alert fires in its condition, seen by a real Prometheus that scrapes a real deployment."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from publish_worker_client.events.stream_entries import STREAM
from tests.support.deployment import Deployment, deployed
from tests.support.pipeline import Pipeline
from tests.support.processes import broker_only
from tests.support.prometheus import alert_names, needs_prometheus, prometheus
from tests.support.receiver import endpoint, receiver, says
from tests.support.valkey import Valkey
from tests.support.waiting import PATIENCE, wait_until
from worker.events.foreign_entries import RELAYED

FIRE_SECONDS = 60.0 + PATIENCE
"""For an alert. The canary's comes after a minute."""
pytestmark = [pytest.mark.slow, needs_prometheus]


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    """A Valkey that may be stopped."""
    return valkey.url


@pytest.fixture
def deployment(
    tmp_path: Path, pipeline: Pipeline, database_url: str, redis_url: str
) -> Generator[Deployment]:
    """With webhooks to receivers on this host."""
    urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    with deployed(tmp_path, pipeline, WEBHOOKS_ALLOW_PRIVATE="true", **urls) as running:
        yield running


def test_each_alert_fires_in_its_condition_and_none_before(
    deployment: Deployment, valkey: Valkey, admin: psycopg.Connection, tmp_path: Path
) -> None:
    seen: set[str] = set()
    with prometheus(tmp_path, deployment.ports) as server, receiver() as there:
        there.answers["/"] = says(500)
        wait_until(lambda: set(server.targets().values()) == {"up"}, "each target to be up")
        deployment.publish(5)
        wait_until(server.has_evaluated, "every rule to be evaluated")
        wait_until(lambda: server.alerts() == set(), "no alert")

        def expect(*names: str) -> None:
            wait_until(
                lambda: server.alerts("firing").issuperset(names), f"{names} to fire", FIRE_SECONDS
            )
            seen.update(names)

        quarantine_a_message(valkey)
        expect("PublishWorkerMessagesQuarantined")
        fail_a_command(deployment.pipeline)
        expect("PublishWorkerCommandsFailed")
        with videos_locked(deployment.pipeline, 20):
            wait_until(lambda: deployment.pipeline.value(HELD_FOR) > 3, "commands to be held")
        expect("PublishWorkerPublishingSlow")
        endpoint(deployment.pipeline, there.url())
        deployment.publish(5)
        expect("PublishWorkerWebhooksFailing")
        assert deployment.worker.stop() == 0
        deployment.pipeline.accept(deployment.pipeline.video())
        expect("PublishWorkerTargetDown", "PublishWorkerNoSweep")
        expect("PublishWorkerCommandsLate", "PublishWorkerWebhooksLate")
        expect("PublishWorkerCanaryMissing")
        put_stream_out_of_sync(valkey)
        deployment.pipeline.publish(deployment.pipeline.video())
        expect("PublishWorkerRelayLate")
        deployment.workers.worker()
        expect("PublishWorkerRelayRefused")
        valkey.kill()
        expect("PublishWorkerRedisDown")
        with closed(admin, deployment.pipeline):
            expect("PublishWorkerDatabaseDown")
            wait_until(
                lambda: (
                    deployment.api.get("/api/v1/videos").status_code == 503
                    and "PublishWorkerApiErrors" in server.alerts("firing")
                ),
                "the API's errors to be seen",
                FIRE_SECONDS,
            )
            seen.add("PublishWorkerApiErrors")
        deployment.api_process.kill()
        expect("PublishWorkerMetricsMissing")
    assert seen == alert_names()


HELD_FOR = (
    "SELECT coalesce(max(extract(epoch FROM now() - fell_due_at)), 0)"
    " FROM publisher.publish_command WHERE reason = 'video_held'"
)


def quarantine_a_message(valkey: Valkey) -> None:
    with broker_only(valkey.url) as send:
        send("publish.enqueue", kwargs={"video_id": "the third one"})


def fail_a_command(pipeline: Pipeline) -> None:
    """Refuse a video's publication until the command has failed."""
    refused = pipeline.video()
    pipeline.execute(
        f"ALTER TABLE video ADD CONSTRAINT refused CHECK (is_draft OR id <> {refused})"
    )
    pipeline.accept(refused)


@contextmanager
def videos_locked(pipeline: Pipeline, count: int) -> Generator[None]:
    """Accept commands for videos whose rows another session holds while the block runs."""
    videos = [pipeline.video() for _ in range(count)]
    with pipeline.engine.begin() as held:
        held.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        held.exec_driver_sql("SELECT FROM video WHERE id = ANY(%s) FOR UPDATE", (videos,))
        pipeline.accept(*videos)
        yield


def put_stream_out_of_sync(valkey: Valkey) -> None:
    """Let the stream be further than the outbox, as after a restored database."""
    valkey.client.xadd(STREAM, {"event": "{}"}, id="999999-0")
    valkey.client.set(RELAYED, 999_999)


@contextmanager
def closed(admin: psycopg.Connection, pipeline: Pipeline) -> Generator[None]:
    """Let the database refuse every connection while the block runs."""
    name = pipeline.value("SELECT current_database()")
    pipeline.engine.dispose()
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    admin.execute(allow.format(sql.Identifier(name), sql.Literal(False)))
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
    )
    try:
        yield
    finally:
        admin.execute(allow.format(sql.Identifier(name), sql.Literal(True)))
