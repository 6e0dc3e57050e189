"""The canary: a publication of our own, on the real path, without an event."""

import pytest

from db.commands import inbox
from db.commands.canary import VIDEO_ID
from db.session import transaction
from schemas.command import CommandFilter
from tests.support.api import Api
from tests.support.pipeline import Pipeline
from worker.enqueue.changes import list_page
from worker.operations import canary, punctuality


def fly(pipeline: Pipeline, video_id: int | None = None) -> bool:
    return canary.fly(pipeline.engine, pipeline.waker, video_id)


def land(pipeline: Pipeline) -> None:
    """Its time comes, and the worker carries it out."""
    pipeline.make_due()
    pipeline.run()


def rest(pipeline: Pipeline) -> None:
    """A minute goes by."""
    pipeline.execute(
        "UPDATE publisher.publish_command SET accepted_at = accepted_at - interval '1 minute'"
    )


def test_it_is_published_and_withdrawn_in_turn(pipeline: Pipeline) -> None:
    drafts: list[bool] = []
    for _ in range(3):
        assert fly(pipeline)
        land(pipeline)
        rest(pipeline)
        drafts.append(pipeline.value("SELECT is_draft FROM video WHERE id = %s", VIDEO_ID))
    assert drafts == [False, True, False]


def test_it_is_scheduled_ahead_like_any_other(pipeline: Pipeline) -> None:
    fly(pipeline)
    [(state, ahead)] = pipeline.rows(
        "SELECT state, due_at > accepted_at FROM publisher.publish_command"
    )
    assert (state, ahead) == ("scheduled", True)
    assert pipeline.run() == 0


def test_it_has_no_event(pipeline: Pipeline) -> None:
    fly(pipeline)
    land(pipeline)
    assert pipeline.events() == []
    assert pipeline.value("SELECT position FROM publisher.event_position") == 0


def test_it_is_in_no_list_count_or_percentile(pipeline: Pipeline) -> None:
    fly(pipeline)
    land(pipeline)
    assert list_page(pipeline.engine, CommandFilter(), None).items == []
    with transaction(pipeline.engine) as tx:
        assert inbox.count(tx) == []
    assert punctuality.measure(pipeline.engine, seconds=60, workspace_id=None).commands == 0


def test_it_rests_between_two_flights_however_many_ask(pipeline: Pipeline) -> None:
    assert fly(pipeline)
    assert not fly(pipeline)
    land(pipeline)
    assert not fly(pipeline)


def test_it_waits_for_one_that_is_still_in_the_air(pipeline: Pipeline) -> None:
    fly(pipeline)
    rest(pipeline)
    assert not fly(pipeline)


def test_an_operators_video_flies_where_the_platform_is_not_ours(pipeline: Pipeline) -> None:
    pipeline.execute("DELETE FROM publisher.alembic_version WHERE version_num LIKE %s", "platform%")
    video = pipeline.video()
    assert not fly(pipeline)
    assert fly(pipeline, video)
    land(pipeline)
    assert pipeline.value("SELECT is_draft FROM video WHERE id = %s", video) is False


def test_a_video_that_is_not_there_does_not_fly(pipeline: Pipeline) -> None:
    assert not fly(pipeline, 4711)
    assert canary.judge(pipeline.engine, None)[0]


def test_after_a_landing_it_says_how_punctual_it_was(pipeline: Pipeline) -> None:
    fly(pipeline)
    land(pipeline)
    ok, told = canary.judge(pipeline.engine, None)
    assert ok
    assert "after it fell due" in told


@pytest.mark.parametrize(
    ("statement", "told"),
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
    api: Api, statement: str, told: str
) -> None:
    fly(api)
    api.execute(statement)
    checks = {check["name"]: check for check in api.call("GET", "/readyz", None).json()["checks"]}
    assert not checks["schedule"]["ok"]
    assert told in checks["schedule"]["detail"]
