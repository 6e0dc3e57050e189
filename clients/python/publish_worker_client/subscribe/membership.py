"""One consumer's membership in its group: the lease, and its place on the stream.

Everything in memory here may be lost at any moment; what must last is on Redis (scripts.py).
"""

from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from publish_worker_client.logs import EventLog
from publish_worker_client.servers.redis_errors import is_passing
from publish_worker_client.subscribe.backlog import Backlog
from publish_worker_client.subscribe.connections import Command, Connections
from publish_worker_client.subscribe.group import Group
from publish_worker_client.subscribe.scripts import RENEW_LEASE, SOURCES

log = EventLog(__name__)


class Membership:
    """What reader, gaps and retries of one consumer share."""

    def __init__(self, group: Group, connections: Connections) -> None:
        self.group = group
        self.connections = connections
        self.backlog = Backlog()
        self.is_open = False
        """Whether it reads: it has joined, and as far as it knows it has the lease."""
        self.has_lease = False
        self.lost_lease = False
        """Set by the renewal of the lease, which runs beside the reading."""
        self.position = 0
        self.entry_id = "0-0"
        """Its place: the last position that was read or filled, and the ID on the stream."""
        self.stream_tip = 0
        """The stream's last position, as of the last flush."""
        self.redelivered_up_to = 0
        """Up to this position an earlier consumer may have begun on what is read."""
        self.unread_fill: int | None = None
        """The lowest position that was put on the redelivery stream, and was not read there yet."""
        self.has_redeliveries = False
        """Something new may be on the redelivery stream."""

    async def send(self, *commands: Command) -> list[Any]:
        """Send commands in one round trip; return the replies. Raises ResponseError if one is
        refused.
        """
        replies = await self.try_send(*commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    async def try_send(self, *commands: Command) -> list[Any]:
        """Send commands; a refused one is answered by its exception. A script that this server
        does not have is sent again with its source. Raises the first refusal that passes by itself:
        it is about the server, and not about the command.
        """
        replies = await self.connections.send(list(commands))
        for index, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                _, digest, *rest = commands[index]
                again = ("EVAL", SOURCES[str(digest)], *rest)
                [replies[index]] = await self.connections.send([again])
        for reply in replies:
            if isinstance(reply, ResponseError) and is_passing(reply):
                raise reply
        return replies

    def reopen(self, reason: str) -> None:
        """Have the next step join the group again."""
        if self.is_open:
            log.warning("subscriber.reopened", group=self.group.name, reason=reason)
        self.is_open = False

    def compute_floor(self) -> int:
        """Return the high-water mark: all events up to it are acknowledged or dead letters."""
        known = [self.position]
        if (lowest := self.backlog.find_lowest()) is not None:
            known.append(lowest - 1)
        if self.unread_fill is not None:
            known.append(self.unread_fill - 1)
        return min(known)

    async def renew_lease(self) -> None:
        """Renew the lease, or note that it is lost."""
        if self.has_lease:
            lease = self.group.run(RENEW_LEASE, self.group.lease_ms)
            [has_lease] = await self.send(lease)
            self.lost_lease = self.lost_lease or has_lease != 1
