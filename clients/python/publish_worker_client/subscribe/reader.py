"""The reader: joins the group, takes over what an earlier consumer left, and reads on.

Each step may be the last one: the next consumer goes on from what is on Redis (scripts.py).
"""

from redis.exceptions import ResponseError

from publish_worker_client.logs import EventLog
from publish_worker_client.subscribe.backlog import LIMIT
from publish_worker_client.subscribe.connections import Value
from publish_worker_client.subscribe.errors import OtherHistory, Unacknowledged
from publish_worker_client.subscribe.gaps import Gaps
from publish_worker_client.subscribe.group import INDEX
from publish_worker_client.subscribe.membership import Membership
from publish_worker_client.subscribe.retries import Retries
from publish_worker_client.subscribe.scripts import (
    CLAIM,
    LEAVE,
    OPEN,
    READ_REDELIVERIES,
    REMOVE_CONSUMERS,
)
from publish_worker_client.subscribe.stream_entry import OURS, Entry, RawEntry, Source

BATCH = 500
BLOCK_SECONDS = 0.5
"""How long one read waits; short, so that a stop is noticed."""

log = EventLog(__name__)


class Reader:
    """Gives one consumer its events, in order."""

    def __init__(
        self, membership: Membership, gaps: Gaps, retries: Retries, start_after: int | None
    ) -> None:
        self._membership = membership
        self._group = membership.group
        self._backlog = membership.backlog
        self._gaps = gaps
        self._retries = retries
        self._start_after: Value = "" if start_after is None else start_after
        self._has_joined = False
        self._known_floor: Value = ""
        """The high-water mark when this consumer last read, for when Redis has lost it."""
        self._is_standby = False

    def next_ready(self, now: float) -> Entry | None:
        """Return the next event if no round trip is needed for it."""
        member, ready = self._membership, self._backlog.ready
        if not member.is_open or member.lost_lease or not ready or self._backlog.retries:
            return None
        if ready[0].redelivered or ready[0].tries:
            return None
        return self._backlog.take(now)

    async def advance(self, now: float) -> Entry | None:
        """Go one step; return the next event, or None if there is none yet."""
        member = self._membership
        if member.lost_lease:
            member.lost_lease = False
            member.reopen("the lease ran out")
        if not member.is_open and not await self._join(now):
            return None
        entry = self._backlog.take(now)
        if entry is None:
            await self._read_more(now)
            entry = self._backlog.take(now) if member.is_open else None
        if entry is None or not (entry.redelivered or entry.tries):
            return entry
        return entry if await self._retries.begin_retry(entry) else None

    async def leave(self) -> None:
        """Acknowledge what is handled, and have another consumer take over at once."""
        leave = self._group.run(LEAVE)
        await self._membership.try_send(self._retries.flush_command(), leave)
        self._membership.is_open = False

    # Joining

    async def _join(self, now: float) -> bool:
        member = self._membership
        if self._has_joined:
            self._known_floor = member.compute_floor()  # before the backlog is dropped
        self._has_joined = False
        self._backlog.clear()
        member.has_redeliveries = True
        newest, oldest = await self._gaps.read_outbox_ends()
        if self._retries.has_acks:
            await self._retries.flush(now)
        arguments = self._known_floor, self._start_after, oldest or ""
        [(state, *place)] = await member.send(
            self._group.run(OPEN, self._group.lease_ms, *arguments)
        )
        self._note_standby(state == b"standby")
        member.has_lease, member.lost_lease = state != b"standby", False
        if state != b"open":
            await member.connections.pause(min(self._group.lease_seconds / 4, BLOCK_SECONDS))
            return False
        member.position, member.redelivered_up_to = int(place[0]), int(place[2])
        member.entry_id = place[1].decode()
        await self._check_history(newest)
        member.is_open = True
        await self._take_over()
        self._has_joined = member.is_open
        return member.is_open

    async def _check_history(self, newest: int | None) -> None:
        """Raise OtherHistory if the group is ahead of the outbox."""
        position = self._membership.position
        if newest is not None and newest < position:
            newest, _ = await self._gaps.read_outbox_ends()  # it may have grown since
            if (newest or 0) < position:
                raise OtherHistory

    def _note_standby(self, is_standby: bool) -> None:
        if is_standby and not self._is_standby:
            known = {"group": self._group.name, "consumer": self._group.consumer}
            log.info("subscriber.standing_by", **known)
        self._is_standby = is_standby

    async def _take_over(self) -> None:
        """Take what earlier consumers left pending, oldest first."""
        taken: list[Entry] = []
        lost: list[int] = []
        for source in Source:
            cursor: Value = "-"
            while cursor:
                claim = self._group.run(CLAIM, INDEX[source], cursor, BATCH)
                [(cursor, gone, raw, has_lease)] = await self._membership.send(claim)
                if not has_lease:
                    self._membership.reopen("the lease or the group is lost")
                    return
                lost += [int(entry_id.partition(b"-")[0]) for entry_id in gone]
                taken += await self._retries.to_entries(source, raw)
        # What is pending after the consumer's place is read again: the reading was set back.
        place = self._membership.position
        taken = [e for e in taken if e.source is Source.REDELIVERY or e.position <= place]
        for entry in taken:
            entry.redelivered = True
        await self._gaps.replace([position for position in lost if position <= place])
        taken += await self._read_redeliveries()
        if not self._membership.is_open:
            return
        self._add(sorted(taken, key=lambda entry: entry.position))
        await self._membership.send(self._group.run(REMOVE_CONSUMERS))

    # Reading

    async def _read_more(self, now: float) -> None:
        """Read on, or wait."""
        pause = self._backlog.seconds_to_retry(now, BLOCK_SECONDS)
        if self._backlog.is_full:
            await self._retries.flush(now)
            if len(self._backlog.in_flight) >= LIMIT:
                raise Unacknowledged
            await self._membership.connections.pause(pause)
            return
        if self._membership.has_redeliveries:
            self._add(await self._read_redeliveries())
            if self._backlog.ready:
                return
        await self._read_stream(now, int(pause * 1_000))

    async def _read_redeliveries(self) -> list[Entry]:
        entries: list[Entry] = []
        member = self._membership
        while True:
            [(has_lease, raw)] = await member.send(self._group.run(READ_REDELIVERIES, BATCH))
            if not has_lease:
                member.reopen("the lease or the group is lost")
                return []
            if not raw:
                member.unread_fill, member.has_redeliveries = None, False
                return entries
            entries += await self._retries.to_entries(Source.REDELIVERY, raw)

    async def _read_stream(self, now: float, block_ms: int) -> None:
        """Read a batch in the same round trip as the acknowledgements."""
        member = self._membership
        [answer] = await self._retries.flush(now, self._group.read(BATCH, block_ms))
        if isinstance(answer, ResponseError):
            member.reopen(str(answer))
            return
        if not member.is_open:
            return
        raw_entries: list[RawEntry] = answer[0][1] if answer else []
        if raw_entries:
            has_gap = not await self._add_stream_entries(raw_entries)
        else:
            has_gap = member.stream_tip > member.position
        if has_gap and member.is_open:
            await self._gaps.fill()

    async def _add_stream_entries(self, raw_entries: list[RawEntry]) -> bool:
        """Add entries up to the first gap; return whether there is none."""
        member = self._membership
        entries: list[Entry] = []
        try:
            for entry_id, fields in raw_entries:
                entry = self._to_next_entry(entry_id, fields)
                if entry is None:
                    found = await self._retries.to_entries(Source.MAIN, [(entry_id, fields)])
                    entry = found[0] if found else None
                if entry is not None:
                    if entry.position != member.position + 1:
                        return False
                    entry.redelivered = entry.position <= member.redelivered_up_to
                    member.position = entry.position
                    entries.append(entry)
                member.entry_id = entry_id.decode()
            return True
        finally:
            self._add(entries)

    def _to_next_entry(self, entry_id: bytes, fields: list[bytes]) -> Entry | None:
        """Parse an entry if it is the next one and the relay wrote it: nearly always."""
        position = self._membership.position + 1
        if entry_id != b"%d-0" % position or len(fields) != 2 or fields[0] != b"event":  # noqa: PLR2004 - a pair
            return None
        raw = fields[1]
        if not raw.startswith(OURS) or b'"sequence": "%d"' % position not in raw:
            return None
        return Entry(Source.MAIN, entry_id, position, raw)

    def _add(self, entries: list[Entry]) -> None:
        """Add entries to the backlog; those of other partitions are acknowledged at once."""
        if self._group.partition is not None:
            for entry in entries:
                if not self._group.has(entry):
                    self._retries.acknowledge(entry)
            entries = [entry for entry in entries if self._group.has(entry)]
        self._backlog.add(entries)
