"""Subscribe: a consumer of every event, in a group that loses none; or merely follow the stream.

    with Subscriber(redis_url, group="search", database_url=database_url) as subscriber:
        for delivery in subscriber:
            index(delivery.event)
            delivery.ack()

How: subscriber.py and async_subscriber.py do what course.py says, hand.py keeps the order, and
scripts.py is what happens on Redis. docs/subscribing.md has the promises.
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
