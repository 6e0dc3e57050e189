"""A browser, an API on a socket for the console, and a `publish-worker up` that stays up."""

from collections.abc import Generator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import chromium
from tests.support.pipeline import Pipeline
from tests.support.programs import Up, program_folder, running
from tests.support.served import Served, served


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    """For one module: while it is open, asyncio has a loop in this thread."""
    with chromium() as started:
        yield started


@pytest.fixture
def api(pipeline: Pipeline, redis_url: str) -> Generator[Served]:
    """In place of the API in this process, which a browser cannot reach."""
    with served(pipeline.engine, redis_url) as started:
        yield started


@pytest.fixture(scope="session")
def running_up() -> Generator[Up]:
    """A `publish-worker up` that runs all the while; webhooks may be sent to this host."""
    with program_folder() as path:
        program = Up(path / "log", "up", DATA_DIR=str(path / "data"), WEBHOOKS_ALLOW_PRIVATE="true")
        with running(program):
            program.wait_until_ready()
            yield program
