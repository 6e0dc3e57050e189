"""The console's calendar without a script: its data, its list, the forms that change commands."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID

import psycopg
import pytest

from schemas.command import Action, PublishRequest
from tests.support.api import Api
from tests.support.console_client import Console
from tests.support.plans import executed, record_plans
from worker.operations import calendar

DAY = "2027-03-26"
# Many commands: open ones ahead, ended ones before now, each with a time.
FILL = """
INSERT INTO publisher.publish_command
    (id, video_id, workspace_id, trigger, state, asked_for, due_at, finished_at, correlation_id)
SELECT gen_random_uuid(), 1000000 + n, n % 4 + 1, 'api',
       CASE WHEN due < now() THEN 'published' ELSE 'scheduled' END, due, due,
       CASE WHEN due < now() THEN due END, 'c-1'
FROM generate_series(1, 20000) n, LATERAL (SELECT now() + (n - 10000) * interval '1 minute') t (due)
"""
NINE = datetime(2027, 3, 26, 9, tzinfo=UTC)
WEEK = f"/console/calendar/?view=week&date={DAY}&zone=Europe/Berlin"


def scheduled(api: Api, at: datetime = NINE, **columns: Any) -> UUID:
    """A command to publish a video at a time."""
    request = PublishRequest(video_id=api.video(**columns), publish_at=at)
    return api.accept(request).commands[0].id


def listed(console: Console, zone: str = "Europe/Berlin", **more: Any) -> Any:
    """What the calendar's script gets for the week."""
    address = "/console/calendar/commands"
    return console.get(address, view="week", date=DAY, zone=zone, **more).json()


def test_a_ranges_commands_are_listed_with_titles_on_the_clocks_of_the_zone(api: Api) -> None:
    command = scheduled(api, title="What is attention?")
    scheduled(api, NINE + timedelta(days=30))
    [found] = listed(Console.sign_in(api))["commands"]
    assert (found["id"], found["title"]) == (str(command), "What is attention?")
    assert (found["local"], found["action"], found["state"]) == (
        "2027-03-26T10:00:00",
        "publish",
        "scheduled",
    )
    [found] = listed(Console.sign_in(api), "Asia/Kathmandu")["commands"]
    assert found["local"] == "2027-03-26T14:45:00"


def test_what_has_ended_is_shown_in_its_place_but_not_what_asked_for_no_time(api: Api) -> None:
    console = Console.sign_in(api)
    video = api.video()
    api.accept(PublishRequest(video_id=video, publish_at=datetime.now(UTC)))
    api.accept(api.video())
    api.run()
    found = console.get("/console/calendar/commands", view="week").json()["commands"]
    assert [(each["video_id"], each["state"], each["is_open"]) for each in found] == [
        (video, "published", False)
    ]


def test_another_workspaces_commands_are_not_shown(api: Api) -> None:
    scheduled(api)
    assert listed(Console.sign_in(api, "elsewhere"))["commands"] == []
    everywhere = Console.sign_in(api, "everywhere")
    assert [each["workspace_id"] for each in listed(everywhere)["commands"]] == [1]
    assert listed(everywhere, workspace=2)["commands"] == []


def test_more_than_a_page_shows_is_said(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "MOST", 2)
    commands = [scheduled(api, NINE + timedelta(minutes=minute)) for minute in range(3)]
    console = Console.sign_in(api)
    found = listed(console)
    assert [each["id"] for each in found["commands"]] == [str(each) for each in commands[:2]]
    assert found["is_complete"] is False
    assert "choose a shorter range" in console.get(WEEK).text


def test_a_range_is_read_by_indexes_a_bounded_number_of_rows(
    api: Api, admin: psycopg.Connection
) -> None:
    api.execute(FILL)
    api.execute("ANALYZE publisher.publish_command")
    record_plans(api.engine, admin)
    begin = datetime.now(UTC) - timedelta(days=3)
    for workspace_id in (1, None):
        with executed(api.engine) as plans:
            found = calendar.read_schedule(
                api.engine, begin, begin + timedelta(days=6), "UTC", workspace_id
            )
        [plan] = [each for each in plans if "ahead" in each.text]
        kinds = {kind for table, kind in plan.scans() if table == "publish_command"}
        assert "Seq Scan" not in kinds, workspace_id
        assert plan.count_read("publish_command") <= 4 * (calendar.MOST + 1)
        assert (len(found.commands), found.is_complete) == (calendar.MOST, False)


@pytest.mark.parametrize(
    ("day", "zone", "said"),
    [
        (
            "2027-03-26",
            "Europe/Berlin",
            "Sun 28 March 2027: clocks go forward 02:00 → 03:00 in Europe/Berlin",
        ),
        (
            "2026-10-25",
            "Europe/Berlin",
            "Sun 25 October 2026: clocks go back 03:00 → 02:00 in Europe/Berlin",
        ),
        (
            "2026-10-04",
            "Australia/Lord_Howe",
            "Sun 4 October 2026: clocks go forward 02:00 → 02:30 in Australia/Lord_Howe",
        ),
        (
            "2026-04-24",
            "Africa/Cairo",
            "Fri 24 April 2026: clocks go forward 00:00 → 01:00 in Africa/Cairo",
        ),
        ("2027-03-26", "Asia/Kathmandu", None),
        ("2027-03-19", "Europe/Berlin", None),
    ],
)
def test_changes_of_the_clocks_are_marked_in_words(
    api: Api, day: str, zone: str, said: str | None
) -> None:
    console = Console.sign_in(api)
    address = "/console/calendar/commands"
    found = console.get(address, view="week", date=day, zone=zone).json()["clock_changes"]
    assert found == ([said] if said else [])
    page = console.get("/console/calendar/", view="week", date=day, zone=zone).text
    assert ("clock-change" in page) == bool(said)


def test_commands_of_a_video_that_get_in_each_others_way_are_marked(api: Api) -> None:
    video, other = api.video(), api.video()
    for minutes, action in ((0, "publish"), (60, "publish"), (120, "unpublish")):
        at: Any = {f"{action}_at": NINE + timedelta(minutes=minutes)}
        api.accept(PublishRequest(video_id=video, action=Action(action), **at))
    scheduled(api)
    window = PublishRequest(
        video_id=other, publish_at=NINE, unpublish_at=NINE + timedelta(seconds=30)
    )
    api.accept(window)
    found = listed(Console.sign_in(api))["commands"]
    marks = {(each["video_id"], each["local"][11:16]): each["conflict"] for each in found}
    assert "Two commands in a row publish this video" in marks[video, "10:00"]
    assert "Two commands in a row publish this video" in marks[video, "11:00"]
    assert marks[video, "12:00"] is None
    assert "within a minute" in marks[other, "10:00"]
    assert sum(mark is None for mark in marks.values()) == 2


def test_a_command_is_rescheduled_by_a_form_and_put_back(api: Api) -> None:
    command = scheduled(api)
    console = Console.sign_in(api)
    path = f"/console/calendar/commands/{command}/reschedule"
    form = {"date": "2027-03-27", "time": "18:00", "zone": "Europe/Berlin", "after": WEEK}
    page = console.post(path, **form)
    assert page.url.path == "/console/calendar/"
    assert "scheduled for Sat 27 March 2027, 18:00 in Europe/Berlin" in page.text
    moved = api.command(command)
    assert (moved.due_at, moved.time_zone) == (NINE + timedelta(hours=32), "Europe/Berlin")
    fields = re.findall(r'name="(at|local|zone|fold|after)" value="([^"]*)"', page.text)
    undo = {name: unescape(value) for name, value in fields}
    assert console.post(path, **undo).status_code == 200
    back = api.command(command)
    assert (back.due_at, back.local_time, back.time_zone) == (NINE, None, None)


@pytest.mark.parametrize(
    ("date", "time", "said"),
    [
        ("2027-03-28", "02:30", "does not exist in Europe/Berlin"),
        ("2027-10-31", "02:30", "exists twice in Europe/Berlin"),
        ("", "18:00", "must be a wall-clock time"),
    ],
)
def test_a_time_that_names_no_instant_is_refused_with_the_apis_words(
    api: Api, date: str, time: str, said: str
) -> None:
    command = scheduled(api)
    console = Console.sign_in(api)
    path = f"/console/calendar/commands/{command}/reschedule"
    answer = console.post(path, date=date, time=time, zone="Europe/Berlin")
    assert (answer.status_code, api.command(command).due_at) == (422, NINE)
    assert said in answer.text


def test_the_second_of_two_equal_wall_clock_times_can_be_chosen(api: Api) -> None:
    command = scheduled(api)
    path = f"/console/calendar/commands/{command}/reschedule"
    form = {"date": "2027-10-31", "time": "02:30", "zone": "Europe/Berlin", "fold": "1"}
    assert Console.sign_in(api).post(path, **form).status_code == 200
    assert api.command(command).due_at == datetime(2027, 10, 31, 1, 30, tzinfo=UTC)


def test_a_command_is_cancelled_once_and_a_cancelled_one_cannot_be_moved(api: Api) -> None:
    command = scheduled(api)
    console = Console.sign_in(api)
    path = f"/console/calendar/commands/{command}"
    assert "now cancelled" in console.post(f"{path}/cancel", after=WEEK).text
    assert api.command(command).state == "cancelled"
    answer = console.post(f"{path}/reschedule", date=DAY, time="18:00", zone="UTC")
    assert answer.status_code == 409
    assert "The command ended as" in answer.text
    assert "cannot be changed any more" in console.get(path).text


def test_a_change_names_who_made_it(api: Api) -> None:
    command = scheduled(api)
    console = Console.sign_in(api)
    console.post(f"/console/calendar/commands/{command}/cancel")
    console.post(
        f"/console/calendar/commands/{command}/reschedule", date=DAY, time="18:00", zone="UTC"
    )
    rows = api.rows(
        "SELECT action, door, outcome FROM publisher.audit_entry WHERE subject_id = %s ORDER BY id",
        str(command),
    )
    assert rows == [
        ("command.cancel", "console", "ok"),
        ("command.reschedule", "console", "refused"),
    ]


def test_a_key_that_only_reads_and_another_workspaces_key_change_nothing(api: Api) -> None:
    command = scheduled(api)
    path = f"/console/calendar/commands/{command}"
    for caller, status in (("read", 403), ("elsewhere", 404)):
        console = Console.sign_in(api, caller)
        assert console.post(f"{path}/cancel").status_code == status
        form = {"date": DAY, "time": "18:00", "zone": "UTC"}
        assert console.post(f"{path}/reschedule", **form).status_code == status
        assert 'class="change"' not in console.get(WEEK).text
    assert api.command(command).due_at == NINE


def test_the_message_after_a_change_leads_to_no_other_site(api: Api) -> None:
    command = scheduled(api)
    console = Console.sign_in(api)
    path = f"/console/calendar/commands/{command}/cancel"
    page = console.post(path, after="https://evil.example/console/calendar/?done=moved")
    assert page.url.host == "testserver"


def test_an_address_with_an_unknown_zone_or_view_is_refused(api: Api) -> None:
    console = Console.sign_in(api)
    for parameters in ({"zone": "Europe/Nowhere"}, {"view": "year"}, {"date": "0001-01-01"}):
        assert console.get("/console/calendar/", **parameters).status_code == 422
