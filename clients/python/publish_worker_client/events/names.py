"""The names in events, commands and videos: closed lists of words."""

from enum import StrEnum


class EventType(StrEnum):
    """Every type of event."""

    PUBLISHED = "video.published"
    UNPUBLISHED = "video.unpublished"
    SCHEDULED = "video.publish_scheduled"
    RESCHEDULED = "video.publish_rescheduled"
    REJECTED = "video.publish_rejected"
    EXPIRED = "video.publish_expired"
    CANCELLED = "video.publish_cancelled"
    FAILED = "video.publish_failed"
    ENDPOINT_DISABLED = "webhook.endpoint_disabled"


class Action(StrEnum):
    """What a command does to the video."""

    PUBLISH = "publish"
    UNPUBLISH = "unpublish"


class Trigger(StrEnum):
    """The origin of a command or of an event.

    A command's trigger is the interface that accepted it. An event's trigger is the last of: that
    interface, the scheduled time (`schedule`), the end of generation (`pipeline`).
    """

    API = "api"
    CLI = "cli"
    PIPELINE = "pipeline"
    QUEUE = "queue"
    SCHEDULE = "schedule"
    CANARY = "canary"
    """The self-test that publishes a hidden video each minute. It emits no events."""


class Visibility(StrEnum):
    """Who may see the video once it is published."""

    PUBLIC = "public"
    PRIVATE = "private"
    TEAM = "team"
    ORG = "org"
