"""Quotas of a workspace for test events and replays, counted by each API process for itself."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from math import ceil
from typing import Annotated

from fastapi import Depends, Request

from worker.api.problems import TOO_MANY_REPLAYS, TOO_MANY_TESTS, ApiProblem, ProblemKind

TESTS_PER_MINUTE = 20
TESTS_AT_ONCE = 10
"""A test occupies a thread for up to 15 seconds; all callers together have about 40."""
TESTS_AT_ONCE_PER_WORKSPACE = 2
REPLAYS_PER_MINUTE = 60
MINUTE = 60.0


class PerMinute:
    """At most `limit` uses by a workspace within a minute."""

    def __init__(
        self,
        kind: ProblemKind,
        limit: int,
        what: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kind = kind
        self._limit = limit
        self._what = what
        self._clock = clock
        self._lock = threading.Lock()
        self._uses: defaultdict[int, deque[float]] = defaultdict(deque)

    def count(self, workspace_id: int) -> None:
        """Count a use. Raises a problem that says when the next one is possible."""
        with self._lock:
            now = self._clock()
            self._forget(now - MINUTE)
            uses = self._uses[workspace_id]
            if len(uses) >= self._limit:
                detail = (
                    f"Workspace {workspace_id} has made {self._limit} {self._what} within a minute,"
                    " the most it may make. Nothing was done."
                )
                wait = str(ceil(uses[0] + MINUTE - now))
                raise ApiProblem(self._kind, detail, headers={"Retry-After": wait})
            uses.append(now)

    def _forget(self, until: float) -> None:
        for workspace_id, uses in list(self._uses.items()):
            while uses and uses[0] <= until:
                uses.popleft()
            if not uses:
                del self._uses[workspace_id]


class WebhookQuotas:
    """The quotas of one API process."""

    def __init__(self) -> None:
        self._tests = PerMinute(TOO_MANY_TESTS, TESTS_PER_MINUTE, "tests")
        self._replays = PerMinute(TOO_MANY_REPLAYS, REPLAYS_PER_MINUTE, "replays")
        self._lock = threading.Lock()
        self._testing: Counter[int] = Counter()

    def count_replay(self, workspace_id: int) -> None:
        """Count a replay. Raises a problem if there were too many."""
        self._replays.count(workspace_id)

    @contextmanager
    def count_test(self, workspace_id: int) -> Generator[None]:
        """Count a test, which runs as long as the block. Raises a problem if there are too many."""
        with self._lock:
            own, total = self._testing[workspace_id], self._testing.total()
            if own >= TESTS_AT_ONCE_PER_WORKSPACE or total >= TESTS_AT_ONCE:
                raise ApiProblem(TOO_MANY_TESTS)
            self._tests.count(workspace_id)
            self._testing[workspace_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._testing[workspace_id] -= 1
                self._testing += Counter()  # without the workspaces that run none


def _find_quotas(request: Request) -> WebhookQuotas:
    return request.app.state.webhook_quotas


CurrentQuotas = Annotated[WebhookQuotas, Depends(_find_quotas)]
"""The quotas of the process that answers."""
