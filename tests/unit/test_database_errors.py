"""Database errors: which of them pass, and what they say to people outside."""

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import OperationalError

from db.errors import NoAnswer, is_away, is_lost_session, is_passing
from publish_worker_client.servers.database_errors import describe_error


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


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.InternalError("received 2 results from command 'COMMIT'"), True),
        (psycopg.OperationalError("the connection is lost"), True),
        (errors.AdminShutdown("terminating connection"), True),
        (errors.InternalError_("a bug of the server"), False),
        (errors.ProgramLimitExceeded("index row size exceeds the maximum"), False),
    ],
)
def test_an_answer_that_belongs_to_no_statement_is_a_lost_connection(
    error: Exception, expected: bool
) -> None:
    assert is_away(error) is expected


@pytest.mark.parametrize("error", [NoAnswer("no answer for 10 s"), errors.ConnectionTimeout()])
def test_no_answer_passes_but_another_session_would_wait_as_long(error: Exception) -> None:
    assert is_away(error)
    assert is_passing(error)
    assert not is_lost_session(error)
