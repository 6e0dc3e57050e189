"""The client of publish-worker: publish videos, and consume the events about them.

from publish_worker_client import Publisher, Subscriber
"""

from publish_worker_client.events.event import Event
from publish_worker_client.events.names import EventType
from publish_worker_client.subscribe.async_subscriber import AsyncDelivery, AsyncSubscriber
from publish_worker_client.subscribe.errors import (
    Gap,
    OtherHistory,
    SubscriberError,
    Unacknowledged,
)
from publish_worker_client.subscribe.exactly_once import (
    create_positions,
    forget_positions,
    handled_up_to,
    once,
    once_async,
)
from publish_worker_client.subscribe.subscriber import Delivery, Subscriber

__all__ = [
    "AsyncDelivery",
    "AsyncSubscriber",
    "Delivery",
    "Event",
    "EventType",
    "Gap",
    "OtherHistory",
    "Subscriber",
    "SubscriberError",
    "Unacknowledged",
    "create_positions",
    "forget_positions",
    "handled_up_to",
    "once",
    "once_async",
]
