"""Wake-ups: Celery messages that only say that there may be work. One table, and the waker.

A Redis key, set only if it is absent and expiring by itself, marks a wake-up that is on its way;
the task deletes the key before it claims. A thousand enqueues therefore cost a handful of
messages. If Redis is down the caller goes on: the sweep wakes Celery once Redis is back.

Task routes (`worker.runtime.producer`), coalescing (`Waker`) and sweeps (`celeryconfig`) all follow
from the table.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import uuid4

from redis import Redis
from redis.commands.core import Script
from redis.exceptions import RedisError

from worker.runtime.broker_errors import BROKER_ERRORS
from worker.runtime.outage import Outage

KEY_MS = 1_000
"""Milliseconds until a coalescing key expires: a lost wake-up delays work by no more than this."""
EXPIRES_SECONDS = 60.0
"""A wake-up that is older says nothing: the sweep has run since."""
QUEUE = "publish"
"""Of all messages but those of webhooks."""
BROKER_PREFIX = "publish-worker:celery:"
"""Of every key that Kombu makes on Redis: they are told from ours and from others'."""

# Mark a wake-up as on its way, and put its message into the queue, unless one is on its way.
PUSH = """
if not redis.call('SET', KEYS[1], 1, 'NX', 'PX', ARGV[1]) then
    return 0
end
redis.call(ARGV[3], KEYS[2], ARGV[2])
return 1
"""


def _make_outage() -> Outage:
    return Outage("wake_ups.unreachable", "wake_ups.reachable", instead="the sweep")


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeUp:
    """One kind of wake-up."""

    task: str
    """The Celery task that looks for the work."""
    sweep_seconds: float
    """How often beat sends it, whether there is work or not."""
    sweep_expires_seconds: float = 2.0
    """After this long an unread sweep is dropped, so that none pile up without a worker."""
    key: str | None = None
    """The Redis key that coalesces; None: only beat sends it."""
    queue: str = QUEUE

    @property
    def push(self) -> str:
        """The Redis command that puts it into its list.

        At the head where other messages wait; elsewhere at the end, so that each has its turn.
        """
        return "RPUSH" if self.queue == QUEUE else "LPUSH"

    def to_sweep(self) -> dict[str, Any]:
        """Return the entry of Celery's `beat_schedule`."""
        return {
            "task": self.task,
            "schedule": self.sweep_seconds,
            "options": {"expires": self.sweep_expires_seconds},
        }

    def to_entry(self) -> str:
        """Return the message as Kombu keeps it in a list of Redis."""
        unique = str(uuid4())
        expires = datetime.now(UTC) + timedelta(seconds=EXPIRES_SECONDS)
        properties = {
            "correlation_id": unique,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": self.queue},
            "priority": 0,
            "body_encoding": None,
            "delivery_tag": unique,
        }
        return json.dumps(
            {
                "body": "[[], {}, {}]",
                "content-type": "application/json",
                "content-encoding": "utf-8",
                "headers": {
                    "lang": "py",
                    "task": self.task,
                    "id": unique,
                    "expires": expires.isoformat(),
                },
                "properties": properties,
            }
        )


PUBLISH = WakeUp(task="publish.run_due", key="publish-worker:wake", sweep_seconds=1.0)
RELAY = WakeUp(task="events.relay", sweep_seconds=1.0)
REPORTS = WakeUp(task="generation.take", key="publish-worker:wake:reports", sweep_seconds=1.0)
ANNOUNCE = WakeUp(
    task="enqueue.announce", key="publish-worker:wake:announcements", sweep_seconds=1.0
)
FAN_OUT = WakeUp(
    task="webhooks.fan_out", key="publish-worker:wake:webhooks", queue="webhooks", sweep_seconds=1.0
)
DELIVER = WakeUp(
    task="webhooks.deliver",
    key="publish-worker:wake:deliveries",
    queue="webhooks",
    sweep_seconds=1.0,
)
SUMMARISE = WakeUp(task="events.summarise", sweep_seconds=2.0, sweep_expires_seconds=4.0)
PRUNE = WakeUp(task="operations.prune", sweep_seconds=3600.0, sweep_expires_seconds=600.0)
# Time-zone data is updated a few times a year, at short notice.
TIME_ZONES = WakeUp(
    task="enqueue.update_time_zones", sweep_seconds=3600.0, sweep_expires_seconds=600.0
)
CANARY = WakeUp(task="operations.canary", sweep_seconds=60.0, sweep_expires_seconds=20.0)

WAKE_UPS = (
    PUBLISH,
    RELAY,
    REPORTS,
    ANNOUNCE,
    FAN_OUT,
    DELIVER,
    SUMMARISE,
    PRUNE,
    TIME_ZONES,
    CANARY,
)


@dataclass(frozen=True, kw_only=True)
class Waker:
    """Wakes Celery at most once until the wake-up has arrived."""

    redis: Redis
    send: Callable[[WakeUp], None]
    """Sends the Celery message."""
    is_broker: bool = False
    """Whether Celery's broker is `redis`, too. Then the message is put there without Celery and
    Kombu, in an eighth of the CPU time."""
    outage: Outage = field(default_factory=_make_outage)

    @cached_property
    def _push(self) -> Script:
        return self.redis.register_script(PUSH)

    def wake(self, wake_up: WakeUp = PUBLISH) -> None:
        """Send a wake-up unless one is on its way. Raises nothing when Redis or broker is down."""
        try:
            if self._send_once(wake_up):
                self.outage.end()
        except BROKER_ERRORS as error:
            self.outage.note(error)

    def _send_once(self, wake_up: WakeUp) -> bool:
        if wake_up.key and self.is_broker:
            keys = [wake_up.key, BROKER_PREFIX + wake_up.queue]
            return bool(self._push(keys=keys, args=[KEY_MS, wake_up.to_entry(), wake_up.push]))
        if wake_up.key and not self.redis.set(wake_up.key, 1, nx=True, px=KEY_MS):
            return False
        self.send(wake_up)
        return True

    def note_arrival(self, wake_up: WakeUp = PUBLISH) -> None:
        """Delete the key before looking for work: what is accepted from now on wakes again."""
        if wake_up.key is None:
            return
        try:
            self.redis.delete(wake_up.key)
        except RedisError as error:
            self.outage.note(error)  # the key expires by itself
