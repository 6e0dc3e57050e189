"""Dead letters of subscribers: read, redrive and delete them, with an entry in the audit log.

They are on Redis, so that the change and its entry are not one transaction: the entry is written
after the change, also if Redis fails within it.
"""

from collections.abc import Generator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from schemas.audit import AuditAction, AuditSubject
from schemas.values.actor import Actor, AuditRecord
from schemas.values.page import Page
from worker.enqueue.refusals import Refusal
from worker.operations.audit import record
from worker.runtime.errors_explained import RedisUnavailable, explain_redis_error
from worker.subscribe import dead_letters
from worker.subscribe.dead_groups import DeadGroups, count_by_group
from worker.subscribe.dead_letters import DeadLetter, Redriven

STEP = 2_000
"""Dead letters that one step of a redrive looks at."""


class NoSuchLetter(Refusal):
    """There is no such dead letter: it was redriven or deleted."""


class LetterForeign(Refusal):
    """The entry is not an event of this project. It stays where it is."""


def count_groups(redis: Redis) -> DeadGroups:
    """Count the dead letters of each group. Raises RedisUnavailable."""
    with _explained():
        return count_by_group(redis)


def count_letters(redis: Redis, group: str) -> int:
    """Return the number of a group's dead letters. Raises RedisUnavailable."""
    with _explained():
        return dead_letters.count_letters(redis, group)


def find_last(redis: Redis, group: str) -> str | None:
    """Return the ID of a group's newest dead letter. Raises RedisUnavailable."""
    with _explained():
        return dead_letters.find_last(redis, group)


def list_page(redis: Redis, group: str, before: str | None, limit: int) -> Page[DeadLetter]:
    """Return a page of dead letters, the newest first. Raises RedisUnavailable."""
    with _explained():
        return dead_letters.read_page(redis, group, before, limit)


def read_letter(redis: Redis, group: str, letter_id: str) -> DeadLetter:
    """Return a dead letter. Raises NoSuchLetter, RedisUnavailable."""
    with _explained():
        found = dead_letters.read_letter(redis, group, letter_id)
    if found is None:
        raise _no_such_letter(group)
    return found


def redrive_one(engine: Engine, redis: Redis, group: str, letter_id: str, by: Actor) -> None:
    """Deliver one event again, to that group alone.

    Raises NoSuchLetter, also if it was redriven meanwhile, LetterForeign, RedisUnavailable.
    """
    letter = read_letter(redis, group, letter_id)
    if letter.position is None:
        raise LetterForeign("Nothing was done. The entry is not an event: it cannot be redriven.")
    with _explained():
        count = dead_letters.redrive(redis, group, letter.id)
    if not count:
        raise _no_such_letter(group)
    _audit(engine, AuditAction.DEAD_LETTER_RETRY, group, by, position=letter.position, events=1)


def redrive_position(engine: Engine, redis: Redis, group: str, position: int, by: Actor) -> int:
    """Deliver the event at a position again; return how many dead letters had it.

    Raises RedisUnavailable.
    """
    with _explained():
        count = dead_letters.redrive_position(redis, group, position)
    _audit(engine, AuditAction.DEAD_LETTER_RETRY, group, by, position=position, events=count)
    return count


def redrive_all(
    engine: Engine,
    redis: Redis,
    group: str,
    by: Actor,
    *,
    after: str | None = None,
    until: str | None = None,
    limit: int | None = None,
) -> Redriven:
    """Deliver the dead letters with IDs above `after`, up to `until`, again: the oldest first.

    `until` (default: the newest letter) keeps out what becomes a dead letter meanwhile, such as an
    event that fails again. `limit`: how many letters are looked at; `last` of the result is the
    next call's `after`. Raises RedisUnavailable; what was redriven before that is in the audit log.
    """
    events = letters = 0
    last, is_done = after, False
    try:
        with _explained():
            until = until or dead_letters.find_last(redis, group)
            while until and not is_done and (limit is None or letters < limit):
                step = dead_letters.redrive_next(redis, group, after=last, until=until)
                events, letters, last = events + step.events, letters + step.letters, step.last
                is_done = last is None
    except RedisUnavailable:
        if events:
            _audit(engine, AuditAction.DEAD_LETTER_RETRY, group, by, events=events)
        raise
    _audit(engine, AuditAction.DEAD_LETTER_RETRY, group, by, events=events)
    return Redriven(events=events, letters=letters, last=last if until else None)


def delete(engine: Engine, redis: Redis, group: str, letter_id: str, by: Actor) -> None:
    """Delete a dead letter for good. Raises NoSuchLetter, RedisUnavailable."""
    letter = read_letter(redis, group, letter_id)
    with _explained():
        is_deleted = dead_letters.delete_letter(redis, group, letter_id)
    if not is_deleted:
        raise _no_such_letter(group)
    details = {"position": letter.position, "letter": letter_id, "error": letter.error[:200]}
    _audit(engine, AuditAction.DEAD_LETTER_DELETE, group, by, **details)


def _no_such_letter(group: str) -> NoSuchLetter:
    return NoSuchLetter(
        f"The group {group} has no such dead letter: it was redriven or deleted. Nothing was done."
    )


def _audit(engine: Engine, action: AuditAction, group: str, by: Actor, **details: object) -> None:
    entry = AuditRecord(
        actor=by,
        action=action,
        subject=AuditSubject.CONSUMER_GROUP,
        subject_id=group,
        details=details,
    )
    record(engine, entry)


@contextmanager
def _explained() -> Generator[None]:
    try:
        yield
    except RedisError as error:
        raise RedisUnavailable(explain_redis_error(error)) from error
