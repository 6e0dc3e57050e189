"""The outbox, as far as a subscriber asks it: what is missing on the stream."""

from db.events import outbox
from db.events.outbox import RecordedEvent
from db.session import connect, transaction
from worker.subscribe.effects import Ask, AskEnds


class OutboxReading:
    """Opened when it is first asked."""

    def __init__(self, database_url: str) -> None:
        self._engine = connect(database_url, pool_size=1)

    def answer(self, question: Ask | AskEnds) -> list[RecordedEvent] | tuple[int, int | None]:
        """Ask the database. Raises its errors."""
        with transaction(self._engine) as tx:
            match question:
                case Ask(after=after, limit=limit):
                    return outbox.read_after(tx, after, limit)
                case AskEnds():
                    return outbox.read_ends(tx)

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()
