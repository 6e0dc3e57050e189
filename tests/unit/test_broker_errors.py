"""Errors of the broker in the log."""

import logging

import pytest
from amqp.exceptions import ConnectionForced
from redis.exceptions import ReadOnlyError

from worker.runtime.broker_errors import drop_traceback


def record(logger: str, error: Exception) -> logging.LogRecord:
    exc_info = (type(error), error, None)
    return logging.LogRecord(logger, logging.CRITICAL, __file__, 1, "Couldn't ack", (), exc_info)


@pytest.mark.parametrize("error", [ConnectionForced("a test"), ReadOnlyError(), BrokenPipeError()])
@pytest.mark.parametrize("logger", ["celery.worker.request", "kombu.asynchronous.hub"])
def test_an_outage_that_celery_logs_has_no_traceback(logger: str, error: Exception) -> None:
    line = record(logger, error)
    assert drop_traceback(line)
    assert not line.exc_info


@pytest.mark.parametrize(
    ("logger", "error"),
    [
        ("celery.worker.request", KeyError("a bug")),
        ("kombu.asynchronous.hub", FileNotFoundError("a bug")),
        ("celery.app.trace", BrokenPipeError()),
    ],
)
def test_a_bug_and_a_failed_task_keep_their_traceback(logger: str, error: Exception) -> None:
    line = record(logger, error)
    assert drop_traceback(line)
    assert line.exc_info
