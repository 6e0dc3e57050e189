"""Acknowledgements, tries and dead letters."""

from collections.abc import Iterable
from typing import Any

from publish_worker_client.logs import EventLog
from publish_worker_client.subscribe.connections import Command
from publish_worker_client.subscribe.failure import Failure
from publish_worker_client.subscribe.membership import Membership
from publish_worker_client.subscribe.scripts import FLUSH
from publish_worker_client.subscribe.stream_entry import (
    Entry,
    ForeignEntry,
    RawEntry,
    Source,
    to_entry,
)

LONGEST_PAUSE = 60.0
"""The longest pause between two tries, in seconds."""

log = EventLog(__name__)


class Retries:
    """How the events that one consumer has read end: acknowledged, or as dead letters."""

    def __init__(self, membership: Membership, max_tries: int, retry_seconds: float) -> None:
        self._membership = membership
        self._group = membership.group
        self._backlog = membership.backlog
        self._max_tries = max_tries
        self._retry_seconds = retry_seconds
        self._acks: dict[Source, list[Entry]] = {Source.MAIN: [], Source.REDELIVERY: []}
        self.flushed_at = 0.0
        """When the last flush was, by the monotonic clock."""

    @property
    def has_acks(self) -> bool:
        """Whether acknowledgements wait for the next flush."""
        return any(self._acks.values())

    def acknowledge(self, entry: Entry) -> None:
        """Note that an event was handled, or is of another partition, for the next flush."""
        self._backlog.finish(entry)
        self._acks[entry.source].append(entry)

    async def flush(self, now: float, *commands: Command) -> list[Any]:
        """Send the acknowledgements and the consumer's place, then other commands in the same round
        trip; return their replies, a refusal as its exception.
        """
        main, redelivered = self._acks[Source.MAIN], self._acks[Source.REDELIVERY]
        counts = len(main), len(redelivered)
        reply, *others = await self._membership.try_send(self.flush_command(), *commands)
        if isinstance(reply, Exception):
            raise reply
        del main[: counts[0]], redelivered[: counts[1]]
        self.flushed_at = now
        member = self._membership
        has_lease, redeliveries, member.stream_tip = reply
        if not has_lease and member.is_open:
            member.reopen("the lease or the group is lost")
        elif redeliveries > self._backlog.redeliveries:
            member.has_redeliveries = True
        return others

    def flush_command(self) -> Command:
        """Return the command that sends the acknowledgements and the consumer's place."""
        main, redelivered = self._acks[Source.MAIN], self._acks[Source.REDELIVERY]
        ids = (len(main), *(entry.id for entry in main))
        ids = (*ids, len(redelivered), *(entry.id for entry in redelivered))
        acked = (*main, *redelivered)
        tried = {entry.position for entry in acked if entry.redelivered or entry.tries}
        place = self._membership.position, self._membership.entry_id
        return self._group.run(FLUSH, *place, *ids, *tried)

    async def begin_retry(self, entry: Entry) -> bool:
        """Count another try of an event; False: it had too many, and is a dead letter."""
        [tries] = await self.flush(self.flushed_at, self._group.count_try(entry))
        if isinstance(tries, Exception):
            raise tries
        if not self._membership.is_open:
            return False
        entry.tries = min(tries, self._max_tries)
        if tries <= self._max_tries:
            return True
        error = f"the consumer ended {self._max_tries} times while it handled the event"
        await self._dead_letter(entry, Failure(error))
        return False

    async def fail(self, entry: Entry, failure: Failure, now: float) -> None:
        """Have a failed event tried again after a pause, or make it a dead letter."""
        if entry not in self._backlog.in_flight:
            return  # lost with the lease, or failed twice
        if entry.tries == 0:
            entry.tries = 1  # even if Redis is unreachable
            try:
                [entry.tries] = await self._membership.send(self._group.count_try(entry))
            except BaseException:
                self._retry_later(entry, now)
                raise
        if entry.tries >= self._max_tries:
            await self._dead_letter(entry, failure)
            return
        self._retry_later(entry, now)
        self._log(log.warning, "subscriber.failed", entry, failure)

    def _retry_later(self, entry: Entry, now: float) -> None:
        pause = min(self._retry_seconds * 2 ** (entry.tries - 1), LONGEST_PAUSE)
        self._backlog.retry_at(entry, now + pause)

    async def _dead_letter(self, entry: Entry, failure: Failure) -> None:
        command = self._group.dead_letter(entry, failure.text, failure.trace)
        await self._membership.send(command)
        self._backlog.finish(entry)
        self._log(log.error, "subscriber.dead_lettered", entry, failure)

    def _log(self, write: Any, event: str, entry: Entry, failure: Failure) -> None:
        known = {"position": entry.position, "tries": entry.tries, "error": failure.text}
        write(event, group=self._group.name, **known, exc_info=failure.error)

    async def to_entries(self, source: Source, raw_entries: Iterable[RawEntry]) -> list[Entry]:
        """Parse entries; those that are not events become dead letters."""
        entries: list[Entry] = []
        for raw in raw_entries:
            try:
                entries.append(to_entry(source, *raw))
            except ForeignEntry as error:
                command = self._group.dead_letter_foreign(source, raw, str(error))
                await self._membership.send(command)
                known = {"entry": raw[0].decode(), "error": str(error)}
                log.warning("subscriber.foreign_entry", group=self._group.name, **known)
        return entries
