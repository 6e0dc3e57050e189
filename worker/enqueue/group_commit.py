"""Group commit: requests that arrive while a transaction is under way share the next one.

No request waits for others: an idle door begins a transaction at once. Under load a transaction has
more requests, so that each of them costs less.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import structlog
from psycopg.errors import UniqueViolation

from db.errors import is_away, is_lost_session, is_silent
from db.loop_sessions import LoopPool
from schemas.command import PublishRequest
from worker.enqueue.accept import Outcome, accept_again, accept_group, log_accepted
from worker.enqueue.origin import Origin
from worker.enqueue.spans import end_span, submit
from worker.enqueue.submission import Accepted, Submission

MAX_COMMANDS = 1_000
"""Requests in one transaction; those above it wait for the next one."""
ALONE_AT_ONCE = 2
"""Transactions that retry single submissions at once; the other sessions are for new groups."""
ALONE_SECONDS = 10.0
"""How long submissions are retried after their group has failed."""
SESSIONS = 2 + ALONE_AT_ONCE
"""Sessions that are used at once: one for each lane, and those for retries."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class _Waiting:
    """A submission, and the caller that waits for its outcome."""

    submission: Submission
    outcome: asyncio.Future[Accepted]

    def answer(self, outcome: Outcome | Exception) -> None:
        """Give the caller the outcome; one that has left gets none."""
        if self.outcome.done():
            return
        if isinstance(outcome, Accepted):
            self.outcome.set_result(outcome)
        else:
            self.outcome.set_exception(outcome)


Commit = Callable[[Sequence[_Waiting]], Coroutine[Any, Any, Exception | None]]


class GroupCommit:
    """Accepts the submissions of one event loop, each of them alone accepted or refused."""

    def __init__(self, pool: LoopPool, wake: Callable[[], None]) -> None:
        """`wake` is called once for each transaction with new commands; it must not block."""
        self._pool = pool
        self._wake = wake
        self._retries: set[asyncio.Task[None]] = set()
        self._alone = asyncio.Semaphore(ALONE_AT_ONCE)
        # A submission that may wait for a lock does not hold up those that never do.
        self._plain = _Lane(self._commit)
        self._waits_for_locks = _Lane(self._commit)

    async def accept(self, requests: Sequence[PublishRequest], origin: Origin) -> Accepted:
        """Accept all of the requests, or none. Returns after the commit.

        If the caller is cancelled before its group begins, nothing is accepted. Raises what
        `worker.enqueue.accept.enqueue` raises.
        """
        submission = submit(requests, origin)
        lane = self._waits_for_locks if submission.may_wait else self._plain
        outcome: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        lane.add(_Waiting(submission=submission, outcome=outcome))
        return await (outcome if submission.span is None else _end_with(submission, outcome))

    async def close(self) -> None:
        """Wait until each submission has its outcome."""
        while tasks := [*self._plain.tasks, *self._waits_for_locks.tasks, *self._retries]:
            await asyncio.wait(tasks)

    async def _commit(self, group: Sequence[_Waiting]) -> Exception | None:
        """Accept a group in one transaction. A group that fails is retried in a task of its own.

        Returns the error of a server that does not answer: that is not retried.
        """
        try:
            await self._accept(group, accept_group)
        except Exception as error:  # noqa: BLE001 - each submission is retried, and gets its error
            if is_silent(error):
                _answer_all(group, error)
                return error
            if len(group) == 1 and not is_lost_session(error):
                group[0].answer(error)
                return None
            task = asyncio.create_task(self._retry(group, error))
            self._retries.add(task)
            task.add_done_callback(self._retries.discard)
        return None

    async def _accept(
        self, group: Sequence[_Waiting], accept: Callable[..., list[Outcome]]
    ) -> None:
        submissions = [each.submission for each in group]
        needs_transaction = any(each.may_wait or each.origin.actor for each in submissions)
        run = self._pool.run if needs_transaction else self._pool.run_statements
        outcomes = await run(accept, submissions)
        if any(isinstance(each, Accepted) and not each.replayed for each in outcomes):
            self._wake()
        for waiting, outcome in zip(group, outcomes, strict=True):
            waiting.answer(outcome)
        log_accepted(submissions, outcomes)

    async def _retry(self, group: Sequence[_Waiting], error: Exception) -> None:
        """Retry the whole group if its session was lost; then each submission alone, once."""
        log.warning("group.retried", submissions=len(group), error=str(error))
        if is_lost_session(error):
            try:
                await self._accept(group, accept_again)
            except Exception as again:  # noqa: BLE001 - as above
                if is_away(again) or len(group) == 1:
                    _answer_all(group, again)
                    return
            else:
                return
        deadline = time.monotonic() + ALONE_SECONDS
        await asyncio.gather(*(self._retry_alone(each, group, deadline, error) for each in group))

    async def _retry_alone(
        self, waiting: _Waiting, group: Sequence[_Waiting], deadline: float, error: Exception
    ) -> None:
        async with self._alone:
            if waiting.outcome.done():
                return
            if time.monotonic() > deadline:
                waiting.answer(error)
                return
            try:
                await self._accept_alone(waiting)
            except Exception as own:  # noqa: BLE001 - the caller gets it
                _answer_all(group if is_away(own) else [waiting], own)

    async def _accept_alone(self, waiting: _Waiting) -> None:
        try:
            await self._accept([waiting], accept_again)
        except UniqueViolation:  # the attempt that seemed to fail was committed in the meantime
            await self._accept([waiting], accept_again)


class _Lane:
    """Submissions that wait for their group; one group is committed at a time."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._waiting: deque[_Waiting] = deque()
        self._is_committing = False
        self.tasks: set[asyncio.Task[None]] = set()

    def add(self, waiting: _Waiting) -> None:
        """Let a submission be part of the next group."""
        self._waiting.append(waiting)
        if not self._is_committing:
            self._is_committing = True
            # In an empty context: what the first caller bound to the log is not the group's.
            task = asyncio.create_task(self._commit_all(), context=Context())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _commit_all(self) -> None:
        while group := self._take():
            if silence := await self._commit(group):
                _answer_all(self._waiting, silence)  # they have waited for the same server
        # Here, and not when the task is seen to be done: a caller may come in between.
        self._is_committing = False

    def _take(self) -> list[_Waiting]:
        """Take those that wait, up to the size of a group, and drop those whose caller has left."""
        waiting = [each for each in self._waiting if not each.outcome.done()]
        self._waiting.clear()
        if sum(len(each.submission.requests) for each in waiting) <= MAX_COMMANDS:
            return waiting
        taken = _choose_fairly(waiting)
        self._waiting.extend(each for each in waiting if each not in taken)
        return [each for each in waiting if each in taken]


def _choose_fairly(waiting: Sequence[_Waiting]) -> set[_Waiting]:
    """Choose one submission of each workspace in turn, until a group is full."""
    of_workspace: dict[int | None, list[_Waiting]] = {}
    for each in waiting:
        of_workspace.setdefault(each.submission.origin.workspace_id, []).append(each)
    chosen: set[_Waiting] = set()
    room = MAX_COMMANDS
    for each in chain.from_iterable(zip_longest(*of_workspace.values())):
        if each is None:
            continue
        room -= len(each.submission.requests)
        if room < 0 and chosen:
            break
        chosen.add(each)
    return chosen


async def _end_with(submission: Submission, outcome: asyncio.Future[Accepted]) -> Accepted:
    """Wait for the outcome, and end the submission's span with it."""
    try:
        accepted = await outcome
    except BaseException as error:
        end_span(submission, error)
        raise
    end_span(submission, accepted)
    return accepted


def _answer_all(group: Sequence[_Waiting], error: Exception) -> None:
    for each in group:
        each.answer(error)
