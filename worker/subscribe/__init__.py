"""Subscribe: a consumer group that gets every event at least once, or a tail of the stream.

    with Subscriber(redis_url, group="search", database_url=database_url) as subscriber:
        for delivery in subscriber:
            index(delivery.event)
            delivery.ack()

Start with subscriber.py; reader.py, gaps.py and retries.py are the core of both subscribers, and
lua/ has the steps on Redis. docs/subscribing.md has the promises.
"""

from schemas.received_event import Event
from worker.subscribe.async_subscriber import AsyncDelivery, AsyncSubscriber
from worker.subscribe.errors import Gap, OtherHistory, SubscriberError, Unacknowledged
from worker.subscribe.exactly_once import (
    create_positions,
    forget_positions,
    handled_up_to,
    once,
    once_async,
)
from worker.subscribe.subscriber import Delivery, Subscriber
from worker.subscribe.tail import Missing, Received, follow

__all__ = [
    "AsyncDelivery",
    "AsyncSubscriber",
    "Delivery",
    "Event",
    "Gap",
    "Missing",
    "OtherHistory",
    "Received",
    "Subscriber",
    "SubscriberError",
    "Unacknowledged",
    "create_positions",
    "follow",
    "forget_positions",
    "handled_up_to",
    "once",
    "once_async",
]
