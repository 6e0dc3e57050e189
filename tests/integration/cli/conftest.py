"""Fixtures of the command line."""

import pytest

from tests.support.command_line import Run, runner
from tests.support.pipeline import Pipeline


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `publish-worker` in this process."""
    return runner(capsys, monkeypatch)


@pytest.fixture
def here(
    pipeline: Pipeline, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Pipeline:
    """A pipeline whose database and Redis the command line uses."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    return pipeline
