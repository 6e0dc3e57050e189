"""The TypeScript client, by Node's own test runner, against a real API, worker and engines."""

from collections.abc import Generator

import psycopg
import pytest
from redis import Redis

from tests.support.client_run import ClientRun, client_run
from tests.support.clones import cloned, named
from tests.support.node import run_tests
from worker.local.engines import Engines


@pytest.fixture(scope="module")
def run(
    running: Engines,
    admin: psycopg.Connection,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[ClientRun]:
    """One run for all tests of this module."""
    with Redis.from_url(running.redis_url) as client:
        client.flushall()
    folder = tmp_path_factory.mktemp("client")
    with (
        cloned(admin, template) as name,
        client_run(folder, named(running.database_url, name), running.redis_url) as started,
    ):
        yield started


def test_publisher_webhooks(run: ClientRun) -> None:
    run_tests("publisher", "received", **run.environment)


def test_feed(run: ClientRun) -> None:
    run_tests("feed", **run.environment)


def test_stream(run: ClientRun) -> None:
    run_tests("stream", **run.environment)


def test_kill(run: ClientRun) -> None:
    run_tests("kill", **run.environment)
