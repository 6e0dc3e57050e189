"""What a database's error says to people outside."""

import pytest
from psycopg import errors
from sqlalchemy.exc import OperationalError

from db.errors import describe_error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.CheckViolation("no\nDETAIL:  Failing row contains (1, x)."), "CheckViolation: no"),
        (
            OperationalError("UPDATE video", {"title": "x"}, errors.DiskFull("full\nCONTEXT: y")),
            "DiskFull: full",
        ),
        (KeyError("title"), "KeyError: 'title'"),
        (ValueError("odd\x00"), "ValueError: odd"),
        (ValueError("1 validation error for Video\ntitle\n  input_value='x'"), None),
    ],
)
def test_an_error_is_described_by_its_primary_message(error: Exception, text: str | None) -> None:
    assert describe_error(error) == (text or "ValueError: 1 validation error for Video")
