"""Changing one's mind: reschedule, cancel, find and retry commands, until they are claimed."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest

from db.commands import changes
from db.commands.inbox import StoredCommand
from db.session import transaction
from publish_worker_client.events.names import Trigger
from schemas.command import CommandChange, PublishRequest
from tests.support.api import Api
from tests.support.pipeline import Pipeline
from tests.support.platform import column, make_ready_videos
from tests.support.requests import request
from tests.support.threads import together
from worker.enqueue.changes import Changer, cancel, reschedule
from worker.enqueue.refusals import CommandEnded
from worker.publish import run

SOMEBODY = Changer(trigger=Trigger.API, workspace_id=None)
BASE = "https://videos.example/api/v1"


def ahead(hours: float) -> datetime:
    """The time in some hours, to the second."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)


def scheduled(pipeline: Pipeline, hours: float = 1, **said: Any) -> StoredCommand:
    """A command to be carried out in some hours."""
    asked = {"video_id": pipeline.video(), "publish_at": ahead(hours), **said}
    return pipeline.accept(PublishRequest.model_validate(asked)).commands[0]


def patch(api: Api, command: StoredCommand, key: str = "publish", **said: Any) -> Any:
    """Change a command over HTTP."""
    body = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in said.items()}
    return api.call("PATCH", f"/api/v1/publish-commands/{command.id}", key, json=body)


def types(pipeline: Pipeline) -> list[str]:
    return [event["type"].removeprefix("video.") for event in pipeline.events()]


# --- reschedule ----------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [0.5, 3])
def test_a_rescheduled_command_has_an_event_with_both_times(api: Api, hours: float) -> None:
    command, to = scheduled(api), ahead(hours)
    answer = patch(api, command, publish_at=to)
    assert answer.status_code == 200
    moved = api.command(command.id)
    assert (moved.due_at, moved.asked_for, moved.state) == (to, to, "scheduled")
    said = api.events()[-1]
    assert said["type"] == "video.publish_rescheduled"
    assert said["data"]["trigger"] == "api"
    assert times(said, "asked_for", "due_at", "previously") == [to, to, command.asked_for]


def test_a_command_is_moved_to_a_wall_clock_time(api: Api) -> None:
    command = scheduled(api)
    said = {"publish_at_local": "2099-12-01T18:00:00", "time_zone": "Europe/Berlin"}
    shown = patch(api, command, **said).json()
    assert shown["publish_at"] == "2099-12-01T17:00:00Z"
    assert {key: shown[key] for key in said} == said
    assert {key: api.events()[-1]["data"][key] for key in ("local_time", "time_zone")} == {
        "local_time": "2099-12-01T18:00:00",
        "time_zone": "Europe/Berlin",
    }


def test_an_instant_takes_the_place_of_a_wall_clock_time(api: Api) -> None:
    command = scheduled(
        api,
        publish_at=None,
        publish_at_local=datetime(2099, 12, 1, 18),  # noqa: DTZ001 - a wall-clock time
        time_zone="Europe/Berlin",
    )
    shown = patch(api, command, publish_at=ahead(2)).json()
    assert (shown["publish_at_local"], shown["time_zone"], shown["fold"]) == (None, None, None)


def test_a_time_that_has_passed_means_now(api: Api) -> None:
    command = scheduled(api)
    patch(api, command, publish_at=ahead(-5))
    assert api.run() == 1
    assert api.command(command.id).state == "published"


def test_a_rescheduled_command_is_not_carried_out_at_its_old_time(api: Api) -> None:
    command = scheduled(api, hours=1)
    patch(api, command, publish_at=ahead(3))
    api.let_pass(hours=2)
    assert api.run() == 0
    api.let_pass(hours=2)
    assert api.run() == 1


def test_only_the_deadline_is_changed(api: Api) -> None:
    command, latest = scheduled(api), ahead(2)
    patch(api, command, publish_before=latest)
    changed = api.command(command.id)
    assert (changed.publish_before, changed.due_at) == (latest, command.due_at)
    said = api.events()[-1]
    assert (said["type"], said["data"]["previously"]) == ("video.publish_rescheduled", None)
    assert times(said, "publish_before", "asked_for") == [latest, command.asked_for]


def test_a_deadline_is_taken_away(api: Api) -> None:
    command = scheduled(api, publish_before=ahead(2))
    assert patch(api, command, publish_before=None).json()["publish_before"] is None


@pytest.mark.parametrize(
    "said", [{"publish_at": "same"}, {"publish_before": "same"}, {"publish_before": None}]
)
def test_a_change_to_the_same_time_makes_no_event(api: Api, said: dict[str, str | None]) -> None:
    latest = ahead(2) if "same" in said.values() else None
    command = scheduled(api, publish_before=latest)
    same: dict[str, Any] = {"publish_at": command.asked_for, "publish_before": latest}
    answer = patch(api, command, **{key: same[key] for key in said})
    assert answer.status_code == 200
    assert api.command(command.id) == command
    assert types(api) == ["publish_scheduled"]


def test_a_command_that_waits_becomes_scheduled_again(api: Api) -> None:
    [command] = api.publish(api.video(status="in_progress"))
    shown = patch(api, command, publish_at=ahead(1)).json()
    assert (shown["state"], shown["reason"]) == ("scheduled", None)
    api.let_pass(hours=1)
    api.run()
    assert api.command(command.id).state == "waiting"


def test_a_waiting_command_that_is_checked_early_keeps_waiting(api: Api) -> None:
    [command] = api.publish(api.video(status="in_progress"))
    patch(api, command, publish_before=ahead(1))
    assert api.command(command.id).state == "waiting"


def test_a_change_to_the_same_time_of_a_waiting_command_makes_no_event(api: Api) -> None:
    latest = ahead(1)
    [command] = api.publish(
        PublishRequest(video_id=api.video(status="in_progress"), publish_before=latest)
    )
    patch(api, command, publish_before=latest)
    assert types(api) == []


@pytest.mark.parametrize("empty", ["publish_at", "publish_at_local", "unpublish_at"])
def test_a_null_time_is_refused(api: Api, empty: str) -> None:
    command = scheduled(api)
    body = {empty: None, "publish_before": ahead(99).isoformat()}
    assert api.call("PATCH", f"/api/v1/publish-commands/{command.id}", json=body).status_code == 422
    assert api.command(command.id) == command


def test_a_page_in_due_order_continues_even_if_its_last_command_has_ended(
    api: Api,
) -> None:
    commands = [scheduled(api, hours) for hours in range(1, 7)]
    page = api.get("/publish-commands?order=due&limit=2").json()
    patch(api, commands[1], publish_at=ahead(99))
    path = page["next"].partition("/api/v1")[2]
    rest = api.get(path.replace("limit=2", "limit=50")).json()["commands"]
    assert {each["id"] for each in rest} >= {str(each.id) for each in commands[2:]}


@pytest.mark.parametrize("key", ["publish", "elsewhere"])
def test_a_page_in_due_order_after_a_command_that_the_caller_has_not_is_refused(
    api: Api, key: str
) -> None:
    before = uuid4() if key == "publish" else scheduled(api).id
    answer = api.get(f"/publish-commands?order=due&before={before}", key)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/no-such-command")


@pytest.mark.parametrize("missing", ["before", "order"])
def test_a_due_time_without_its_command_and_order_is_refused(api: Api, missing: str) -> None:
    query = {"before": str(uuid4()), "order": "due", "before_due_at": "2099-01-01T00:00:00Z"}
    del query[missing]
    assert api.get("/publish-commands", params=query).status_code == 422


def test_a_command_that_has_ended_cannot_be_rescheduled(api: Api) -> None:
    [command] = api.publish(api.video())
    answer = patch(api, command, publish_at=ahead(1))
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/command-ended")
    assert types(api) == ["published"]


def test_a_command_of_another_workspace_cannot_be_rescheduled(api: Api) -> None:
    command = scheduled(api)
    assert patch(api, command, key="elsewhere", publish_at=ahead(2)).status_code == 404
    assert api.command(command.id) == command


def test_a_read_key_cannot_change_anything(api: Api) -> None:
    assert patch(api, scheduled(api), key="read", publish_at=ahead(2)).status_code == 403


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"unpublish_at": "2099-01-01T00:00:00Z"}, "/unpublish_at"),
        (
            {"unpublish_at_local": "2099-01-01T00:00", "time_zone": "Europe/Berlin"},
            "/unpublish_at_local",
        ),
        (
            {"publish_at_local": "2099-03-29T02:30", "time_zone": "Europe/Berlin"},
            "/publish_at_local",
        ),
        ({"publish_before": "2020-01-01T00:00:00Z"}, "/publish_before"),
        ({"publish_at": "2099-01-01T00:00:00Z"}, "/publish_at"),
        (
            {"publish_at": "2099-01-01T00:00:00Z", "publish_before": "2098-01-01T00:00:00Z"},
            "/publish_before",
        ),
        ({}, ""),
        ({"time_zone": "Europe/Berlin"}, ""),
        ({"publish_a": "2099-01-01T00:00:00Z"}, "/publish_a"),
    ],
)
def test_an_invalid_change_of_a_publish_command_is_refused(
    api: Api, said: dict[str, str], pointer: str
) -> None:
    command = scheduled(api, publish_before=ahead(2))
    answer = patch(api, command, **said)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert api.command(command.id) == command
    assert types(api) == ["publish_scheduled"]


@pytest.mark.parametrize("name", ["publish_at", "publish_before"])
def test_an_invalid_change_of_a_withdrawal_is_refused(api: Api, name: str) -> None:
    asked = {"video_id": api.video(), "action": "unpublish", "unpublish_at": ahead(1)}
    [command] = api.accept(PublishRequest.model_validate(asked)).commands
    said: dict[str, Any] = {name: ahead(2)}
    answer = patch(api, command, **said)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{name}"


def test_of_many_concurrent_changes_the_last_event_has_the_commands_time(
    pipeline: Pipeline,
) -> None:
    command = scheduled(pipeline)
    hours = iter(range(2, 10))
    together(8, lambda: move(pipeline, command, ahead(next(hours))))
    told = [event for event in pipeline.events() if event["type"] == "video.publish_rescheduled"]
    assert len(told) == 8
    assert times(told[-1], "due_at") == [pipeline.command(command.id).due_at]
    chain = [times(event, "asked_for", "previously") for event in told]
    assert [before for _, before in chain[1:]] == [to for to, _ in chain[:-1]]


# --- cancel --------------------------------------------------------------------------------------


def test_a_scheduled_command_is_cancelled(api: Api) -> None:
    command = scheduled(api)
    answer = api.call("DELETE", f"/api/v1/publish-commands/{command.id}")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    api.let_pass(hours=2)
    assert api.run() == 0
    said = api.events()[-1]
    assert said["type"] == "video.publish_cancelled"
    assert (said["data"]["action"], said["data"]["trigger"]) == ("publish", "api")
    assert times(said, "asked_for") == [command.asked_for]


def test_a_waiting_command_is_cancelled_and_the_end_of_generation_wakes_nothing(
    api: Api,
) -> None:
    [command] = api.publish(api.video(status="in_progress"))
    api.call("DELETE", f"/api/v1/publish-commands/{command.id}")
    api.execute("UPDATE video SET status = 'completed'")
    assert api.run() == 0
    assert types(api) == ["publish_cancelled"]


def test_a_command_of_another_workspace_cannot_be_cancelled(api: Api) -> None:
    command = scheduled(api)
    path = f"/api/v1/publish-commands/{command.id}"
    assert api.call("DELETE", path, "elsewhere").status_code == 404
    assert api.command(command.id).state == "scheduled"


# --- what a publication made pointless ----------------------------------------------------------


def test_a_publication_ends_the_timed_commands_that_it_makes_pointless(pipeline: Pipeline) -> None:
    video = pipeline.video()
    timed = [scheduled(pipeline, hours, video_id=video) for hours in (1, 2)]
    pipeline.publish(video)
    ended = [pipeline.command(command.id) for command in timed]
    assert [(e.state, e.reason) for e in ended] == [("unchanged", "already_published")] * 2
    assert all(command.finished_at for command in ended)
    assert types(pipeline) == ["publish_scheduled"] * 2 + ["published"]


def test_timed_commands_of_other_videos_stay(pipeline: Pipeline) -> None:
    other = scheduled(pipeline)
    pipeline.publish(pipeline.video())
    assert pipeline.states(other) == ["scheduled"]


def test_a_timed_command_that_brings_edits_stays(pipeline: Pipeline) -> None:
    video = pipeline.video()
    edits = request(video, title="Later").model_copy(update={"publish_at": ahead(1)})
    [timed] = pipeline.accept(edits).commands
    pipeline.publish(video)
    assert pipeline.states(timed) == ["scheduled"]
    pipeline.let_pass(hours=2)
    pipeline.run()
    assert pipeline.states(timed) == ["published"]
    assert column(pipeline.engine, video, "title") == "Later"


def test_a_publish_command_after_a_withdrawal_is_kept(pipeline: Pipeline) -> None:
    video = pipeline.video()
    before = scheduled(pipeline, 1, video_id=video)
    withdrawal = pipeline.accept(
        PublishRequest.model_validate(
            {"video_id": video, "action": "unpublish", "unpublish_at": ahead(2)}
        )
    ).commands[0]
    behind = scheduled(pipeline, 3, video_id=video)
    pipeline.publish(video)
    assert pipeline.states(before, withdrawal, behind) == ["unchanged", "scheduled", "scheduled"]
    pipeline.let_pass(hours=4)
    pipeline.run()
    assert pipeline.states(withdrawal, behind) == ["unpublished", "published"]


def test_a_withdrawal_in_the_same_batch_leaves_later_commands_as_pointless(
    pipeline: Pipeline,
) -> None:
    """It comes first, and is done: what the publication after it makes pointless ends with it."""
    video = pipeline.video()
    pipeline.publish(video)
    timed = scheduled(pipeline, 1, video_id=video)
    withdrawal = PublishRequest.model_validate({"video_id": video, "action": "unpublish"})
    pipeline.publish(withdrawal, PublishRequest(video_id=video))
    assert pipeline.states(timed) == ["unchanged"]


def test_a_withdrawal_makes_no_timed_publication_pointless(pipeline: Pipeline) -> None:
    video = pipeline.video()
    pipeline.publish(video)
    timed = scheduled(pipeline, 1, video_id=video)
    pipeline.publish(PublishRequest.model_validate({"video_id": video, "action": "unpublish"}))
    assert pipeline.states(timed) == ["scheduled"]


# --- find ----------------------------------------------------------------------------------------


def found(api: Api, query: str, key: str = "publish") -> list[str]:
    """The ids on every page, in order."""
    seen: list[str] = []
    path = f"/publish-commands?{query}"
    while path:
        page = api.get(path, key).json()
        seen += [command["id"] for command in page["commands"]]
        path = (page["next"] or "").removeprefix(BASE)
    return seen


def ids(*commands: StoredCommand) -> list[str]:
    return [str(command.id) for command in commands]


def test_commands_are_found_by_state_action_and_time(api: Api) -> None:
    one, two, three = (scheduled(api, hours) for hours in (1, 2, 3))
    asked = {"video_id": one.video_id, "action": "unpublish", "unpublish_at": ahead(2)}
    [withdrawal] = api.accept(PublishRequest.model_validate(asked)).commands
    [done] = api.publish(api.video())
    span = f"due_from={stamp(two.due_at)}&due_until={stamp(three.due_at)}"
    assert found(api, "state=scheduled&action=publish") == ids(three, two, one)
    assert found(api, "action=unpublish") == ids(withdrawal)
    assert found(api, f"{span}&action=publish") == ids(two)
    assert found(api, f"video_id={one.video_id}") == ids(withdrawal, one)
    assert found(api, "state=published") == ids(done)


def test_a_key_of_several_workspaces_may_ask_for_one(api: Api) -> None:
    here, there = scheduled(api), scheduled(api, video_id=api.video(workspace_id=2))
    assert found(api, "", "everywhere") == ids(there, here)
    assert found(api, "workspace_id=2", "everywhere") == ids(there)
    assert found(api, "workspace_id=2") == []
    assert found(api, "workspace_id=1") == found(api, "") == ids(here)


@pytest.mark.parametrize("order", ["due", "newest"])
@pytest.mark.parametrize("limit", [1, 3, 7, 200])
def test_every_page_together_has_every_command_once_and_in_order(
    api: Api, order: str, limit: int
) -> None:
    same = ahead(2)
    hours = (3, 1, 5, 2, 4)
    commands = [scheduled(api, each) for each in hours]
    commands += [scheduled(api, publish_at=same) for _ in range(4)]
    wanted = sorted(commands, key=lambda c: (c.due_at, c.id)) if order == "due" else commands[::-1]
    assert found(api, f"order={order}&limit={limit}") == ids(*wanted)


@pytest.mark.parametrize("query", ["state=later", "action=hide", "due_from=tomorrow", "limit=0"])
def test_an_invalid_search_is_refused(api: Api, query: str) -> None:
    assert api.get(f"/publish-commands?{query}").status_code == 422


def test_the_canarys_commands_are_not_listed(api: Api) -> None:
    mine = scheduled(api)
    api.accept(api.video(), trigger=Trigger.CANARY)
    assert found(api, "") == found(api, "order=due") == ids(mine)


def test_the_canarys_commands_have_no_events(api: Api) -> None:
    asked = PublishRequest(video_id=api.video(), publish_at=ahead(1))
    [command] = api.accept(asked, trigger=Trigger.CANARY).commands
    api.let_pass(hours=1)
    api.run()
    assert api.command(command.id).state == "published"
    assert types(api) == []


# --- retry ---------------------------------------------------------------------------------------


def failed(pipeline: Pipeline, count: int, cause: str, **columns: Any) -> list[StoredCommand]:
    """Commands that failed, all with one cause."""
    commands = pipeline.accept(*(pipeline.video(**columns) for _ in range(count))).commands
    for command in commands:
        pipeline.execute(
            "UPDATE publisher.publish_command SET state = 'failed', finished_at = now(),"
            " attempts = 5, reason = 'error', detail = %s WHERE id = %s",
            f"{cause}: no luck",
            command.id,
        )
    return commands


def test_failures_are_counted_by_their_causes(api: Api) -> None:
    failed(api, 2, "UniqueViolation")
    last = failed(api, 3, "RaiseException")[-1]
    failed(api, 1, "UniqueViolation", workspace_id=2)
    causes = api.get("/publish-commands/causes").json()["causes"]
    assert [(c["cause"], c["commands"]) for c in causes] == [
        ("RaiseException", 3),
        ("UniqueViolation", 2),
    ]
    assert causes[0]["example"] == str(last.id)


def test_causes_are_counted_among_the_newest_failed_commands(api: Api) -> None:
    failed(api, 2, "UniqueViolation")
    failed(api, 3, "RaiseException")
    with mock.patch.object(changes, "LOOKED_AT", 3):
        [cause] = api.get("/publish-commands/causes").json()["causes"]
    assert (cause["cause"], cause["commands"]) == ("RaiseException", 3)


def test_only_what_failed_for_the_cause_is_retried(api: Api) -> None:
    one, other = failed(api, 2, "UniqueViolation"), failed(api, 2, "RaiseException")
    answer = api.post("/publish-commands/retry", json={"cause": "RaiseException"})
    assert (answer.status_code, answer.json()["commands"]) == (200, 2)
    api.let_pass(hours=1)
    api.run()
    assert api.states(*one, *other) == ["failed"] * 2 + ["published"] * 2


def test_everything_that_failed_here_is_retried(api: Api) -> None:
    here, there = failed(api, 2, "A"), failed(api, 2, "B", workspace_id=2)
    assert api.post("/publish-commands/retry", json={}).json()["commands"] == 2
    assert api.states(*here, *there) == ["scheduled"] * 2 + ["failed"] * 2


def test_a_bulk_retry_is_spread_over_time_oldest_first(api: Api) -> None:
    commands = failed(api, 10, "RaiseException")
    answer = api.post("/publish-commands/retry", json={"per_second": 2}).json()
    due = [api.command(command.id).due_at for command in commands]
    assert [each - due[0] for each in due] == [timedelta(seconds=n / 2) for n in range(10)]
    assert datetime.fromisoformat(answer["last_due_at"]) == due[-1]


def test_a_retry_without_failed_commands_is_not_an_error(api: Api) -> None:
    answer = api.post("/publish-commands/retry", json={"cause": "Nobody"})
    assert answer.json() == {"commands": 0, "last_due_at": None}


# --- races ---------------------------------------------------------------------------------------

ROUND = 50


@pytest.fixture
def videos(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A thousand ready drafts, published a few at a time, so that both sides win now and then."""
    monkeypatch.setattr(run, "BATCH", 3)
    with transaction(pipeline.engine) as tx:
        return make_ready_videos(tx, 1_000)


def race(
    pipeline: Pipeline, videos: list[int], change: Callable[[StoredCommand], object], least: int
) -> list[StoredCommand]:
    """Fifty commands at a time are carried out on one connection and changed on another.

    This number of commands at least, and further ones until each side has been the first one.
    """
    late: list[StoredCommand] = []

    def change_all(commands: list[StoredCommand], start: threading.Barrier) -> None:
        start.wait()
        for command in commands:
            try:
                change(command)
            except CommandEnded:
                late.append(command)

    for first in range(0, len(videos), ROUND):
        if first >= least and 0 < len(late) < first:
            break
        commands = pipeline.accept(*videos[first : first + ROUND]).commands
        start = threading.Barrier(2)
        backwards = commands[::-1]
        changer = threading.Thread(target=change_all, args=(backwards, start))
        changer.start()
        start.wait()
        while changer.is_alive():
            pipeline.run()
        changer.join()
        pipeline.run()
    return late


def outcomes(pipeline: Pipeline) -> dict[int, tuple[str, bool]]:
    """By video: its command's state, and whether it is a draft."""
    found = pipeline.rows(
        "SELECT v.id, c.state, v.is_draft FROM video v"
        " JOIN publisher.publish_command c ON c.video_id = v.id"
    )
    return {video: (state, is_draft) for video, state, is_draft in found}


@pytest.mark.usefixtures("patient_locks")
@pytest.mark.slow
def test_of_a_thousand_commands_each_is_cancelled_or_published_never_both(
    pipeline: Pipeline, videos: list[int]
) -> None:
    def change(command: StoredCommand) -> None:
        cancel(pipeline.engine, pipeline.waker, command.id, SOMEBODY)

    late = race(pipeline, videos, change, 1_000)
    became = outcomes(pipeline)
    assert set(became.values()) == {("cancelled", True), ("published", False)}
    assert {v for v, (state, _) in became.items() if state == "published"} == {
        command.video_id for command in late
    }
    told = {(int(e["subject"]), e["type"]) for e in pipeline.events()}
    assert told == {
        (v, "video.published" if state == "published" else "video.publish_cancelled")
        for v, (state, _) in became.items()
    }
    assert len(pipeline.events()) == 1_000


@pytest.mark.usefixtures("patient_locks")
def test_of_two_hundred_commands_each_is_moved_or_published_never_both(
    pipeline: Pipeline, videos: list[int]
) -> None:
    to = ahead(5)
    late = race(pipeline, videos, lambda c: move(pipeline, c, to), 200)
    became = outcomes(pipeline)
    assert set(became.values()) == {("scheduled", True), ("published", False)}
    assert {v for v, (state, _) in became.items() if state == "published"} == {
        command.video_id for command in late
    }
    told = Counter((int(e["subject"]), e["type"]) for e in pipeline.events())
    assert told == Counter(
        (v, "video.published" if state == "published" else "video.publish_rescheduled")
        for v, (state, _) in became.items()
    )


def move(pipeline: Pipeline, command: StoredCommand, to: datetime) -> None:
    reschedule(pipeline.engine, pipeline.waker, command.id, CommandChange(publish_at=to), SOMEBODY)


def times(event: dict[str, Any], *names: str) -> list[datetime]:
    return [datetime.fromisoformat(event["data"][name]) for name in names]


def stamp(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
