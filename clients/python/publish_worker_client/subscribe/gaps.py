"""Gaps: what is missing from the stream is filled from the outbox, by way of the redelivery stream.

Positions have no gaps, so a consumer notices what the stream has lost: the next entry has not the
next position, a pending entry is gone, or the stream's tip is beyond the last entry.
"""

import time

from publish_worker_client.events import outbox
from publish_worker_client.events.cloud_event import to_cloud_event
from publish_worker_client.events.outbox import RecordedEvent
from publish_worker_client.logs import EventLog
from publish_worker_client.subscribe.connections import Value
from publish_worker_client.subscribe.errors import Gap
from publish_worker_client.subscribe.membership import Membership
from publish_worker_client.subscribe.scripts import FILL, REPLACE, REWIND
from publish_worker_client.subscribe.stream_entry import ForeignEntry, RawEntry, Source, to_entry

BATCH = 500
NO_DATABASE = "there is no database_url to read them from the outbox"
FORGOTTEN = "the outbox no longer has them"
REPAIR_SECONDS = 2.0
"""The relay has removed another program's entry by then, and appended what was missing."""
PAUSE_SECONDS = 0.2

log = EventLog(__name__)


class Gaps:
    """Fills what is missing on the stream for one consumer's group."""

    def __init__(self, membership: Membership, base_url: str) -> None:
        self._membership = membership
        self._group = membership.group
        self._connections = membership.connections
        self._base_url = base_url
        self._first, self._noticed_at = 0, 0.0
        """The gap that the relay may still repair, and when it was noticed."""

    async def read_outbox_ends(self) -> tuple[int | None, int | None]:
        """Return the outbox's last and oldest position; (None, None): no `database_url`."""
        return await self._connections.ask_outbox(outbox.read_ends) or (None, None)

    async def _read(self, after: int, limit: int) -> list[RecordedEvent] | None:
        """Return events of the outbox after a position; None: no `database_url`."""
        return await self._connections.ask_outbox(lambda tx: outbox.read_after(tx, after, limit))

    async def fill(self) -> None:
        """Set the reading back to the consumer's place, and fill what is missing there.

        Raises Gap if the outbox does not have it.
        """
        member = self._membership
        rewind = self._group.run(REWIND, member.position, member.entry_id)
        [(has_lease, *reply)] = await member.send(rewind)
        if not has_lease:
            member.reopen("the lease or the group is lost")
            return
        member.stream_tip, *following = reply  # Lua leaves a nil out
        first = member.position + 1
        if not following:
            last = member.stream_tip
        else:
            try:
                last = to_entry(Source.MAIN, *following[0]).position - 1
            except ForeignEntry:
                return  # it becomes a dead letter when it is read again
        if first <= last:
            await self._fill(first, last, following)

    async def _fill(self, first: int, last: int, following: list[RawEntry]) -> None:
        """Copy events from the outbox to the redelivery stream, at most one batch."""
        count = min(BATCH, last - first + 1)
        found = await self._read(first - 1, count)
        if found is None:
            await self._wait_for_repair(first, last)
            return
        events = [event for event in found if event.position <= last]
        if not events or events[0].position != first:
            await self._skip(first, last, following)
            return
        pairs: list[Value] = []
        for event in events:
            pairs += [event.position, to_cloud_event(event, self._base_url)]
        member, upto = self._membership, events[-1].position
        member.unread_fill, member.has_redeliveries = first, True
        [is_filled] = await member.send(self._group.run(FILL, str(first - 1), str(upto), *pairs))
        if not is_filled:
            member.reopen("another consumer has read on")
            return
        member.position = upto
        log.warning("subscriber.gap_filled", group=self._group.name, first=first, last=upto)

    async def _wait_for_repair(self, first: int, last: int) -> None:
        """Wait a moment for the relay. Raises Gap if it had time enough."""
        now = time.monotonic()
        if first != self._first:
            self._first, self._noticed_at = first, now
        if now > self._noticed_at + REPAIR_SECONDS:
            raise Gap(first, last, NO_DATABASE)
        await self._connections.pause(PAUSE_SECONDS)

    async def _skip(self, first: int, last: int, following: list[RawEntry]) -> None:
        """Skip an entry whose position the outbox has not recorded. Raises Gap otherwise."""
        newest, oldest = await self.read_outbox_ends()
        if (newest or 0) >= first:
            raise Gap(first, min(last, (oldest or last + 1) - 1), FORGOTTEN)
        for entry in following:
            member = self._membership
            await member.send(self._group.skip_foreign(member.entry_id, entry))
            member.entry_id = entry[0].decode()

    async def replace(self, lost: list[int]) -> None:
        """Fill pending entries that are gone from the stream. Raises Gap as `fill` does."""
        wanted = set(lost)
        while wanted:
            first = min(wanted)
            found = await self._read(first - 1, BATCH)
            if found is None:
                raise Gap(lost[0], lost[-1], NO_DATABASE)
            if not found or found[0].position != first:
                raise Gap(first, first, FORGOTTEN)
            pairs: list[Value] = []
            for event in found:
                if event.position in wanted:
                    pairs += [event.position, to_cloud_event(event, self._base_url)]
            [has_lease] = await self._membership.send(self._group.run(REPLACE, *pairs))
            if not has_lease:
                self._membership.reopen("the lease is lost")
                return
            wanted -= {event.position for event in found}

    async def pass_over(self, gap: Gap) -> None:
        """Have the group go on without the events of a gap."""
        last_acked = min(gap.last, gap.first + 999)  # pending ones, by the batch
        ids = (f"{position}-0" for position in range(gap.first, last_acked + 1))
        fill = self._group.run(FILL, str(gap.first - 1), str(gap.last))
        acknowledge = ("XACK", self._group.keys[0], self._group.name, *ids)
        await self._membership.send(fill, acknowledge)
        self._membership.is_open = False
        known = {"first": gap.first, "last": gap.last}
        log.warning("subscriber.gap_passed_over", group=self._group.name, **known)
