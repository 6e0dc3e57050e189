"""A browser and an API on a socket, for the tests of the console."""

from collections.abc import Generator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import chromium
from tests.support.pipeline import Pipeline
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
