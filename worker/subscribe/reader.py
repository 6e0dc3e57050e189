"""The course of a subscriber: join the group, take over, read on, notice gaps, acknowledge.

No I/O of its own: each step yields what is to be done (worker.subscribe.effects), so that the
subscriber and the async one are the same code. What is at stake at each step is in
worker.subscribe.scripts; what is in memory here may be lost at any moment.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from redis.exceptions import ResponseError

from worker.events.cloud_event import to_cloud_event
from worker.subscribe import scripts
from worker.subscribe.backlog import LIMIT, Hand
from worker.subscribe.effects import Ask, AskEnds, Course, Pause, Send, Value
from worker.subscribe.errors import Gap, OtherHistory, Unacknowledged
from worker.subscribe.group import INDEX, Group
from worker.subscribe.stream_entry import OURS, Entry, NotAnEvent, Source, read

BATCH = 500
BLOCK_SECONDS = 0.5
"""How long one read waits; short, so that a stop is noticed."""
FLUSH_SECONDS = 0.1
"""An acknowledgement is on Redis after so long, or with the next read."""
LONGEST_PAUSE = 60.0

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class Reader:
    """One consumer's way through the events."""

    def __init__(
        self,
        group: Group,
        *,
        start_after: int | None,
        max_tries: int,
        retry_seconds: float,
        base_url: str | None,
    ) -> None:
        self.group = group
        self.start_after = start_after
        self.max_tries = max_tries
        self.retry_seconds = retry_seconds
        self.base_url = base_url
        """None: there is no outbox to ask."""
        self.hand = Hand()
        self.at = 0
        self.id = "0-0"
        self.tip = 0
        """The stream's last position, as far as it was looked at."""
        self.suspect = 0
        """Up to this position an earlier consumer may have begun on what is read."""
        self.is_open = False
        self.has_recovered = False
        self.remembered: Value = ""
        """The floor when the group was last read here: for when Redis has lost it."""
        self.stands_by = False
        self.has_lease = False
        self.lost_lease = False
        """Set by whoever keeps the lease alive."""
        self.unread: int | None = None
        """The lowest position that was put on the group's own stream, and not read there yet."""
        self.sees_more = False
        """Something new may be on the group's own stream."""
        self.own_in_hand = 0
        self.acks: dict[Source, list[Entry]] = {Source.MAIN: [], Source.AGAIN: []}
        self.flushed_at = 0.0
        self.chores_at = 0.0

    def at_hand(self, now: float) -> Entry | None:
        """The next event, if it can be handed out without asking anybody."""
        if not self.is_open or self.lost_lease or now >= self.chores_at:
            return None
        ready = self.hand.ready
        if not ready or self.hand.due or ready[0].redelivered or ready[0].tries:
            return None
        return self.hand.take(now)

    def advance(self, now: float) -> Course[Entry | None]:
        """Go one step; the next event, or None if there is none yet."""
        if self.lost_lease:
            self._lose("its lease ran out")
        if not self.is_open and not (yield from self._open(now)):
            return None
        if now >= self.chores_at:
            yield from self._chores(now)
        entry = self.hand.take(now)
        if entry is None:
            yield from self._more(now)
            entry = self.hand.take(now) if self.is_open else None
        if entry is None or not (entry.redelivered or entry.tries):
            return entry
        return entry if (yield from self._begin(entry)) else None

    def note_done(self, entry: Entry) -> None:
        """An event was handled: to be acknowledged with the next flush."""
        if self.hand.done(entry) and entry.source is Source.AGAIN:
            self.own_in_hand -= 1
        self.acks[entry.source].append(entry)

    def fail(self, entry: Entry, error: str, now: float) -> Course[None]:
        """An event could not be handled: to be tried again, or set aside."""
        if entry not in self.hand.out:
            return  # lost with the lease, or told twice
        if entry.tries == 0:
            entry.tries = 1  # even if Redis cannot be told
            try:
                [entry.tries] = yield from self._send(
                    self.group.run(scripts.TRY, str(entry.position))
                )
            except BaseException:
                self._try_later(entry, now)
                raise
        if entry.tries < self.max_tries:
            self._try_later(entry, now)
            log.warning(
                "subscriber.failed",
                group=self.group.name,
                position=entry.position,
                tries=entry.tries,
                error=error,
            )
            return
        yield from self._bury(entry, error)

    def flush(self, now: float) -> Course[None]:
        """Send the acknowledgements off."""
        command, counts = self._flush_command()
        [reply] = yield from self._send(command)
        self._flushed(reply, counts, now)

    def leave(self) -> Course[None]:
        """Let others take over at once."""
        yield Send([self._flush_command()[0], self.group.run(scripts.LEAVE, 86_400_000)])
        self.is_open = False

    def keep_alive(self) -> Course[bool]:
        """Renew the lease, or the sign of life; False: the lease is another's."""
        [held] = yield from self._send(self.group.run(scripts.LIVE, self.group.lease_ms))
        return held == 1

    def pass_over(self, gap: Gap) -> Course[None]:
        """Go on without what is gone."""
        ids = [f"{position}-0" for position in range(gap.first, min(gap.last, gap.first + 999) + 1)]
        fill = self.group.run(scripts.FILL, str(gap.first - 1), str(gap.last))
        yield from self._send(fill, ("XACK", self.group.keys[0], self.group.name, *ids))
        self.is_open = False
        log.warning("subscriber.passed_over", group=self.group.name, first=gap.first, last=gap.last)

    # Joining

    def _open(self, now: float) -> Course[bool]:
        if self.has_recovered and not self.group.shared:
            self.remembered = self._floor()  # now: what is in hand is let go of
        self.has_recovered = False
        self.hand.drop()
        self.own_in_hand = 0
        self.sees_more = True
        last, oldest = yield from self._ends()
        if self.acks[Source.MAIN] or self.acks[Source.AGAIN]:
            yield from self.flush(now)
        start: Value = "" if self.start_after is None else self.start_after
        reply = yield from self._send(
            self.group.run(scripts.OPEN, self.group.lease_ms, self.remembered, start, oldest or "")
        )
        state, *standing = reply[0]
        self._tell_standby(state == b"standby")
        self.has_lease = state != b"standby"
        self.lost_lease = False
        if state != b"open":
            yield Pause(min(self.group.lease_seconds / 4, BLOCK_SECONDS))
            return False
        self.at, self.id, self.suspect = int(standing[0]), standing[1].decode(), int(standing[2])
        if last is not None and last < self.at and ((yield AskEnds())[0] or 0) < self.at:
            raise OtherHistory(" ".join((OtherHistory.__doc__ or "").split()))
        self.is_open = True
        yield from self._take_over()
        self.has_recovered = self.is_open
        self.chores_at = now + self.group.lease_seconds
        return self.is_open

    def _tell_standby(self, stands_by: bool) -> None:
        if stands_by and not self.stands_by:
            log.info("subscriber.stands_by", group=self.group.name, consumer=self.group.consumer)
        self.stands_by = stands_by

    def _floor(self) -> int:
        """Up to here all is acknowledged, as far as this consumer knows."""
        known = [self.at]
        if (lowest := self.hand.lowest()) is not None:
            known.append(lowest - 1)
        if self.unread is not None:
            known.append(self.unread - 1)
        return min(known)

    def _lose(self, why: str) -> None:
        log.warning("subscriber.reopens", group=self.group.name, why=why)
        self.is_open = False

    def _take_over(self) -> Course[None]:
        """Take what consumers left that are gone; the oldest first."""
        taken: list[Entry] = []
        lost: list[int] = []
        for source in Source:
            cursor: Value = "-"
            while cursor:
                arguments = (INDEX[source], cursor, BATCH, self.group.lease_ms, self.group.lives)
                [reply] = yield from self._send(self.group.run(scripts.CLAIM, *arguments))
                cursor, gone, entries, is_there = reply
                if not is_there:
                    self._lose("the lease or the group is gone")
                    return
                lost += [int(entry_id.partition(b"-")[0]) for entry_id in gone]
                if not self.group.shared:  # behind that the reading was set back: a gap will show
                    lost = [position for position in lost if position <= self.at]
                for entry in (yield from self._sense(source, entries)):
                    if source is Source.MAIN and not self.group.shared and entry.position > self.at:
                        continue  # the reading was set back: it comes again
                    if not self.hand.has(entry.id):
                        entry.redelivered = True
                        taken.append(entry)
        if lost:
            yield from self._replace(lost)
        taken += yield from self._own()
        if not self.is_open:
            return
        taken.sort(key=lambda entry: entry.position)
        yield from self._add(taken)

    def _chores(self, now: float) -> Course[None]:
        self.chores_at = now + self.group.lease_seconds
        yield from self._send(
            self.group.run(scripts.FORGET, 2 * self.group.lease_ms, self.group.lives)
        )
        if self.group.shared:
            yield from self._take_over()

    # Reading

    def _more(self, now: float) -> Course[None]:
        """Read on, or wait."""
        if self.hand.is_full:
            yield from self.flush(now)
            if len(self.hand.out) >= LIMIT:
                raise Unacknowledged(" ".join((Unacknowledged.__doc__ or "").split()))
            yield Pause(self.hand.pause(now, BLOCK_SECONDS))
            return
        if self.sees_more:
            own = yield from self._own()
            yield from self._add(own)
            if self.hand.ready:
                return
        block = int(self.hand.pause(now, BLOCK_SECONDS) * 1_000)
        if self.group.shared:
            yield from self._read_shared(now, block)
        else:
            yield from self._read_alone(now, block)

    def _read_alone(self, now: float, block: int) -> Course[None]:
        command, counts = self._flush_command()
        replies = yield Send([command, self.group.read(Source.MAIN, BATCH, block)])
        if isinstance(replies[0], ResponseError):
            raise replies[0]
        self._flushed(replies[0], counts, now)
        if isinstance(replies[1], ResponseError):
            self._lose(str(replies[1]))
        if not self.is_open:
            return
        if not replies[1]:
            yield from self._at_the_end()
            return
        entries: list[Entry] = []
        is_whole = True
        for entry_id, fields in replies[1][0][1]:
            entry = self._next(entry_id, fields)
            if entry is None:
                is_whole = yield from self._odd(entry_id, fields, entries)
                if not is_whole:
                    break
            else:
                entries.append(entry)
        yield from self._add(entries)
        if not is_whole:
            yield from self._gap()

    def _next(self, entry_id: bytes, fields: list[bytes]) -> Entry | None:
        """The entry, if it is the next one and the relay's: nearly always."""
        position = self.at + 1
        if entry_id != b"%d-0" % position or len(fields) != 2 or fields[0] != b"event":  # noqa: PLR2004 - a pair
            return None
        raw = fields[1]
        if not raw.startswith(OURS) or b'"sequence": "%d"' % position not in raw:
            return None
        self.at = position
        self.id = f"{position}-0"
        return Entry(Source.MAIN, entry_id, position, raw, position <= self.suspect)

    def _odd(self, entry_id: bytes, fields: list[bytes], entries: list[Entry]) -> Course[bool]:
        """What is not the relay's, or not the next; False: something is missing before it."""
        try:
            entry = read(Source.MAIN, entry_id, fields)
        except NotAnEvent as error:
            yield from self._bury_stranger(Source.MAIN, entry_id, fields, error)
            self.id = entry_id.decode()
            return True
        if entry.position != self.at + 1:
            return False
        self.at, self.id = entry.position, entry_id.decode()
        entry.redelivered = entry.position <= self.suspect
        entries.append(entry)
        return True

    def _read_shared(self, now: float, block: int) -> Course[None]:
        command, counts = self._flush_command()
        reading = self.group.run(scripts.READ, BATCH)
        flushed, answer = yield from self._send(command, reading)
        self._flushed(flushed, counts, now)
        is_there, at, entry_id, entries, *undone = answer
        if not is_there:
            self._lose("the group is gone, or was moved")
            return
        self.at, self.id = at, entry_id.decode()
        yield from self._add((yield from self._sense(Source.MAIN, entries)))
        if entries:
            return
        if undone and undone[0]:
            yield from self._gap()
            return
        if (yield from self._at_the_end()):
            return
        # Only to wake up: `$` misses what a redrive adds in this very moment, for half a second.
        keys = self.group.keys[:2]
        yield Send([("XREAD", "COUNT", 1, "BLOCK", max(block, 1), "STREAMS", *keys, self.id, "$")])

    def _at_the_end(self) -> Course[bool]:
        """There is nothing to read; True: but there was, and it is gone from the stream."""
        if self.tip <= self.at:
            return False
        at = self.at
        yield from self._gap()
        return self.at > at

    def _own(self) -> Course[list[Entry]]:
        """Read what is new on the group's own stream."""
        entries: list[Entry] = []
        while True:
            [(is_there, found)] = yield from self._send(self.group.run(scripts.OWN, BATCH))
            if not is_there:
                self._lose("the lease or the group is gone")
                return []
            if not found:
                break
            entries += yield from self._sense(Source.AGAIN, found)
        self.unread = None
        self.sees_more = False
        return entries

    def _sense(self, source: Source, raw_entries: Iterable[Any]) -> Course[list[Entry]]:
        """Make sense of entries; what makes none is set aside."""
        entries: list[Entry] = []
        for entry_id, fields in raw_entries:
            try:
                entries.append(read(source, entry_id, fields))
            except NotAnEvent as error:
                yield from self._bury_stranger(source, entry_id, fields, error)
        return entries

    def _add(self, entries: list[Entry]) -> Course[None]:
        """Take entries in hand; those of other parts are acknowledged at once."""
        if self.group.partition is not None:
            others = [entry for entry in entries if not self.group.has(entry)]
            for entry in others:
                self.acks[entry.source].append(entry)
            entries = [entry for entry in entries if self.group.has(entry)]
        self.own_in_hand += sum(entry.source is Source.AGAIN for entry in entries)
        self.hand.add(entries)
        return
        yield

    # What is missing

    def _gap(self) -> Course[None]:
        """The next entry is not the next event: set the reading back, and look what is missing."""
        [reply] = yield from self._send(self.group.run(scripts.PEEK, self.at, self.id))
        if not reply[0]:
            self._lose("the group is gone")
            return
        self.at, self.id, self.tip = reply[1], reply[2].decode(), reply[3]
        if len(reply) <= 4:  # noqa: PLR2004 - Lua leaves a nil out
            if self.tip > self.at:
                yield from self._fill(self.at + 1, self.tip, None)
            return
        try:
            entry = read(Source.MAIN, *reply[4])
        except NotAnEvent:
            return  # it is set aside when it is read again
        if entry.position > self.at + 1:
            yield from self._fill(self.at + 1, entry.position - 1, reply[4])

    def _fill(self, first: int, last: int, following: Any) -> Course[None]:
        """Read what is missing from the outbox, and put it on the group's own stream."""
        if self.base_url is None:
            raise Gap(first, last, "there is no database_url to read them from the outbox")
        recorded = yield Ask(first - 1, min(BATCH, last - first + 1))
        events = [event for event in recorded if event.position <= last]
        if not events or events[0].position != first:
            ends = yield from self._ends()
            if (ends[0] or 0) < first:
                yield from self._pass_stranger(following)
                return
            forgotten = min(last, (ends[1] or last + 1) - 1)
            raise Gap(first, forgotten, "the outbox has forgotten them")
        pairs = [
            part
            for event in events
            for part in (event.position, to_cloud_event(event, self.base_url))
        ]
        upto = events[-1].position
        command = self.group.run(scripts.FILL, str(first - 1), str(upto), *pairs)
        self.unread = first
        self.sees_more = True
        [filled] = yield from self._send(command)
        if not filled and not self.group.shared:
            self._lose("another consumer was here")
            return
        self.at = upto
        log.warning("subscriber.filled_gap", group=self.group.name, first=first, last=upto)
        yield from self._add((yield from self._own()))

    def _pass_stranger(self, following: Any) -> Course[None]:
        """What comes next, if it is still there, stands where no outbox has recorded anything."""
        if following is not None:
            yield from self._send(self.group.pass_stranger(self.id, *following))
            self.id = following[0].decode()

    def _replace(self, lost: list[int]) -> Course[None]:
        """Entries that were never acknowledged are gone from the stream."""
        if self.base_url is None:
            why = "there is no database_url to read them from the outbox"
            raise Gap(lost[0], lost[-1], why)
        wanted = set(lost)
        while wanted:
            first = min(wanted)
            events = {event.position: event for event in (yield Ask(first - 1, BATCH))}
            if first not in events:
                raise Gap(first, first, "the outbox has forgotten it")
            found = sorted(wanted & events.keys())
            pairs = [
                part
                for position in found
                for part in (position, to_cloud_event(events[position], self.base_url))
            ]
            [held] = yield from self._send(self.group.run(scripts.REPLACE, *pairs))
            if not held:
                self._lose("the lease is gone")
                return
            wanted -= events.keys()

    def _ends(self) -> Course[tuple[int | None, int | None]]:
        if self.base_url is None:
            return None, None
        return (yield AskEnds())

    # Trying, acknowledging, setting aside

    def _begin(self, entry: Entry) -> Course[bool]:
        """Begin another try; False: there were too many."""
        command, counts = self._flush_command()
        flushed, tries = yield from self._send(
            command, self.group.run(scripts.TRY, str(entry.position))
        )
        self._flushed(flushed, counts, self.flushed_at)
        if not self.is_open:
            return False
        entry.tries = tries
        if tries <= self.max_tries:
            return True
        entry.tries = self.max_tries
        yield from self._bury(
            entry, f"the consumer ended {self.max_tries} times while it had the event in hand"
        )
        return False

    def _try_later(self, entry: Entry, now: float) -> None:
        pause = min(self.retry_seconds * 2 ** (entry.tries - 1), LONGEST_PAUSE)
        self.hand.failed(entry, now + pause)

    def _bury(self, entry: Entry, error: str) -> Course[None]:
        yield from self._send(self.group.bury(entry, error))
        if self.hand.done(entry) and entry.source is Source.AGAIN:
            self.own_in_hand -= 1
        log.error(
            "subscriber.set_aside",
            group=self.group.name,
            position=entry.position,
            tries=entry.tries,
            error=error,
        )

    def _bury_stranger(
        self, source: Source, entry_id: bytes, fields: Any, error: NotAnEvent
    ) -> Course[None]:
        yield from self._send(self.group.bury_stranger(source, entry_id, fields, str(error)))
        log.warning(
            "subscriber.not_an_event",
            group=self.group.name,
            entry=entry_id.decode(),
            error=str(error),
        )

    def _flush_command(self) -> tuple[tuple[Value, ...], dict[Source, int]]:
        main, again = self.acks[Source.MAIN], self.acks[Source.AGAIN]
        ids = (len(main), *(entry.id for entry in main), len(again), *(entry.id for entry in again))
        tried = {entry.position for entry in (*main, *again) if entry.redelivered or entry.tries}
        command = self.group.run(scripts.FLUSH, self.at, self.id, *ids, *tried)
        return command, {source: len(acks) for source, acks in self.acks.items()}

    def _flushed(self, reply: Any, counts: dict[Source, int], now: float) -> None:
        for source, count in counts.items():
            del self.acks[source][:count]
        self.flushed_at = now
        holds, own, self.tip = reply
        if not holds and self.is_open:
            self._lose("the lease or the group is gone")
        elif own > self.own_in_hand:
            self.sees_more = True

    def _send(self, *commands: tuple[Value, ...]) -> Course[list[Any]]:
        """Send commands of which none may be refused."""
        replies: list[Any] = yield Send(list(commands))
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies
