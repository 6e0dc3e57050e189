"""SQL and the other doors accept and refuse the same requests, and say the same."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from db.commands import limits
from db.session import Connection, transaction
from publish_worker_client.events.names import Trigger
from schemas.command import PublishRequest
from tests.support.pipeline import Pipeline
from tests.support.sql_door import PUBLISH, UNPUBLISH, find_refusal
from worker.enqueue.accept import accept_group
from worker.enqueue.origin import Origin
from worker.enqueue.refusals import (
    EnqueueRefused,
    NoSuchVideo,
    RequestInvalid,
    TooManyCommands,
    VideoChanged,
)
from worker.enqueue.submission import Submission
from worker.rules.local_time import LocalTimeError, to_instant

STATES: dict[type[EnqueueRefused], str] = {
    NoSuchVideo: "PW404",
    VideoChanged: "PW412",
    TooManyCommands: "PW429",
}
BERLIN = "Europe/Berlin"
VIDEO, ELSEWHERE, FULL, PUBLISHED = 1, 2, 3, 4
"""Ready; in workspace 2; with 99 open commands; at revision 1."""

ORIGIN = ("workspace_id", "correlation_id", "traceparent")


def ahead(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def local(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute)  # noqa: DTZ001 - it is a local time


SKIPPED, TWICE, PLAIN = local(2099, 3, 29, 2, 30), local(2099, 10, 25, 2, 30), local(2099, 6, 1, 18)

CASES: list[dict[str, Any]] = [
    {},
    {"video_id": 0},
    {"video_id": -1},
    {"video_id": 99},
    {"video_id": 2**63 - 1},
    {"video_id": ELSEWHERE},
    {"video_id": ELSEWHERE, "workspace_id": 2},
    {"video_id": ELSEWHERE, "workspace_id": 1},
    {"publish_at": ahead(1)},
    {"publish_at": ahead(-1)},
    {"publish_at": datetime(1900, 1, 1, tzinfo=UTC)},
    {"publish_at": datetime(1898, 1, 1, tzinfo=UTC)},
    {"publish_at": datetime(9000, 12, 31, tzinfo=UTC)},
    {"publish_at": datetime(9500, 1, 1, tzinfo=UTC)},
    {"publish_at": ahead(1), "unpublish_at": ahead(2)},
    {"publish_at": ahead(2), "unpublish_at": ahead(1)},
    {"unpublish_at": ahead(1)},
    {"unpublish_at": ahead(-1)},
    {"publish_at": ahead(-2), "unpublish_at": ahead(-1)},
    {"publish_before": ahead(-1)},
    {"publish_at": ahead(1), "publish_before": ahead(2)},
    {"publish_at": ahead(2), "publish_before": ahead(1)},
    {"publish_at": ahead(1), "publish_at_local": PLAIN, "time_zone": BERLIN},
    {"unpublish_at": ahead(1), "unpublish_at_local": PLAIN, "time_zone": BERLIN},
    {"publish_at_local": PLAIN},
    {"unpublish_at_local": PLAIN},
    {"time_zone": BERLIN},
    {"fold": 1},
    {"publish_at": ahead(1), "time_zone": BERLIN},
    {"publish_at_local": PLAIN, "time_zone": BERLIN},
    {"publish_at_local": PLAIN, "time_zone": BERLIN, "fold": 1},
    {"publish_at_local": PLAIN, "time_zone": BERLIN, "fold": 2},
    {"publish_at_local": PLAIN, "time_zone": BERLIN, "fold": -1},
    {"publish_at_local": SKIPPED, "time_zone": BERLIN},
    {"publish_at_local": SKIPPED, "time_zone": BERLIN, "fold": 0},
    {"publish_at_local": TWICE, "time_zone": BERLIN},
    {"publish_at_local": TWICE, "time_zone": BERLIN, "fold": 0},
    {"publish_at_local": TWICE, "time_zone": BERLIN, "fold": 1},
    {"unpublish_at_local": TWICE, "time_zone": BERLIN},
    {"publish_at_local": PLAIN, "unpublish_at_local": PLAIN, "time_zone": BERLIN},
    {"publish_at_local": local(1800, 1, 1, 0), "time_zone": BERLIN},
    *(
        {"publish_at_local": PLAIN, "time_zone": zone}
        for zone in (
            *("Europe/Atlantis", "europe/berlin", "EUROPE/BERLIN", "CEST", "UTC+2", "FOO+3", "+02"),
            *("UTC", "Etc/GMT+5", "EST5EDT", "CET", "Factory", "localtime", "posix/UTC", ""),
            *("Foo/Bar+3", "Europe/../Europe/Berlin", "A" * 65),
        )
    ),
    {"expected_revision": 0},
    {"expected_revision": 1},
    {"expected_revision": -1},
    {"video_id": PUBLISHED, "expected_revision": 1},
    {"video_id": PUBLISHED, "expected_revision": 0},
    {"video_id": FULL},
    {"video_id": FULL, "unpublish_at": ahead(1)},
    {"correlation_id": "é" * 255},
    {"correlation_id": "é" * 256},
    {"traceparent": "nonsense"},
    {"traceparent": "0" * 256},
    {"video_id": 99, "publish_at_local": SKIPPED, "time_zone": BERLIN},
    {"video_id": 99, "publish_at": ahead(2), "unpublish_at": ahead(1)},
    {"video_id": FULL, "unpublish_at": ahead(1), "expected_revision": 7},
    {"action": "unpublish"},
    {"action": "unpublish", "unpublish_at": ahead(-1)},
    {"action": "unpublish", "unpublish_at": ahead(1), "expected_revision": 1},
    {"action": "unpublish", "unpublish_at_local": TWICE, "time_zone": BERLIN},
    {"action": "unpublish", "unpublish_at_local": TWICE, "time_zone": BERLIN, "fold": 1},
    {"action": "unpublish", "time_zone": BERLIN},
    {"action": "unpublish", "video_id": 99},
]


@pytest.fixture
def videos(pipeline: Pipeline) -> Pipeline:
    """The four videos of the cases."""
    made = [pipeline.video(workspace_id=place) for place in (1, 2, 1, 1)]
    assert made == [VIDEO, ELSEWHERE, FULL, PUBLISHED]
    pipeline.publish(PUBLISHED)
    pipeline.execute("UPDATE video SET status = 'in_progress' WHERE id = %s", FULL)
    pipeline.accept(*[FULL] * (limits.PER_VIDEO - 1))
    return pipeline


def test_sql_accepts_and_refuses_what_the_other_doors_do(videos: Pipeline) -> None:
    with transaction(videos.engine) as tx:
        by_sql = [find_sql_refusal(tx, case) for case in CASES]
    with transaction(videos.engine) as tx:
        in_python = [find_python_refusal(tx, case) for case in CASES]
    differ = [
        (case, ours, theirs)
        for case, ours, theirs in zip(CASES, by_sql, in_python, strict=True)
        if ours[0] != theirs[0] or (theirs[1] and not is_same_text(ours[1], theirs[1]))
    ]
    assert differ == []
    assert {state for state, _ in by_sql} == {"", "PW404", "PW412", "PW422", "PW429"}


def find_sql_refusal(tx: Connection, case: dict[str, Any]) -> tuple[str, str]:
    given = {"video_id": VIDEO, **case}
    function = UNPUBLISH if given.pop("action", "") == "unpublish" else PUBLISH
    return find_refusal(tx, given.pop("video_id"), function, **given)


def find_python_refusal(tx: Connection, case: dict[str, Any]) -> tuple[str, str]:
    """The state that SQL should have, and the text where it should be the same."""
    asked = {"video_id": VIDEO, **case}
    origin: dict[str, Any] = {"workspace_id": None, "correlation_id": "c"}
    origin |= {name: asked.pop(name) for name in ORIGIN if name in asked}
    try:
        request = PublishRequest.model_validate(asked)
        submission = Submission(
            requests=[request], origin=Origin(trigger=Trigger.PIPELINE, **origin)
        )
        tx.execute("SAVEPOINT before")
        tx.execute("SELECT set_config('lock_timeout', '1s', true)")
        [outcome] = accept_group_undone(tx, submission)
    except ValidationError:
        return "PW422", ""
    except EnqueueRefused as refused:
        outcome = refused
    if not isinstance(outcome, EnqueueRefused):
        return "", ""
    if isinstance(outcome, RequestInvalid):
        return "PW422", outcome.errors[0][1].detail
    return STATES.get(type(outcome), "PW422"), str(outcome)


def accept_group_undone(tx: Connection, submission: Submission) -> list[Any]:
    """Accept it as the other doors do, and undo that."""
    try:
        return accept_group(tx, [submission])
    finally:
        tx.rollback()
        tx.execute("DELETE FROM publisher.publish_command WHERE trigger = 'pipeline'")
        tx.commit()


def is_same_text(ours: str, theirs: str) -> bool:
    """Whether SQL says the same: it names the field first, and says what to do in the hint."""
    return ours.removesuffix(".").endswith(theirs.removesuffix(".")) or theirs.startswith(ours)


ZONES = (
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Tehran"),
    *("Africa/Casablanca", "America/St_Johns", "Asia/Kathmandu", "UTC", "Pacific/Chatham"),
)


def test_a_local_time_means_the_same_instant_or_is_refused_in_the_same_words(
    pipeline: Pipeline,
) -> None:
    """At each half hour around each change of these clocks in two years, and at others."""
    given = [
        (zone, time, fold) for zone in ZONES for time in list_times(zone) for fold in (None, 1)
    ]
    with transaction(pipeline.engine) as tx:
        by_sql = [find_instant(tx, *each) for each in given]
    in_python = [compute_instant(*each) for each in given]
    differ = [each for each in zip(given, by_sql, in_python, strict=True) if each[1] != each[2]]
    assert differ == []
    assert sum(isinstance(each, str) for each in by_sql) > 50


def list_times(zone: str) -> list[datetime]:
    """Local times on both sides of each change of a zone's clocks, and of none."""
    rules, day = ZoneInfo(zone), timedelta(days=1)
    times = [local(2026, 5, 17, 9, 41)]
    for year in (2011, 2023):
        days = [datetime(year, 1, 1, tzinfo=UTC) + n * day for n in range(365)]
        for each in days:
            if each.astimezone(rules).utcoffset() != (each + day).astimezone(rules).utcoffset():
                noon = each.astimezone(rules).replace(tzinfo=None)
                times += [noon + timedelta(minutes=30 * n) for n in range(54)]
    return times


def find_instant(tx: Connection, zone: str, time: datetime, fold: int | None) -> datetime | str:
    statement = "SELECT publisher.to_instant('publish_at_local', %s, %s, %s)"
    tx.execute("SAVEPOINT before")
    try:
        row = tx.execute(statement, (time, zone, fold)).fetchone()
    except Exception as error:  # noqa: BLE001 - its text is compared
        tx.execute("ROLLBACK TO before")
        return str(error).partition("\n")[0].removeprefix("publish_at_local: ")
    assert row is not None
    return row[0]


def compute_instant(zone: str, time: datetime, fold: int | None) -> datetime | str:
    try:
        return to_instant(time, zone, fold)
    except LocalTimeError as error:
        return str(error)
