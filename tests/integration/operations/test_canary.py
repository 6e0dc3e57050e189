"""The canary: a publication of our own, on the real path, without an event."""

import pytest

from db.commands import inbox
from db.commands.canary import VIDEO_ID
from db.session import connect, transaction
from schemas.inbox import CommandFilter
from tests.support.api import Api
from tests.support.pipeline import Pipeline
from tests.support.waiting import PATIENCE
from worker.enqueue.changes import list_page
from worker.operations import canary, health, punctuality


def schedule(pipeline: Pipeline, video_id: int | None = None) -> bool:
    return canary.schedule_canary(pipeline.engine, pipeline.waker, video_id)


def carry_out(pipeline: Pipeline) -> None:
    """Let it fall due, and carry it out."""
    pipeline.make_due()
    pipeline.run()


def pass_minute(pipeline: Pipeline) -> None:
    """Make a minute pass."""
    pipeline.execute(
        "UPDATE publisher.publish_command SET accepted_at = accepted_at - interval '1 minute'"
    )


def test_it_is_published_and_withdrawn_in_turn(pipeline: Pipeline) -> None:
    drafts: list[bool] = []
    for _ in range(3):
        assert schedule(pipeline)
        carry_out(pipeline)
        pass_minute(pipeline)
        drafts.append(pipeline.value("SELECT is_draft FROM video WHERE id = %s", VIDEO_ID))
    assert drafts == [False, True, False]


def test_it_is_scheduled_ahead_like_any_other(pipeline: Pipeline) -> None:
    schedule(pipeline)
    [(state, ahead)] = pipeline.rows(
        "SELECT state, due_at > accepted_at FROM publisher.publish_command"
    )
    assert (state, ahead) == ("scheduled", True)
    pipeline.let_pass(seconds=-PATIENCE)  # a second ahead can be over on a busy machine
    assert pipeline.run() == 0


def test_it_has_no_event(pipeline: Pipeline) -> None:
    schedule(pipeline)
    carry_out(pipeline)
    assert pipeline.events() == []
    assert pipeline.value("SELECT position FROM publisher.event_position") == 0


def test_it_is_in_no_list_count_or_percentile(pipeline: Pipeline) -> None:
    schedule(pipeline)
    carry_out(pipeline)
    assert list_page(pipeline.engine, CommandFilter(), None).items == []
    with transaction(pipeline.engine) as tx:
        assert inbox.count(tx) == []
    assert punctuality.measure(pipeline.engine, seconds=60, workspace_id=None).commands == 0


def test_two_canaries_have_a_pause_between_them(pipeline: Pipeline) -> None:
    assert schedule(pipeline)
    assert not schedule(pipeline)
    carry_out(pipeline)
    assert not schedule(pipeline)


def test_the_next_canary_waits_for_an_unfinished_one(pipeline: Pipeline) -> None:
    schedule(pipeline)
    pass_minute(pipeline)
    assert not schedule(pipeline)


def test_an_operators_video_is_used_where_the_platform_is_not_ours(pipeline: Pipeline) -> None:
    pipeline.execute("DELETE FROM publisher.alembic_version WHERE version_num LIKE %s", "platform%")
    video = pipeline.video()
    assert not schedule(pipeline)
    assert schedule(pipeline, video)
    carry_out(pipeline)
    assert pipeline.value("SELECT is_draft FROM video WHERE id = %s", video) is False


def test_an_unknown_video_is_not_scheduled(pipeline: Pipeline) -> None:
    assert not schedule(pipeline, 4711)
    assert canary.check_canary(pipeline.engine, None)[0]


def test_a_finished_canary_reports_its_lateness(pipeline: Pipeline) -> None:
    schedule(pipeline)
    carry_out(pipeline)
    ok, text = canary.check_canary(pipeline.engine, None)
    assert ok
    assert "after it fell due" in text


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (
            "UPDATE publisher.publish_command SET accepted_at = now() - interval '12 s'",
            "late",
        ),
        (
            (
                "UPDATE publisher.publish_command SET state = 'rejected', finished_at = now(), "
                "detail = 'Deleted.'"
            ),
            "ended as 'rejected': Deleted.",
        ),
        (
            (
                "UPDATE publisher.publish_command SET state = 'published', "
                "finished_at = now() - interval '4 min'"
            ),
            "is beat down?",
        ),
    ],
)
def test_readiness_fails_when_it_is_late_lost_or_silent(
    api: Api, statement: str, text: str
) -> None:
    schedule(api)
    api.execute(statement)
    checks = {check["name"]: check for check in api.call("GET", "/readyz", None).json()["checks"]}
    assert not checks["schedule"]["ok"]
    assert text in checks["schedule"]["detail"]


@pytest.mark.parametrize("finished", [True, False])
def test_readiness_shows_the_message_of_an_error_without_the_row(
    api: Api, *, finished: bool
) -> None:
    schedule(api)
    end = "state = 'failed', finished_at = now()" if finished else "state = state"
    api.execute(
        f"UPDATE publisher.publish_command SET {end}, accepted_at = now() - interval '12 s',"
        " detail = %s",
        "CheckViolation: new row violates a check\nDETAIL:  Failing row contains (ada@x.com).",
    )
    answer = api.call("GET", "/readyz", None)
    assert "new row violates a check" in answer.text
    assert "ada@" not in answer.text
    assert "DETAIL" not in answer.text


def test_a_platform_schema_that_does_not_exist_is_named(
    pipeline: Pipeline, database_url: str, redis_url: str
) -> None:
    engine = connect(database_url, platform_schema="nosuch")
    [database] = [
        check
        for check in health.examine(engine, pipeline.redis, redis_url)
        if check.name == "database"
    ]
    engine.dispose()
    assert (database.ok, database.detail) == (
        False,
        (
            "PLATFORM_SCHEMA=nosuch: there is no schema of this name, and thus no table video; "
            "the schema public has one."
        ),
    )
