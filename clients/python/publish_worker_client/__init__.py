"""The client of publish-worker: publish videos, and consume the events about them.

    from publish_worker_client import Publisher, Subscriber

A name is imported on first use: a program that only subscribes does not load an HTTP client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from publish_worker_client.events.event import Event
    from publish_worker_client.events.names import Action, EventType
    from publish_worker_client.publish.command import Command, Generation
    from publish_worker_client.publish.errors import (
        AccessRefused,
        ChangedVideo,
        InvalidPublication,
        PublishError,
        PublishRefused,
        ReusedKey,
        TooManyOpen,
        Unanswered,
        UnknownVideo,
        WrongState,
    )
    from publish_worker_client.publish.publication import Publication
    from publish_worker_client.publish.publisher import AsyncPublisher, Publisher
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
    from publish_worker_client.webhooks import WebhookRefused, read_webhook

__all__ = [
    "AccessRefused",
    "Action",
    "AsyncDelivery",
    "AsyncPublisher",
    "AsyncSubscriber",
    "ChangedVideo",
    "Command",
    "Delivery",
    "Event",
    "EventType",
    "Gap",
    "Generation",
    "InvalidPublication",
    "OtherHistory",
    "Publication",
    "PublishError",
    "PublishRefused",
    "Publisher",
    "ReusedKey",
    "Subscriber",
    "SubscriberError",
    "TooManyOpen",
    "Unacknowledged",
    "Unanswered",
    "UnknownVideo",
    "WebhookRefused",
    "WrongState",
    "create_positions",
    "forget_positions",
    "handled_up_to",
    "once",
    "once_async",
    "read_webhook",
]

_MODULES = {
    "events.event": ["Event"],
    "events.names": ["Action", "EventType"],
    "publish.command": ["Command", "Generation"],
    "publish.errors": [
        "AccessRefused",
        "ChangedVideo",
        "InvalidPublication",
        "PublishError",
        "PublishRefused",
        "ReusedKey",
        "TooManyOpen",
        "Unanswered",
        "UnknownVideo",
        "WrongState",
    ],
    "publish.publication": ["Publication"],
    "publish.publisher": ["AsyncPublisher", "Publisher"],
    "subscribe.async_subscriber": ["AsyncDelivery", "AsyncSubscriber"],
    "subscribe.errors": ["Gap", "OtherHistory", "SubscriberError", "Unacknowledged"],
    "subscribe.exactly_once": [
        "create_positions",
        "forget_positions",
        "handled_up_to",
        "once",
        "once_async",
    ],
    "subscribe.subscriber": ["Delivery", "Subscriber"],
    "webhooks": ["WebhookRefused", "read_webhook"],
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name; an AttributeError if it is not one."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names too, which are not imported yet."""
    return sorted({*globals(), *__all__})
