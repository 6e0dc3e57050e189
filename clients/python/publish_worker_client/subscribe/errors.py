"""Why a subscriber cannot go on: each error names the positions and says what to do."""


class SubscriberError(Exception):
    """A subscriber cannot go on."""


class Gap(SubscriberError):
    """Events are gone from the stream, and cannot be read from the outbox.

    Each attempt to go on raises it again, until `subscriber.pass_over(gap)`. `first` and `last` are
    the positions of the missing events.
    """

    def __init__(self, first: int, last: int, why: str) -> None:
        super().__init__(
            f"events {first} to {last} are not on the stream any more, and {why}; the group has "
            "not moved: set database_url, or go on without them by subscriber.pass_over(gap)"
        )
        self.first = first
        self.last = last
        self._why = why

    def __reduce__(self) -> tuple[type["Gap"], tuple[int, int, str]]:
        """Another process, such as a pool's, gets the same error."""
        return type(self), (self.first, self.last, self._why)


class OtherHistory(SubscriberError):
    """The group has seen more events than the outbox ever recorded."""

    def __init__(self) -> None:
        super().__init__(
            "the group has seen more events than the outbox ever recorded: the database was "
            "restored from a backup, or the group belongs to another database. Use another group "
            "name, with start_after if the new group must not start with the oldest event"
        )

    def __reduce__(self) -> tuple[type["OtherHistory"], tuple[()]]:
        """Another process gets the same error."""
        return type(self), ()


class Unacknowledged(SubscriberError):
    """1,000 deliveries are neither acknowledged nor failed, so no more are delivered."""

    def __init__(self) -> None:
        super().__init__(
            "1,000 deliveries are neither acknowledged nor failed, so no more are delivered: call "
            "delivery.ack() or delivery.fail(error) for each"
        )

    def __reduce__(self) -> tuple[type["Unacknowledged"], tuple[()]]:
        """Another process gets the same error."""
        return type(self), ()
