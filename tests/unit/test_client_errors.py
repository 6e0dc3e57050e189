"""The client's errors: the same in another process, and whatever a handler or a caller gives."""

import pickle
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import publish_worker_client
from publish_worker_client import (
    Gap,
    InvalidPublication,
    OtherHistory,
    Publication,
    Publisher,
    Unacknowledged,
    Unanswered,
    UnknownVideo,
)
from publish_worker_client.publish.errors import find_refusal, to_refusal
from publish_worker_client.subscribe.failure import LONGEST_TEXT, to_failure

ERRORS = [
    Unanswered("no answer", "key"),
    UnknownVideo("no video", {"status": 404}),
    Gap(1, 2, "there is no database_url"),
    OtherHistory(),
    Unacknowledged(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_crosses_processes(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes of this test
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("broken")


def test_a_handlers_error_without_a_readable_text_is_described() -> None:
    assert "RuntimeError" in to_failure(Unreadable()).text


def test_a_handlers_huge_error_is_cut() -> None:
    assert len(to_failure(ValueError("x" * 1_000_000)).text) <= LONGEST_TEXT + 100
    assert len(to_failure("x" * 1_000_000).text) <= LONGEST_TEXT


class Undecided(tzinfo):
    """A time zone that has no offset: the time is local."""

    def utcoffset(self, _: datetime | None) -> None: ...


INSTANT = datetime(2030, 6, 1, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    "options",
    [
        {"video_id": "7"},
        {"video_id": True},
        {"video_id": 2**63},
        {"expected_revision": 2**31},
        {"at": date(2030, 6, 1)},
        {"at": "2030-06-01T18:00:00Z"},
        {"deadline": "2030-06-01T18:00:00Z"},
        {"at": INSTANT.replace(tzinfo=Undecided())},
        {"at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))},
        {"at": INSTANT.replace(tzinfo=None), "time_zone": "Europe\0Berlin"},
    ],
)
def test_a_value_of_another_type_is_refused_before_it_is_sent(options: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"video_id": 7, **options}
    with pytest.raises(InvalidPublication):
        Publication(**fields).to_fields()


def test_an_instant_is_sent_in_utc() -> None:
    at = datetime(1960, 1, 1, tzinfo=ZoneInfo("Africa/Monrovia"))  # its offset has seconds
    assert Publication(video_id=7, at=at).to_fields()["publish_at"] == "1960-01-01T00:44:30+00:00"


@pytest.mark.parametrize(
    "url",
    ["postgresql://joe:hunter2@db/video", "https://joe:hunter2@api", "http://[::1", "https://"],
)
def test_a_text_that_is_not_the_apis_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="https://host") as refused:
        Publisher(url, api_key="pw_k")
    assert "hunter2" not in str(refused.value)


def test_what_is_not_a_connection_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        Publisher(None)


@pytest.mark.parametrize("errors", [5, "text", [None], [{"detail": None}], {"a": 1}])
def test_a_problem_of_any_shape_is_a_refusal(errors: Any) -> None:
    assert str(to_refusal({"errors": errors}, 422, "refused")) == "refused"


class DriverError(Exception):
    """An error as a driver of DB-API 2.0 raises it."""


@pytest.mark.parametrize(
    "error",
    [DriverError("PW404"), DriverError(), DriverError({"C": "22012", "M": "division by zero"})],
)
def test_another_error_of_a_driver_is_not_a_refusal(error: Exception) -> None:
    assert find_refusal(error) is None


def test_a_refusal_is_found_in_an_error_as_pg8000_raises_it() -> None:
    fields = {"S": "ERROR", "C": "PW404", "M": "There is no video 7.", "H": "Check video_id."}
    refusal = find_refusal(DriverError(fields))
    assert isinstance(refusal, UnknownVideo)
    assert str(refusal) == "There is no video 7. Check video_id."


def test_the_package_lists_its_names() -> None:
    assert set(publish_worker_client.__all__) <= set(dir(publish_worker_client))
