"""The canary: a publication of our own, on the real path, without an event."""

import pytest

from db.commands import inbox
from db.commands.canary import VIDEO_ID
from db.session import transaction
from schemas.command import CommandFilter
from tests.support.api import Api
from tests.support.pipeline import Desk
from worker.enqueue.changes import list_page
from worker.operations import canary, punctuality


def fly(desk: Desk, video_id: int | None = None) -> bool:
    return canary.fly(desk.engine, desk.waker, video_id)


def land(desk: Desk) -> None:
    """Its time comes, and the worker carries it out."""
    desk.make_due()
    desk.run()


def rest(desk: Desk) -> None:
    """A minute goes by."""
    desk.execute(
        "UPDATE publisher.publish_command SET accepted_at = accepted_at - interval '1 minute'"
    )


def test_it_is_published_and_withdrawn_in_turn(desk: Desk) -> None:
    drafts: list[bool] = []
    for _ in range(3):
        assert fly(desk)
        land(desk)
        rest(desk)
        drafts.append(desk.value("SELECT is_draft FROM video WHERE id = %s", VIDEO_ID))
    assert drafts == [False, True, False]


def test_it_is_scheduled_ahead_like_any_other(desk: Desk) -> None:
    fly(desk)
    [(state, ahead)] = desk.rows(
        "SELECT state, due_at > accepted_at FROM publisher.publish_command"
    )
    assert (state, ahead) == ("scheduled", True)
    assert desk.run() == 0


def test_it_has_no_event(desk: Desk) -> None:
    fly(desk)
    land(desk)
    assert desk.events() == []
    assert desk.value("SELECT position FROM publisher.event_position") == 0


def test_it_is_in_no_list_count_or_percentile(desk: Desk) -> None:
    fly(desk)
    land(desk)
    assert list_page(desk.engine, CommandFilter(), None).commands == []
    with transaction(desk.engine) as tx:
        assert inbox.count(tx) == []
    assert punctuality.measure(desk.engine, seconds=60, workspace_id=None).commands == 0


def test_it_rests_between_two_flights_however_many_ask(desk: Desk) -> None:
    assert fly(desk)
    assert not fly(desk)
    land(desk)
    assert not fly(desk)


def test_it_waits_for_one_that_is_still_in_the_air(desk: Desk) -> None:
    fly(desk)
    rest(desk)
    assert not fly(desk)


def test_an_operators_video_flies_where_the_platform_is_not_ours(desk: Desk) -> None:
    desk.execute("DELETE FROM publisher.alembic_version WHERE version_num LIKE %s", "platform%")
    video = desk.video()
    assert not fly(desk)
    assert fly(desk, video)
    land(desk)
    assert desk.value("SELECT is_draft FROM video WHERE id = %s", video) is False


def test_a_video_that_is_not_there_does_not_fly(desk: Desk) -> None:
    assert not fly(desk, 4711)
    assert canary.judge(desk.engine, None)[0]


def test_after_a_landing_it_says_how_punctual_it_was(desk: Desk) -> None:
    fly(desk)
    land(desk)
    ok, told = canary.judge(desk.engine, None)
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
