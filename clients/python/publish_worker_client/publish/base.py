"""What a publisher does, whichever door it uses, and whether or not it blocks."""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from publish_worker_client.events.names import Action
from publish_worker_client.publish.arguments import (
    ListArguments,
    PublishArguments,
    ReportArguments,
    RescheduleArguments,
    SenderArguments,
    UnpublishArguments,
)
from publish_worker_client.publish.command import Command, CommandPage, Generation
from publish_worker_client.publish.door import InboxDoor, Sender
from publish_worker_client.publish.errors import InvalidPublication, WrongState
from publish_worker_client.publish.option_names import FIELDS, fields_of, naming_options
from publish_worker_client.publish.publication import (
    Publication,
    check_number,
    check_text,
    check_zone,
    require_offset,
    to_time_fields,
)

COMMANDS = "/publish-commands"
MOST_AT_ONCE = 1_000
FIRST_LOOK, LONGEST_LOOK = 0.05, 1.0
"""Seconds between two looks at a command whose outcome is awaited."""


class BasePublisher:
    """What both publishers share."""

    def __init__(self, door: InboxDoor) -> None:
        self._door = door

    async def _enqueue(
        self, publications: Iterable[Publication], options: SenderArguments
    ) -> list[UUID]:
        wanted = list(publications)
        if not 0 < len(wanted) <= MOST_AT_ONCE:
            raise InvalidPublication(f"Enqueue 1 to {MOST_AT_ONCE} at once, and not {len(wanted)}.")
        with naming_options(FIELDS):
            return await self._door.enqueue(wanted, Sender(**options))

    async def _publish(self, video_id: int, options: PublishArguments) -> UUID:
        fields, sender = _split(options)
        publication = Publication(video_id=video_id, **fields)
        with naming_options(FIELDS):
            return (await self._door.enqueue([publication], sender))[0]

    async def _unpublish(self, video_id: int, options: UnpublishArguments) -> UUID:
        fields, sender = _split(options)
        until = fields.pop("at", None)
        publication = Publication(video_id=video_id, action=Action.UNPUBLISH, until=until, **fields)
        with naming_options(fields_of(Action.UNPUBLISH)):
            return (await self._door.enqueue([publication], sender))[0]

    async def _await_outcome(self, command_id: UUID, seconds: float) -> Command:
        until, pause = time.monotonic() + seconds, FIRST_LOOK
        while True:
            command = await self._read(command_id)
            left = until - time.monotonic()
            if command.has_ended or left <= 0:
                return command
            await self._door.pause(min(pause, left))
            pause = min(pause * 1.5, LONGEST_LOOK)

    async def _read(self, command_id: UUID) -> Command:
        return await self._door.ask("GET", _to_path(command_id), Command)

    async def _reschedule(self, command_id: UUID, options: RescheduleArguments) -> Command:
        if unknown := options.keys() - RescheduleArguments.__annotations__.keys():
            raise TypeError(f"reschedule has no option {min(unknown)}; nothing was sent")
        if options.keys() <= {"time_zone"}:
            raise InvalidPublication("Give at or deadline: there is nothing to change.")
        before = await self._read(command_id)
        fields = fields_of(before.action)
        with naming_options(fields):
            return await self._change(before, _to_change(options, fields))

    async def _change(self, before: Command, change: Mapping[str, Any]) -> Command:
        try:
            return await self._door.ask("PATCH", _to_path(before.id), Command, change)
        except WrongState:  # an answer may have been lost, and the command carried out since
            command = await self._read(before.id)
            if before.has_ended or not _has_times(command, change):
                raise
            return command

    async def _cancel(self, command_id: UUID) -> Command:
        return await self._door.ask("DELETE", _to_path(command_id), Command)

    async def _retry(self, command_id: UUID) -> Command:
        had_failed = (await self._read(command_id)).state == "failed"
        try:
            return await self._door.ask("POST", f"{_to_path(command_id)}/retry", Command)
        except WrongState:  # an answer may have been lost, and the command carried out since
            command = await self._read(command_id)
            if command.has_ended and not had_failed:
                raise
            return command

    async def _list_page(self, query: str) -> CommandPage:
        return await self._door.ask("GET", f"{COMMANDS}?{query}".rstrip("?"), CommandPage)

    async def _report(self, video_id: int, report: ReportArguments) -> Generation:
        body: dict[str, Any] = {**report}
        if "time" in body:
            body["time"] = require_offset("time", body["time"])
        path = f"/videos/{check_number('video_id', video_id, 63)}/generation"
        return await self._door.ask("POST", path, Generation, body)


def _to_path(command_id: Any) -> str:
    """Return the path of a command. Raises InvalidPublication if that is not an id."""
    try:
        return f"{COMMANDS}/{UUID(str(command_id))}"
    except ValueError:
        text = f"command_id must be a UUID, and is {command_id!a:.100}."
        raise InvalidPublication(text) from None


def _to_change(options: RescheduleArguments, fields: Mapping[str, str]) -> dict[str, Any]:
    change: dict[str, Any] = {}
    if "at" in options:
        change = to_time_fields(fields["at"], options["at"], options.get("time_zone"))
    if "time_zone" in options:
        change["time_zone"] = check_zone(options["time_zone"], change)
    if "deadline" in options:
        given = options["deadline"]
        change[fields["deadline"]] = given and require_offset("deadline", given)
    return change


def _has_times(command: Command, change: Mapping[str, Any]) -> bool:
    """Whether a command has the times of a change, given by the API's names."""
    for name, value in change.items():
        asked: Any = value
        shown: Any = getattr(command, name, None)
        if isinstance(shown, datetime) and asked is not None:
            asked = datetime.fromisoformat(asked)
        if shown != asked:
            return False
    return True


def _split(options: Mapping[str, Any]) -> tuple[dict[str, Any], Sender]:
    """Return the options of a publication, and its sender."""
    of_sender = SenderArguments.__annotations__.keys() & options.keys()
    fields = {name: value for name, value in options.items() if name not in of_sender}
    return fields, Sender(**{name: options[name] for name in of_sender})


def to_query(wanted: ListArguments) -> str:
    """Return a filter as the query of a URL. Raises InvalidPublication."""
    fields = {
        name: require_offset(name, value)
        if name in ("due_from", "due_until")
        else check_text(name, str(value))
        for name, value in wanted.items()
        if value is not None
    }
    return urlencode(fields)
