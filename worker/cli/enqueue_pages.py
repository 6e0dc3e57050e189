"""Many requests of the command line: accepted in pages, awaited, and printed page by page."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import typer
from uuid_utils.compat import uuid7

from db.commands.inbox import StoredCommand
from publish_worker_client.events.names import Trigger
from schemas.audit import AuditAction
from schemas.command import MAX_COMMANDS, CommandState, PublishRequest
from schemas.values.actor import AuditRecord
from worker.cli.audit import find_operator
from worker.cli.commands import CommandPages
from worker.cli.connect import open_runtime
from worker.cli.interrupts import ctrl_c_held
from worker.cli.progress import WorkBar, progress, say_what_was_kept
from worker.enqueue import changes
from worker.enqueue.accept import Origin, enqueue
from worker.enqueue.submission import Accepted
from worker.operations.audit import refusals_recorded
from worker.runtime.budget import Budget
from worker.runtime.runtime import Runtime

POLL_SECONDS = 0.05
SUCCESSES = {CommandState.PUBLISHED, CommandState.UNPUBLISHED, CommandState.UNCHANGED}
NOT_FINISHED = 3
SCOPE = "cli"
"""Idempotency keys of the command line belong to it."""


@dataclass(kw_only=True)
class _Job:
    """The requests of one command line, and what was accepted of them."""

    requests: Sequence[PublishRequest]
    key: str | None
    """The idempotency key. None: there is one page, and a repetition is another command."""
    is_chosen: bool
    """Whether the caller gave the key."""
    correlation_id: str
    printer: CommandPages
    pages: list[list[StoredCommand]] = field(default_factory=list[list[StoredCommand]])
    accepted: int = 0
    """How many requests."""
    printed: int = 0
    """How many pages."""

    def list_pages(self) -> Iterator[Sequence[PublishRequest]]:
        """Yield the requests, as many as one transaction accepts."""
        for start in range(0, len(self.requests), MAX_COMMANDS):
            yield self.requests[start : start + MAX_COMMANDS]

    def accept_page(self, runtime: Runtime, number: int, page: Sequence[PublishRequest]) -> None:
        """Accept one page in a transaction of its own. Raises what `enqueue` raises."""
        operator = find_operator(self.correlation_id)
        origin = Origin(
            trigger=Trigger.CLI,
            correlation_id=self.correlation_id,
            workspace_id=None,
            idempotency_scope=SCOPE,
            idempotency_key=self.key and f"{self.key}#{number}",
            actor=operator,
        )
        attempt = AuditRecord(actor=operator, action=AuditAction.COMMAND_CREATE)
        with ctrl_c_held(), refusals_recorded(runtime.engine, attempt):
            accepted: Accepted = enqueue(runtime.engine, runtime.waker, page, origin)
            self.pages.append(accepted.commands)
            self.accepted += len(page)

    def print_next(self, commands: Sequence[StoredCommand]) -> None:
        """Print the next page as these commands."""
        with ctrl_c_held():
            self.printer.add(commands)
            self.printed += 1

    def print_rest(self) -> None:
        """Print the pages that are not printed as they were accepted, as one."""
        with ctrl_c_held():
            if rest := self.pages[self.printed :]:
                self.printer.add(chain.from_iterable(rest))
                self.printed = len(self.pages)

    def count_commands(self) -> int:
        """Count the commands that were accepted: a window is two."""
        return sum(map(len, self.pages))

    def describe(self) -> str | None:
        """Say what was kept when this ends early. None: nothing, as it was one page."""
        total, done = len(self.requests), self.accepted
        if done == total:
            count = self.count_commands()
            what = "The command was" if count == 1 else f"All {count} commands were"
            return f"{what} accepted and will be carried out: `publish-worker commands show ID`."
        if total <= MAX_COMMANDS:
            return None
        if not done:
            return f"None of the {total} videos was accepted."
        last = self.requests[done - 1].video_id
        key = "the same command line" if self.is_chosen else f"it with --idempotency-key {self.key}"
        return (
            f"{done} of {total} videos were accepted, up to video {last}; the others were not. To "
            f"go on, repeat {key}: what was accepted is not enqueued again, and what comes after "
            "it may be corrected."
        )


def enqueue_in_pages(
    requests: Sequence[PublishRequest], key: str | None, wait: float | None, *, as_json: bool
) -> None:
    """Accept the requests, 1,000 in a transaction, and print their commands.

    With `wait`, the outcomes are awaited for that time, in seconds, and decide the exit code.

    If this ends early, what was accepted and is not printed is printed first: its ids are needed.
    Ctrl-C interrupts before or after a page is accepted or printed, so each is printed once. A page
    whose output fails, or that a second Ctrl-C interrupts, is printed again from its start: an id
    may be printed twice then, but none is left out.
    """
    is_long = len(requests) > MAX_COMMANDS
    job = _Job(
        requests=requests,
        key=key or (str(uuid7()) if is_long else None),
        is_chosen=key is not None,
        correlation_id=str(uuid7()),
        printer=CommandPages(as_json=as_json),
    )
    with open_runtime() as runtime, say_what_was_kept(job.describe):
        try:
            _accept(runtime, job, prints=wait is None)
            code = 0 if wait is None else _await(runtime, job, wait)
        except BaseException:
            job.print_rest()
            raise
    if code:
        raise typer.Exit(code)


def _accept(runtime: Runtime, job: _Job, *, prints: bool) -> None:
    """Accept the pages; print each if nothing is awaited."""
    total = len(job.requests)
    with progress("Accepting", total, shown=total > MAX_COMMANDS) as bar:
        for number, page in enumerate(job.list_pages(), 1):
            job.accept_page(runtime, number, page)
            if prints:
                with bar.hidden():
                    job.print_next(job.pages[-1])
            bar.advance(len(page))


def _await(runtime: Runtime, job: _Job, seconds: float) -> int:
    """Print each page when its commands have ended or the time is over; return the exit code."""
    budget, states = Budget(seconds), set[str]()
    with progress("Waiting", job.count_commands()) as bar:
        for page in job.pages:
            _await_page(runtime, page, budget, bar)
            now = changes.read_commands(runtime.engine, [each.id for each in page])
            states.update(each.state for each in now)
            with bar.hidden():
                job.print_next(now)
    if any(not CommandState(state).is_outcome for state in states):
        return NOT_FINISHED
    return 0 if states <= SUCCESSES else 1


def _await_page(
    runtime: Runtime, page: Sequence[StoredCommand], budget: Budget, bar: WorkBar
) -> None:
    """Wait until the commands of a page have ended, or the time is over."""
    open_ids = {command.id for command in page}
    while True:
        ended = changes.find_ended(runtime.engine, list(open_ids))
        bar.advance(len(ended))
        open_ids -= ended
        if not open_ids or budget.is_spent:
            return
        time.sleep(POLL_SECONDS)
