"""A real Prometheus scrapes a real API, worker and beat: the numbers are right, and alerts fire."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.deployment import Deployment, deployed
from tests.support.pipeline import Pipeline
from tests.support.prometheus import (
    FILES,
    Prometheus,
    needs_prometheus,
    prometheus,
    promtool,
    value_of,
)
from tests.support.waiting import PATIENCE, wait_until

PUBLISHED = 'sum(publish_worker_commands_total{outcome="published"})'
VIDEOS = 30


@pytest.fixture
def deployment(
    tmp_path: Path, pipeline: Pipeline, database_url: str, redis_url: str
) -> Generator[Deployment]:
    """The three of them on free ports."""
    with deployed(tmp_path, pipeline, DATABASE_URL=database_url, REDIS_URL=redis_url) as running:
        yield running


def dashboard_expressions() -> list[str]:
    document: Any = json.loads((FILES / "grafana/dashboards/publish-worker.json").read_text())
    return [
        target["expr"].replace("$__rate_interval", "1m")
        for panel in document["panels"]
        for target in panel.get("targets", [])
    ]


@pytest.mark.slow
@needs_prometheus
def test_prometheus_sees_what_was_published_and_fires_when_the_worker_stops(
    deployment: Deployment, tmp_path: Path
) -> None:
    with prometheus(tmp_path, deployment.ports) as server:
        wait_until(lambda: set(server.targets().values()) == {"up"}, "each target to be up")
        deployment.publish(VIDEOS)
        wait_until(lambda: server.value(PUBLISHED) == VIDEOS, "every publication to be counted")
        check_numbers(server)
        wait_until(lambda: canary_was_seen(server), "the canary")
        wait_until(server.has_evaluated, "every rule to be evaluated")
        # Their times are seconds here: a pause of the machine lets one fire for a moment.
        wait_until(lambda: server.alerts("firing") == set(), "no alert to fire")
        assert all(server.query(expression) is not None for expression in dashboard_expressions())
        assert deployment.worker.stop() == 0
        wait_until(
            lambda: {"PublishWorkerTargetDown", "PublishWorkerNoSweep"} <= server.alerts("firing"),
            "the alerts of a stopped worker",
        )
        wait_until(lambda: "PublishWorkerDatabaseDown" not in server.alerts(), "no other alert")


def check_numbers(server: Prometheus) -> None:
    route = '{route="/api/v1/videos/{video_id}/publish",status="2xx"}'
    answered = f"sum(publish_worker_http_requests_total{route})"
    wait_until(lambda: server.value(answered) == VIDEOS, "every request to be counted")
    counted = "sum(publish_worker_command_lateness_seconds_count)"
    wait_until(lambda: server.value(counted) == VIDEOS, "every lateness to be counted")
    late = server.value("histogram_quantile(0.99, sum by (le) "
                        "(publish_worker_command_lateness_seconds_bucket))")  # fmt: skip
    assert late is not None
    assert 0 < late < 30
    caught_up = 'max(publish_worker_relay_lag_events{outlet="stream"})'
    wait_until(lambda: server.value(caught_up) == 0, "the stream to have every event")
    relayed = 'sum(publish_worker_relayed_events_total{outlet="stream"})'
    wait_until(lambda: (server.value(relayed) or 0) >= VIDEOS, "the relay to be counted")
    oldest = "max(publish_worker_oldest_due_command_age_seconds) < bool 10"
    wait_until(lambda: server.value(oldest) == 1, "no command to be due for long")
    assert server.query('publish_worker_sweeps_total{task="publish.run_due"} > 0')


def canary_was_seen(server: Prometheus) -> bool:
    age = server.value("time() - max(publish_worker_canary_last_success_timestamp_seconds)")
    return age is not None and age < 60


@needs_prometheus
def test_a_worker_reports_all_its_processes_and_those_that_were_replaced(
    deployment: Deployment,
) -> None:
    worker = "publish-worker-worker"
    deployment.publish(4)
    pool = psutil.Process(deployment.worker.process.pid).children()
    assert len(pool) == 2
    for process in pool:
        process.kill()
    psutil.wait_procs(pool, PATIENCE)
    deployment.publish(4)
    wait_until(
        lambda: (
            value_of(
                deployment.metrics(worker), "commands_total", action="publish", outcome="published"
            )
            == 8
        ),
        "every process's commands to be counted",
    )
    promtool("check", "metrics", text=deployment.metrics(worker))
    promtool("check", "metrics", text=deployment.metrics("publish-worker-api"))
