"""The iCal document (RFC 5545): scheduled publications and withdrawals for calendar programs."""

import unicodedata
from datetime import datetime, timedelta

from icalendar import Calendar, Event
from icalendar.prop import vDuration

from db.commands.calendar import CalendarCommand
from schemas.command import CommandState
from worker.operations.calendar import Feed

REFRESH = timedelta(minutes=15)
"""How often a program should read the feed."""
VERBS = {"publish": "Publish", "unpublish": "Unpublish"}


def to_ical(feed: Feed, base_url: str) -> bytes:
    """Return the document. It changes only when a command has changed."""
    document = Calendar()
    document.add("prodid", "-//publish-worker//calendar//EN")
    document.add("version", "2.0")
    document.add("calscale", "GREGORIAN")
    name = f"Publications of workspace {feed.workspace_id}"
    for each in ("name", "x-wr-calname"):
        document.add(each, name)
    document.add("refresh-interval", REFRESH, parameters={"VALUE": "DURATION"})
    document.add("x-published-ttl", vDuration(REFRESH))
    if not feed.is_complete:
        note = "Not every command is included: there are too many. Those ahead are preferred."
        for each in ("description", "x-wr-caldesc"):
            document.add(each, note)
    for command in feed.commands:
        document.add_component(_to_event(command, base_url.rstrip("/")))
    return document.to_ical()


def _to_event(command: CalendarCommand, base_url: str) -> Event:
    """Return an entry without a duration, at the time that was asked for.

    A command that is tried again keeps its place. Without METHOD, DTSTAMP is the time of the last
    change; SEQUENCE grows with each change.
    """
    changed_at = _find_change(command)
    title = command.title if command.title is not None else f"video {command.video_id}, deleted"
    is_cancelled = command.state == CommandState.CANCELLED
    event = Event()
    event.add("uid", str(command.id))
    event.add("dtstamp", changed_at)
    event.add("created", command.accepted_at)
    event.add("last-modified", changed_at)
    event.add("sequence", int((changed_at - command.accepted_at).total_seconds()))
    event.add("dtstart", max(command.asked_for, command.accepted_at))
    event.add("summary", f"{VERBS[command.action]}: {to_text(title)}")
    event.add("description", to_text(_describe(command)))
    event.add("url", f"{base_url}/console/calendar/commands/{command.id}")
    event.add("status", "CANCELLED" if is_cancelled else "CONFIRMED")
    event.add("transp", "TRANSPARENT")
    return event


def to_text(text: str) -> str:
    """Return a text without control characters, which TEXT does not allow."""
    return "".join(" " if unicodedata.category(each) == "Cc" else each for each in text)


def _find_change(command: CalendarCommand) -> datetime:
    moments = (command.accepted_at, command.rescheduled_at, command.finished_at)
    return max(each for each in moments if each)


def _describe(command: CalendarCommand) -> str:
    state = f"State: {command.state}"
    if command.reason:
        state = f"{state} ({command.reason})"
    if command.local_time:
        state += f". Scheduled for {command.local_time:%Y-%m-%d %H:%M}, {command.time_zone}"
    return f"{state}."
