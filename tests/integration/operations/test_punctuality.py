"""Punctuality: what each command keeps of its times, and percentiles over them."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.pipeline import Pipeline
from worker.operations import punctuality

LATE = timedelta(seconds=30)


def test_a_command_keeps_when_it_was_due_claimed_and_done(pipeline: Pipeline) -> None:
    [command] = pipeline.publish(pipeline.video())
    assert command.fell_due_at == command.due_at == command.accepted_at
    assert command.claimed_at is not None
    assert command.finished_at is not None
    assert command.accepted_at <= command.claimed_at <= command.finished_at


def test_postponing_does_not_reduce_lateness(pipeline: Pipeline) -> None:
    video = pipeline.video()
    [command] = pipeline.accept(video).commands
    pipeline.execute("UPDATE publisher.publish_command SET due_at = due_at - %s", LATE)
    with pipeline.holding("UPDATE video SET title = title WHERE id = %s", video):
        pipeline.run()  # stands aside
    pipeline.make_due()
    pipeline.run()
    done = pipeline.command(command.id)
    assert done.state == "published"
    assert done.fell_due_at == command.due_at - LATE


def test_waiting_for_generation_is_not_lateness(pipeline: Pipeline) -> None:
    video = pipeline.video(status="in_progress")
    [command] = pipeline.publish(video)
    assert command.fell_due_at is None
    pipeline.execute("UPDATE video SET status = 'completed' WHERE id = %s", video)
    pipeline.run()
    done = pipeline.command(command.id)
    assert done.fell_due_at is not None
    assert done.fell_due_at > command.accepted_at


def test_percentiles_are_of_the_commands_that_were_carried_out(pipeline: Pipeline) -> None:
    pipeline.accept(*[pipeline.video() for _ in range(10)])
    pipeline.execute(
        "UPDATE publisher.publish_command SET due_at = due_at - interval '100 s' "
        "WHERE id = (SELECT id FROM publisher.publish_command LIMIT 1)"
    )
    pipeline.run()
    cancelled = pipeline.video(status="in_progress")
    pipeline.publish(cancelled)
    seen = punctuality.measure(pipeline.engine, seconds=60, workspace_id=None)
    assert seen.commands == 10
    assert seen.lateness.max is not None
    assert seen.lateness.median is not None
    assert seen.lateness.max >= 100_000 > seen.lateness.median
    assert seen.waiting.max is not None
    assert seen.working.max is not None
    assert seen.working.max < seen.waiting.max


def test_an_empty_window_has_no_percentiles(pipeline: Pipeline) -> None:
    seen = punctuality.measure(pipeline.engine, seconds=60, workspace_id=None)
    assert (seen.commands, seen.lateness.p99) == (0, None)


def test_a_key_sees_the_punctuality_of_its_own_workspace(api: Api) -> None:
    api.publish(api.video(), api.video(workspace_id=2))
    assert api.get("/punctuality").json()["commands"] == 1
    assert api.get("/punctuality", "everywhere").json()["commands"] == 2
    assert api.get("/punctuality?window=0").status_code == 422


@pytest.mark.parametrize(("seconds", "ok"), [(5, True), (40, False)])
def test_readiness_fails_while_a_command_is_not_claimed(
    api: Api, seconds: float, *, ok: bool
) -> None:
    api.accept(api.video())
    late = "UPDATE publisher.publish_command SET due_at = now() - %s * interval '1 s'"
    api.execute(late, seconds)
    assert read_check(api)["ok"] is ok


def test_a_command_that_waits_for_an_older_one_is_not_late(api: Api) -> None:
    older, _ = api.accept(*[api.video()] * 2).commands
    api.execute("UPDATE publisher.publish_command SET due_at = now() - interval '1 min'")
    api.execute(
        "UPDATE publisher.publish_command SET due_at = now() + interval '1 min',"
        " fell_due_at = now() - interval '2 min' WHERE id = %s",
        older.id,
    )
    assert read_check(api)["ok"]


def read_check(api: Api) -> dict[str, Any]:
    """Return what /readyz says about the inbox."""
    checks = api.call("GET", "/readyz", None).json()["checks"]
    return next(check for check in checks if check["name"] == "inbox")
