"""The console's calendar without a script: its data, its list, the forms that change commands."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from html import unescape
from typing import Any
from uuid import UUID

import psycopg
import pytest

from db.commands import calendar_pages
from publish_worker_client.events.names import Action
from schemas.command import PublishRequest
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


class AtNine(datetime):
    """A clock that shows NINE."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The same time in any zone."""
        return NINE.astimezone(tz)


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
    now = datetime.now(UTC)
    api.accept(PublishRequest(video_id=video, publish_at=now))
    api.accept(api.video())
    api.run()
    week = {"view": "week", "date": f"{now:%Y-%m-%d}"}
    found = console.get("/console/calendar/commands", **week).json()["commands"]
    assert [(each["video_id"], each["state"], each["is_open"]) for each in found] == [
        (video, "published", False)
    ]


def test_another_workspaces_commands_are_not_shown(api: Api) -> None:
    scheduled(api)
    assert listed(Console.sign_in(api, "elsewhere"))["commands"] == []
    everywhere = Console.sign_in(api, "everywhere")
    assert [each["workspace_id"] for each in listed(everywhere)["commands"]] == [1]
    assert listed(everywhere, workspace=2)["commands"] == []


def test_more_than_a_page_is_counted_by_day_and_hour_and_listed_in_pages(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calendar, "PAGE", 2)
    minutes = (0, 0, 0, 20, 60)
    commands = {str(scheduled(api, NINE + timedelta(minutes=each))) for each in minutes}
    console = Console.sign_in(api)
    found = listed(console)
    assert (found["commands"], found["is_complete"]) == ([], False)
    assert [(each["local"], each["text"]) for each in found["counts"]] == [
        ("2027-03-26T10:00:00", "4 commands"),
        ("2027-03-26T11:00:00", "1 command"),
    ]
    month = console.get(WEEK.replace("week", "month")).text
    [day] = re.findall(r'href="([^"]+view=day&amp;date=2027-03-26[^"]+)">Fri 26 Mar', month)
    pages = [console.get(unescape(day)).text]
    while later := re.findall(r'href="([^"]+)" rel="next">Later', pages[-1]):
        pages.append(console.get(unescape(later[0])).text)
    listings = [re.findall(r'<tr id="command-([^"]+)"', page) for page in pages]
    assert [len(listing) for listing in listings] == [2, 2, 1]
    assert {each for listing in listings for each in listing} == commands


def test_a_list_of_several_pages_begins_today(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "PAGE", 2)
    monkeypatch.setattr(calendar, "datetime", AtNine)
    for days in (-2, -1, 0, 1):
        scheduled(api, NINE + timedelta(days=days), title=f"day {days}")
    console = Console.sign_in(api)
    begin = f"{NINE - timedelta(days=3):%Y-%m-%d}"
    page = console.get("/console/calendar/", view="agenda", date=begin).text
    assert titles(page) == ["day 0", "day 1"]
    [first] = re.findall(r'href="([^"]+)">From', page)
    assert titles(console.get(unescape(first)).text) == ["day -2", "day -1"]


def titles(page: str) -> list[str]:
    """The titles in the list."""
    return re.findall(r"<bdi>([^<]+)</bdi></a>", page.partition('id="agenda"')[2])


def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    command = scheduled(api)
    console = Console.sign_in(api)
    assert api.client
    address = f"{WEEK.replace('/?', '/commands?')}"
    tag = console.get(address).headers["ETag"]
    headers = {"If-None-Match": tag}
    scheduled(api, NINE + timedelta(days=30))  # it is not in the range
    assert api.client.get(address, headers=headers).status_code == 304
    assert tag in unescape(console.get(WEEK).text)
    console.post(f"/console/calendar/commands/{command}/cancel")
    answer = api.client.get(address, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["ETag"] != tag


def test_conflicts_are_found_across_the_pages_of_the_list(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calendar, "PAGE", 1)
    video = api.video()
    for day in (0, 1):
        api.accept(PublishRequest(video_id=video, publish_at=NINE + timedelta(days=day)))
    page = Console.sign_in(api).get(WEEK).text
    assert page.count('<tr id="command-') == 1
    assert "Two commands in a row publish this video" in page


@pytest.mark.parametrize("place", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_place_outside_of_the_range_is_the_first_page(
    api: Api, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(calendar, "PAGE", 1)
    for day in (0, 1):
        scheduled(api, NINE + timedelta(days=day), title=f"day {day}")
    page = Console.sign_in(api).get(
        "/console/calendar/", view="week", date=DAY, from_at=place, zone="Europe/Berlin"
    )
    assert page.status_code == 200
    assert "day 0" in page.text


def test_between_commands_that_asked_for_no_time_the_others_are_found(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each state a number of commands is looked at; the next page goes on from there."""
    monkeypatch.setattr(calendar_pages, "EXAMINED", 3)
    now = datetime.now(UTC)
    for number in range(8):
        at = now + timedelta(minutes=number)
        api.accept(PublishRequest(video_id=api.video(title=f"timed {number}"), publish_at=at))
    api.execute(
        "UPDATE publisher.publish_command SET state = 'published', finished_at = now(),"
        " asked_for = CASE WHEN due_at = (SELECT max(due_at) FROM publisher.publish_command)"
        " THEN asked_for END"
    )
    bounds = [now - timedelta(hours=1), now + timedelta(hours=1)]
    place, found, pages = None, list[str | None](), 0
    while pages == 0 or place:
        schedule = calendar.read_schedule(api.engine, bounds, "UTC", 1, place)
        found += [each.title for each in schedule.commands]
        place, pages = schedule.next, pages + 1
    assert (found, pages) == (["timed 7"], 3)


def test_a_range_is_read_by_indexes_a_bounded_number_of_rows(
    api: Api, admin: psycopg.Connection
) -> None:
    api.execute(FILL)
    api.execute("ANALYZE publisher.publish_command")
    record_plans(api.engine, admin)
    begin = datetime.now(UTC) - timedelta(days=3)
    bounds = [begin + timedelta(days=day) for day in range(7)]
    for workspace_id in (1, None):
        with executed(api.engine) as plans:
            found = calendar.read_schedule(api.engine, bounds, "UTC", workspace_id)
        pages = [each for each in plans if "row_number" in each.text]
        [counts] = [each for each in plans if "is_bounded" in each.text]
        assert len(pages) == 2
        for plan in (*pages, counts):
            kinds = {kind for table, kind in plan.scans() if table == "publish_command"}
            assert "Seq Scan" not in kinds, workspace_id
        read = [plan.count_read("publish_command") for plan in pages]
        assert max(read) <= 3 * calendar_pages.EXAMINED, workspace_id  # of 20,000
        spans, states = 6, 2  # of four workspaces: an index of all may be the cheaper one
        assert (
            counts.count_read("publish_command") <= 4 * spans * states * calendar_pages.MOST_COUNTED
        )
        assert (len(found.commands), found.is_complete) == (calendar.PAGE, False)


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
