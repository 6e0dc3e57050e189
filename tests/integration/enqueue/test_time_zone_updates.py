"""Zones: what was told a wall-clock time keeps it, whatever a government does to the clocks."""

import zoneinfo
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from db.commands.inbox import StoredCommand
from publish_worker_client.events.names import Trigger
from schemas.command import CommandChange, PublishRequest
from tests.support.pipeline import Pipeline
from worker.enqueue import time_zone_updates
from worker.enqueue.changes import Changer, reschedule
from worker.enqueue.refusals import RequestInvalid
from worker.rules import local_time

Rules = Callable[[str, str], None]
SOMEBODY = Changer(trigger=Trigger.API, workspace_id=None)


@pytest.fixture
def rules(tmp_path: Path) -> Generator[Rules]:
    """Gives a zone the rules of another one, in a time-zone folder in front of the others."""
    before = zoneinfo.TZPATH

    def give(zone: str, those_of: str) -> None:
        file = tmp_path / zone
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tzif(those_of))
        (tmp_path / "tzdata.zi").write_text("# version 2099a\n")
        zoneinfo.reset_tzpath(to=[str(tmp_path), *before])

    yield give
    zoneinfo.reset_tzpath(to=before)
    zoneinfo.ZoneInfo.clear_cache()
    local_time.get_zone_digest.cache_clear()


def tzif(zone: str) -> bytes:
    """A zone's compiled rules, of the system or the wheel."""
    for folder in zoneinfo.TZPATH:
        if (path := Path(folder, zone)).is_file():
            return path.read_bytes()
    return resources.files("tzdata.zoneinfo").joinpath(*zone.split("/")).read_bytes()


def told(pipeline: Pipeline, local: str, zone: str = "Europe/Berlin", **said: Any) -> StoredCommand:
    """A command for a wall-clock time."""
    asked = {"video_id": pipeline.video(), "publish_at_local": local, "time_zone": zone, **said}
    return pipeline.accept(PublishRequest.model_validate(asked)).commands[0]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def digest(pipeline: Pipeline, command: StoredCommand) -> str:
    read = "SELECT zone_digest FROM publisher.publish_command WHERE id = %s"
    return pipeline.value(read, command.id)


def moves(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [e for e in pipeline.events() if e["type"] == "video.publish_rescheduled"]


# --- new rules -----------------------------------------------------------------------------------


def test_a_moved_command_is_reported_and_has_an_event(pipeline: Pipeline, rules: Rules) -> None:
    command = told(pipeline, "2099-12-01T18:00")
    rules("Europe/Berlin", "Atlantic/Reykjavik")
    [moved] = time_zone_updates.recompute_instants(pipeline.engine).moved
    assert (moved.command_id, moved.video_id) == (command.id, command.video_id)
    assert (moved.time_zone, moved.local_time) == ("Europe/Berlin", at("2099-12-01T18:00"))
    assert (moved.before, moved.after) == (at("2099-12-01T17:00Z"), at("2099-12-01T18:00Z"))
    now = pipeline.command(command.id)
    assert now.asked_for == now.due_at == moved.after
    assert (now.local_time, now.time_zone) == (moved.local_time, moved.time_zone)
    [event] = moves(pipeline)
    assert event["causationid"] == str(command.id)
    assert event["data"]["trigger"] == "schedule"
    assert at(event["data"]["due_at"]) == moved.after
    assert at(event["data"]["previously"]) == moved.before
    assert event["data"]["local_time"] == "2099-12-01T18:00:00"


def test_it_is_published_at_its_new_time(pipeline: Pipeline, rules: Rules) -> None:
    local = (datetime.now(zoneinfo.ZoneInfo("Etc/UTC")) + timedelta(hours=1)).replace(tzinfo=None)
    command = told(pipeline, local.isoformat(), "Etc/UTC")
    rules("Etc/UTC", "Etc/GMT+5")  # five hours west: later
    time_zone_updates.recompute_instants(pipeline.engine)
    pipeline.let_pass(hours=2)
    assert pipeline.run() == 0
    pipeline.let_pass(hours=5)
    assert pipeline.run() == 1
    assert pipeline.command(command.id).state == "published"


def test_a_command_that_moves_into_the_past_is_due_now(pipeline: Pipeline, rules: Rules) -> None:
    local = (datetime.now(zoneinfo.ZoneInfo("Etc/UTC")) + timedelta(hours=1)).replace(tzinfo=None)
    command = told(pipeline, local.isoformat(), "Etc/UTC")
    rules("Etc/UTC", "Etc/GMT-5")  # five hours ahead: earlier
    [moved] = time_zone_updates.recompute_instants(pipeline.engine).moved
    assert moved.after == moved.before - timedelta(hours=5)
    assert pipeline.run() == 1
    assert pipeline.command(command.id).state == "published"


def test_an_older_release_of_the_rules_changes_nothing(pipeline: Pipeline, rules: Rules) -> None:
    """Two hosts, one of them not updated yet: else they would move commands to and fro for ever."""
    command = told(pipeline, "2099-12-01T18:00")
    rules("Europe/Berlin", "Atlantic/Reykjavik")
    Path(zoneinfo.TZPATH[0], "tzdata.zi").write_text("# version 1999a\n")
    assert time_zone_updates.recompute_instants(pipeline.engine).moved == []
    assert pipeline.command(command.id).due_at == command.due_at


def test_what_is_recomputed_twice_moves_once(pipeline: Pipeline, rules: Rules) -> None:
    told(pipeline, "2099-12-01T18:00")
    rules("Europe/Berlin", "Asia/Tokyo")
    assert len(time_zone_updates.recompute_instants(pipeline.engine).moved) == 1
    assert time_zone_updates.recompute_instants(pipeline.engine).moved == []
    assert len(moves(pipeline)) == 1


def test_rules_that_come_back_bring_the_instant_back(pipeline: Pipeline, rules: Rules) -> None:
    command = told(pipeline, "2099-12-01T18:00")
    berlin = tzif("Europe/Berlin")
    rules("Europe/Berlin", "Asia/Tokyo")
    time_zone_updates.recompute_instants(pipeline.engine)
    Path(zoneinfo.TZPATH[0], "Europe/Berlin").write_bytes(berlin)
    time_zone_updates.recompute_instants(pipeline.engine)
    assert pipeline.command(command.id).due_at == command.due_at


def test_new_rules_that_move_nothing_make_no_event(pipeline: Pipeline, rules: Rules) -> None:
    command = told(pipeline, "2099-12-01T18:00")
    old = digest(pipeline, command)
    rules("Europe/Berlin", "Europe/Paris")  # another history, the same future
    assert time_zone_updates.recompute_instants(pipeline.engine).moved == []
    assert digest(pipeline, command) != old
    assert pipeline.command(command.id) == command
    assert moves(pipeline) == []


def test_without_new_rules_no_command_is_written(pipeline: Pipeline) -> None:
    command = told(pipeline, "2099-12-01T18:00")
    assert time_zone_updates.recompute_instants(pipeline.engine).moved == []
    assert pipeline.command(command.id) == command


def test_only_the_zone_with_new_rules_moves(pipeline: Pipeline, rules: Rules) -> None:
    berlin, paris = (
        told(pipeline, "2099-12-01T18:00"),
        told(pipeline, "2099-12-01T18:00", "Europe/Paris"),
    )
    instant = pipeline.accept(
        PublishRequest(video_id=pipeline.video(), publish_at=at("2099-12-01T17:00Z"))
    ).commands[0]
    rules("Europe/Berlin", "Asia/Tokyo")
    assert [
        moved.command_id for moved in time_zone_updates.recompute_instants(pipeline.engine).moved
    ] == [berlin.id]
    assert [pipeline.command(each.id) for each in (paris, instant)] == [paris, instant]


def test_only_what_is_still_to_come_moves(pipeline: Pipeline, rules: Rules) -> None:
    done = told(pipeline, "2020-12-01T18:00")
    waiting = told(pipeline, "2020-12-01T18:00", video_id=pipeline.video(status="in_progress"))
    pipeline.run()
    rules("Europe/Berlin", "Asia/Tokyo")
    assert time_zone_updates.recompute_instants(pipeline.engine).moved == []
    assert pipeline.states(done, waiting) == ["published", "waiting"]


def test_both_ends_of_a_window_move(pipeline: Pipeline, rules: Rules) -> None:
    beginning = told(pipeline, "2099-12-01T18:00", unpublish_at_local="2099-12-01T19:00")
    rules("Europe/Berlin", "Asia/Tokyo")
    moved = time_zone_updates.recompute_instants(pipeline.engine).moved
    assert [each.after for each in moved] == [at("2099-12-01T09:00Z"), at("2099-12-01T10:00Z")]
    assert beginning.counterpart_id in {each.command_id for each in moved}


def test_a_local_time_that_the_new_rules_skip_or_repeat_is_kept(
    pipeline: Pipeline, rules: Rules
) -> None:
    skipped = told(pipeline, "2037-03-29T02:30", "Africa/Lagos")
    twice = told(pipeline, "2037-10-25T02:30", "Africa/Lagos")
    rules("Africa/Lagos", "Europe/Berlin")
    time_zone_updates.recompute_instants(pipeline.engine)
    assert pipeline.command(skipped.id).due_at == at("2037-03-29T01:30Z")
    assert pipeline.command(twice.id).due_at == at("2037-10-25T00:30Z")


def test_a_zone_that_this_machine_does_not_know_keeps_its_instants(pipeline: Pipeline) -> None:
    command = told(pipeline, "2099-12-01T18:00")
    pipeline.execute("UPDATE publisher.publish_command SET time_zone = 'Mars/Base'")
    assert time_zone_updates.recompute_instants(pipeline.engine).moved == []
    assert pipeline.command(command.id).due_at == command.due_at


def test_many_are_recomputed_in_steps(
    pipeline: Pipeline, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_zone_updates, "BATCH", 7)
    commands = [told(pipeline, "2099-12-01T18:00") for _ in range(21)]
    rules("Europe/Berlin", "Asia/Tokyo")
    assert {
        moved.command_id for moved in time_zone_updates.recompute_instants(pipeline.engine).moved
    } == {command.id for command in commands}
    assert len(moves(pipeline)) == 21


def test_a_command_whose_deadline_was_changed_meanwhile_still_moves(
    pipeline: Pipeline, rules: Rules
) -> None:
    command = told(pipeline, "2099-12-01T18:00")
    rules("Europe/Berlin", "Asia/Tokyo")
    forget()  # as a process that starts after the update
    change = CommandChange(publish_before=at("2100-01-01T00:00Z"))
    reschedule(pipeline.engine, pipeline.waker, command.id, change, SOMEBODY)
    assert [
        moved.command_id for moved in time_zone_updates.recompute_instants(pipeline.engine).moved
    ] == [command.id]


def test_the_command_line_recomputes_and_reports(pipeline: Pipeline, rules: Rules) -> None:
    command = told(pipeline, "2099-12-01T18:00")
    rules("Europe/Berlin", "Asia/Tokyo")
    done = pipeline.command_line("commands", "recompute")
    assert done.exit_code == 0
    assert str(command.id) in done.stdout
    assert "1 commands moved" in done.stderr


def forget() -> None:
    zoneinfo.ZoneInfo.clear_cache()
    local_time.get_zone_digest.cache_clear()


# --- odd rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "local", "fold", "instant"),
    [
        # Half an hour forward on 4 October 2026, and back on 4 April 2027.
        ("Australia/Lord_Howe", "2026-10-04T01:59:59", None, "2026-10-03T15:29:59Z"),
        ("Australia/Lord_Howe", "2026-10-04T02:30", None, "2026-10-03T15:30Z"),
        ("Australia/Lord_Howe", "2027-04-04T01:45", 0, "2027-04-03T14:45Z"),
        ("Australia/Lord_Howe", "2027-04-04T01:45", 1, "2027-04-03T15:15Z"),
        ("Australia/Lord_Howe", "2027-04-04T02:00", None, "2027-04-03T15:30Z"),
        # At midnight: forward on a Friday in April, back on a Friday in October.
        ("Africa/Cairo", "2027-04-29T23:59:59", None, "2027-04-29T21:59:59Z"),
        ("Africa/Cairo", "2027-04-30T01:00", None, "2027-04-29T22:00Z"),
        ("Africa/Cairo", "2027-10-28T23:30", 0, "2027-10-28T20:30Z"),
        ("Africa/Cairo", "2027-10-28T23:30", 1, "2027-10-28T21:30Z"),
        ("Africa/Cairo", "2027-10-29T00:00", None, "2027-10-28T22:00Z"),
        # From one side of the date line to the other, over a day that never was.
        ("Pacific/Apia", "2011-12-29T23:59:59", None, "2011-12-30T09:59:59Z"),
        ("Pacific/Apia", "2011-12-31T00:00", None, "2011-12-30T10:00Z"),
        ("Pacific/Apia", "2021-04-04T03:30", 0, "2021-04-03T13:30Z"),
        ("Pacific/Apia", "2021-04-04T03:30", 1, "2021-04-03T14:30Z"),
    ],
)
def test_the_instant_that_is_stored_is_the_one_that_the_clocks_there_show(
    pipeline: Pipeline, zone: str, local: str, fold: int | None, instant: str
) -> None:
    command = told(pipeline, local, zone, fold=fold)
    assert (command.asked_for, command.local_time) == (at(instant), at(local))
    shown = at(instant).astimezone(zoneinfo.ZoneInfo(zone))
    assert (shown.replace(tzinfo=None, fold=0), shown.fold) == (at(local), fold or 0)


@pytest.mark.parametrize(
    ("zone", "local", "nearest"),
    [
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-04T02:30:00"),
        ("Africa/Cairo", "2027-04-30T00:30", "2027-04-30T01:00:00"),
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-31T00:00:00"),
    ],
)
def test_a_local_time_that_the_clocks_skip_is_refused_with_the_next_one(
    pipeline: Pipeline, zone: str, local: str, nearest: str
) -> None:
    with pytest.raises(RequestInvalid, match=nearest):
        told(pipeline, local, zone)
    assert pipeline.value("SELECT count(*) FROM publisher.publish_command") == 0
