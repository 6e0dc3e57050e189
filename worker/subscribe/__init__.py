"""Subscribe: the consumer library of publish_worker_client, a tail of the stream, and dead letters.

    with Subscriber(redis_url, group="search", database_url=database_url) as subscriber:
        for delivery in subscriber:
            index(delivery.event)
            delivery.ack()

Programs that only consume install `publish-worker-client` alone. docs/subscribing.md has the
promises.
"""

from publish_worker_client import (
    AsyncDelivery,
    AsyncSubscriber,
    Delivery,
    Event,
    Gap,
    OtherHistory,
    Subscriber,
    SubscriberError,
    Unacknowledged,
    create_positions,
    forget_positions,
    handled_up_to,
    once,
    once_async,
)
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
