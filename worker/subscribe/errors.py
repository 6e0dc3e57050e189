"""What may keep a subscriber from going on: each names the positions and says what to do."""


class SubscriberError(Exception):
    """A subscriber cannot go on."""


class Gap(SubscriberError):
    """Events are gone from the stream, and cannot be read from the outbox.

    Raised again by each attempt to go on, until `subscriber.pass_over(gap)` says that the group
    does without them.
    """

    def __init__(self, first: int, last: int, why: str) -> None:
        super().__init__(f"events {first} to {last} are not on the stream any more, and {why}")
        self.first = first
        self.last = last


class OtherHistory(SubscriberError):
    """The group has seen more events than the outbox ever recorded: the database was restored from
    a backup, or the group belongs to another one. Let it begin again under another name, or from
    a position of yours.
    """


class Unacknowledged(SubscriberError):
    """So many deliveries are neither acknowledged nor failed that no more are handed out: call
    `delivery.ack()` or `delivery.fail(error)` for each.
    """
