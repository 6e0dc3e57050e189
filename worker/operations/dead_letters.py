"""Dead letters of subscribers: read, redrive and delete them, with an entry in the audit log.

They are on Redis, so that the change and its entry are not one transaction: the entry is written
after the change, also if Redis fails within it. Where Redis does not answer a change, it is not
known whether it took place: RedisNoAnswer.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine

from publish_worker_client.servers.redis_errors import to_code
from publish_worker_client.subscribe.group import DEAD
from schemas.audit import AuditAction, AuditSubject
from schemas.values.actor import Actor, AuditRecord
from schemas.values.page import Page
from worker.enqueue.refusals import Refusal
from worker.operations.audit import record
from worker.runtime.errors_explained import RedisUnavailable
from worker.runtime.redis_explanations import explain_redis
from worker.subscribe import dead_letters
from worker.subscribe.dead_groups import DeadGroups, count_by_group
from worker.subscribe.dead_letters import DeadLetter, Redriven

STEP = 2_000
"""Dead letters that one step of a redrive looks at."""
STEP_SECONDS = 2.0
"""After this time a step ends, where letters are large."""
MAX_SHOWN = 16 * 2**20
"""Bytes of a letter that is shown as a whole."""


class NoSuchLetter(Refusal):
    """There is no such dead letter: it was redriven or deleted."""


class LetterForeign(Refusal):
    """The entry is not an event of this project. It stays where it is."""


class LetterTooLarge(Refusal):
    """The entry is too large to be shown as a whole."""


class NotLetters(Refusal):
    """Another program has put something else under the key of a group's dead letters."""


class RedisNoAnswer(RedisUnavailable):
    """Redis has not answered a change: whether it took place is not known."""


def count_groups(redis: Redis) -> DeadGroups:
    """Count the dead letters of each group. Raises RedisUnavailable."""
    with _explained(""):
        return count_by_group(redis)


def count_letters(redis: Redis, group: str) -> int:
    """Return the number of a group's dead letters. Raises NotLetters, RedisUnavailable."""
    with _explained(group):
        return dead_letters.count_letters(redis, group)


def find_last(redis: Redis, group: str) -> str | None:
    """Return the ID of a group's newest dead letter. Raises NotLetters, RedisUnavailable."""
    with _explained(group):
        return dead_letters.find_last(redis, group)


def list_page(redis: Redis, group: str, before: str | None, limit: int) -> Page[DeadLetter]:
    """Return a page of dead letters, the newest first, each with the beginning of its event.

    Raises NotLetters, RedisUnavailable.
    """
    with _explained(group):
        return dead_letters.read_page(redis, group, before, limit)


def read_letter(redis: Redis, group: str, letter_id: str) -> DeadLetter:
    """Return a dead letter with the beginning of its event.

    Raises NoSuchLetter, NotLetters, RedisUnavailable.
    """
    with _explained(group):
        found = dead_letters.read_letter(redis, group, letter_id)
    if found is None:
        raise _no_such_letter(group)
    return found


def read_whole_letter(redis: Redis, group: str, letter_id: str) -> DeadLetter:
    """Return a dead letter with its whole event.

    Raises NoSuchLetter, LetterTooLarge, NotLetters, RedisUnavailable.
    """
    size = read_letter(redis, group, letter_id).size
    if size > MAX_SHOWN:
        raise LetterTooLarge(
            f"The entry has {size:,} bytes; at most {MAX_SHOWN:,} are shown. Read it with"
            f" `redis-cli XRANGE '{DEAD}{group}' {letter_id} {letter_id}`."
        )
    with _explained(group):
        found = dead_letters.read_whole_letter(redis, group, letter_id)
    if found is None:
        raise _no_such_letter(group)
    return found


def redrive_one(engine: Engine, redis: Redis, group: str, letter_id: str, by: Actor) -> None:
    """Deliver one event again, to that group alone.

    Raises NoSuchLetter, also if it was redriven meanwhile, LetterForeign, RedisUnavailable, and
    RedisNoAnswer if it is not known whether it is delivered again.
    """
    letter = read_letter(redis, group, letter_id)
    if letter.position is None:
        raise LetterForeign("Nothing was done. The entry is not an event: it cannot be redriven.")
    with _changing(group):
        count = dead_letters.redrive(redis, group, letter.id)
    if not count:
        raise _no_such_letter(group)
    _audit(engine, AuditAction.DEAD_LETTER_RETRY, group, by, position=letter.position, events=1)


def redrive_position(engine: Engine, redis: Redis, group: str, position: int, by: Actor) -> int:
    """Deliver the event at a position again; return how many dead letters had it.

    Raises NotLetters, RedisUnavailable, and RedisNoAnswer as `redrive_one` does.
    """
    with _changing(group):
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
    event that fails again. `limit`: how many letters are looked at, fewer if that takes seconds;
    `last` of the result is the next call's `after`. Raises NotLetters, RedisUnavailable, and
    RedisNoAnswer if the end is not known; what is known to be redriven is in the audit log.
    """
    events = letters = 0
    last, is_done = after, False
    until = until or find_last(redis, group)
    end = time.monotonic() + STEP_SECONDS
    try:
        with _changing(group):
            while until and not is_done:
                if limit is not None and (letters >= limit or time.monotonic() > end):
                    break
                step = dead_letters.redrive_next(redis, group, after=last, until=until)
                events, letters, last = events + step.events, letters + step.letters, step.last
                is_done = last is None
    except RedisUnavailable:
        if events:
            _audit(engine, AuditAction.DEAD_LETTER_RETRY, group, by, events=events)
        raise
    _audit(engine, AuditAction.DEAD_LETTER_RETRY, group, by, events=events)
    return Redriven(events=events, letters=letters, last=last if until else None)


def redrive_in_steps(engine: Engine, redis: Redis, group: str, by: Actor) -> Generator[Redriven]:
    """Redrive the letters that a group has now; yield each step. Raises what redrive_all does."""
    until = find_last(redis, group)
    after, is_done = None, False
    while not is_done:
        step = redrive_all(engine, redis, group, by, after=after, until=until, limit=STEP)
        yield step
        after = step.last
        is_done = after is None


def delete(engine: Engine, redis: Redis, group: str, letter_id: str, by: Actor) -> None:
    """Delete a dead letter for good. Raises NoSuchLetter, RedisUnavailable, RedisNoAnswer."""
    letter = read_letter(redis, group, letter_id)
    with _changing(group):
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
def _explained(group: str) -> Generator[None]:
    try:
        yield
    except RedisError as error:
        if to_code(error) == "WRONGTYPE":
            raise NotLetters(
                f"The key {DEAD}{group} is not a stream: another program wrote it. Nothing was"
                " done. Rename that key."
            ) from error
        raise RedisUnavailable(str(explain_redis(error))) from error


@contextmanager
def _changing(group: str) -> Generator[None]:
    """Explain an error of a change. One that Redis refuses has no effect."""
    try:
        with _explained(group):
            yield
    except RedisUnavailable as error:
        if isinstance(error.__cause__, ResponseError):
            raise
        raise RedisNoAnswer(
            f"{error} Whether this was done is not known: look at the group's dead letters."
            " One that is not among them any more was redriven or deleted."
        ) from error.__cause__
