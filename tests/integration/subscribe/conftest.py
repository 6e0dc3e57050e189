"""Fixtures of the tests of subscribers."""

from typing import Any

import pytest

from tests.support.pipeline import BASE_URL


@pytest.fixture
def urls(redis_url: str, database_url: str) -> dict[str, Any]:
    """Where a subscriber finds the stream and the outbox."""
    return {"redis_url": redis_url, "database_url": database_url, "public_base_url": BASE_URL}
