"""What the tests of the Python client share: the API, and a key to publish with."""

from collections.abc import Generator

import pytest

from schemas.values.caller import Scope
from tests.support.pipeline import Pipeline
from tests.support.served import Served, served
from worker.operations.api_keys import create_key


@pytest.fixture
def key(pipeline: Pipeline) -> str:
    return create_key(pipeline.engine, name="pipeline", scope=Scope.PUBLISH, workspace_id=1)


@pytest.fixture
def api(pipeline: Pipeline, redis_url: str) -> Generator[Served]:
    with served(pipeline.engine, redis_url) as api:
        yield api
