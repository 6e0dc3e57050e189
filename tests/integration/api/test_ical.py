"""The iCal feed: what a calendar program reads, and who may."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st
from icalendar import Calendar

from db.commands.calendar import CalendarCommand
from publish_worker_client.events.names import Trigger
from schemas.command import CommandChange, PublishRequest
from tests.support.api import Api
from tests.support.console_client import Console
from worker.api.calendar_document import to_ical, to_text
from worker.enqueue import changes
from worker.operations.calendar import Feed

WHEN = datetime(2027, 3, 26, 9, tzinfo=UTC)
CHANGER = changes.Changer(trigger=Trigger.API, workspace_id=None)


def feed_path(api: Api, caller: str = "admin", **form: str) -> str:
    """The path of a feed that was created at the console."""
    page = Console.sign_in(api, caller).post("/console/calendar/feeds", **form)
    found = re.search(r'id="address">https://videos\.example(/calendar/[^<]+)<', page.text)
    assert found, page.text
    assert api.client
    api.client.cookies.clear()
    return found[1]


def events(api: Api, path: str) -> list[Any]:
    """The entries of a feed."""
    answer = api.call("GET", path, None)
    assert answer.status_code == 200
    return Calendar.from_ical(answer.content).walk("VEVENT")


def scheduled(api: Api, **columns: Any) -> UUID:
    """A command to publish a video in a month."""
    at = datetime.now(UTC) + timedelta(days=30)
    request = PublishRequest(video_id=api.video(**columns), publish_at=at)
    return api.accept(request).commands[0].id


def test_the_feed_has_the_commands_of_its_workspace(api: Api) -> None:
    command = scheduled(api, title="Commas, semicolons; and all")
    path = feed_path(api)
    elsewhere = feed_path(api, "everywhere", workspace="2")
    [event] = events(api, path)
    assert str(event["uid"]) == str(command)
    assert str(event["summary"]) == "Publish: Commas, semicolons; and all"
    asked_for = api.command(command).asked_for
    assert asked_for
    assert event["dtstart"].dt == asked_for.replace(microsecond=0)
    assert str(event["url"]) == f"https://videos.example/console/calendar/commands/{command}"
    assert str(event["status"]) == "CONFIRMED"
    assert events(api, elsewhere) == []


def test_an_entry_keeps_its_id_and_grows_its_sequence_when_the_command_is_changed(
    api: Api,
) -> None:
    command = scheduled(api)
    path = feed_path(api)
    api.let_pass(hours=1)
    [first] = events(api, path)
    change = CommandChange(publish_at=WHEN)
    changes.reschedule(api.engine, api.waker, command, change, CHANGER)
    [second] = events(api, path)
    assert (first["uid"], first["sequence"]) == (second["uid"], 0)
    assert second["dtstart"].dt == WHEN
    assert second["sequence"] > first["sequence"]
    assert second["last-modified"].dt > first["last-modified"].dt
    changes.cancel(api.engine, api.waker, command, CHANGER)
    [third] = events(api, path)
    assert (str(third["status"]), third["uid"]) == ("CANCELLED", first["uid"])


def test_a_feed_that_has_not_changed_is_not_sent_again(api: Api) -> None:
    scheduled(api)
    path = feed_path(api)
    answer = api.call("GET", path, None)
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    assert b"REFRESH-INTERVAL;VALUE=DURATION:PT15M\r\n" in answer.content
    assert b"X-PUBLISHED-TTL:PT15M\r\n" in answer.content
    headers = {"If-None-Match": f'"other", W/{answer.headers["etag"]}'}
    again = api.call("GET", path, None, headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    scheduled(api)
    assert api.call("GET", path, None, headers=headers).status_code == 200


def test_a_revoked_or_unknown_address_does_not_exist(api: Api) -> None:
    path = feed_path(api)
    assert api.call("GET", "/calendar/unknown.ics", None).status_code == 404
    console = Console.sign_in(api)
    revoke = re.search(
        r'action="(/console/calendar/feeds/[^"]+/revoke)"',
        console.get("/console/calendar/feeds").text,
    )
    assert revoke
    other = Console.sign_in(api, "elsewhere")
    assert other.post(revoke[1]).status_code == 404
    assert events(api, path) == []
    console = Console.sign_in(api)
    assert console.post(revoke[1]).status_code == 200
    assert api.call("GET", path, None).status_code == 404
    assert console.post(revoke[1]).status_code == 404


def test_only_an_admin_creates_feeds(api: Api) -> None:
    console = Console.sign_in(api, "publish")
    assert console.post("/console/calendar/feeds").status_code == 403
    assert "Create a feed" not in console.get("/console/calendar/feeds").text


def test_an_address_is_shown_once(api: Api) -> None:
    path = feed_path(api)
    token = path.removeprefix("/calendar/").removesuffix(".ics")
    assert token not in Console.sign_in(api).get("/console/calendar/feeds").text
    assert (
        api.rows("SELECT digest FROM publisher.calendar_feed WHERE digest::text LIKE %s", token)
        == []
    )


@given(title=st.text(max_size=255))
@example(title="a,b;c\\d\r\nEND:VEVENT\r\nBEGIN:VALARM")
@example(title="\U0001f30d" * 255)
@example(title="\x85\u2028one\x0btwo\x00")
def test_any_title_is_one_value_of_one_entry(title: str) -> None:
    document = to_ical(
        Feed(workspace_id=1, commands=[_command(title)], is_complete=True), "https://x"
    )
    lines = document.split(b"\r\n")
    assert all(len(line) <= 75 for line in lines)
    assert b"\n" not in b"".join(lines)
    read: Any = Calendar.from_ical(document)
    [event] = read.walk("VEVENT")
    assert str(event["summary"]) == f"Publish: {to_text(title)}"
    assert event.subcomponents == []
    assert "VALARM" not in [each.name for each in read.walk()]


def _command(title: str) -> CalendarCommand:
    return CalendarCommand(
        id=UUID(int=7),
        action="publish",
        video_id=7,
        workspace_id=1,
        title=title,
        state="scheduled",
        reason=None,
        detail=None,
        accepted_at=WHEN,
        asked_for=WHEN,
        local_time=None,
        time_zone=None,
        fold=None,
        due_at=WHEN,
        finished_at=None,
        rescheduled_at=None,
    )
