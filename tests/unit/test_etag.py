"""`If-Match`: which versions of a video a list of tags allows."""

from datetime import UTC, datetime

import pytest

from worker.rules.etag import compute_etag, is_allowed

TAG = compute_etag(7, 1, datetime(2026, 12, 1, tzinfo=UTC))
OTHER = compute_etag(7, 2, datetime(2026, 12, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "expected",
    [
        TAG,
        f"W/{TAG}",
        f"{OTHER}, W/{TAG}",
        "*",
        f'{TAG[:-1]}-gzip"',
        f'W/{TAG[:-1]}-br"',
        f'{TAG[:-1]}--gzip"',
    ],
)
def test_a_tag_that_a_compressing_proxy_has_changed_names_the_same_version(expected: str) -> None:
    assert is_allowed(expected, TAG)


@pytest.mark.parametrize(
    "expected", [OTHER, f"W/{OTHER}", f'{OTHER[:-1]}-gzip"', TAG[1:-1], f"w/{TAG}", '""', "W/"]
)
def test_another_tag_is_another_version(expected: str) -> None:
    assert not is_allowed(expected, TAG)
