"""`Prefer: wait=N` (RFC 7240): which preference counts, and headers made to cost time."""

import pytest

from worker.api.prefer_wait import MAX_WAIT, parse_prefer_wait


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=5", 5),
        ('WAIT = "7"', 7),
        ("respond-async, wait=0010; a", 10),
        ('foo="a, wait=3", wait=5', 5),
        (r'foo="a\", wait=3", wait=5', 5),
        ('wait=5, foo="x', 5),
        ("wait=" + "9" * 5_000, MAX_WAIT),
        ("wait=five", None),
        ("", None),
    ],
)
def test_the_first_wait_outside_of_quotes_counts(header: str, seconds: int | None) -> None:
    assert parse_prefer_wait([header]) == seconds


@pytest.mark.parametrize("quoted", ["a, ", '\\"', "\\", 'b" "'])
def test_a_quote_that_is_not_closed_goes_to_the_end_and_is_scanned_once(quoted: str) -> None:
    """A scan that began again after each character took 19 seconds for 60 KB."""
    assert parse_prefer_wait(['a="' + quoted * 20_000 + ", wait=5"]) is None
