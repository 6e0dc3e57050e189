"""Metrics of this process, for Prometheus: counters and histograms, made on first use.

They are in a registry of their own, and importing this module makes none: a program that imports
`worker.enqueue` may have metrics of its own. Values that the database knows are gauges of the API
(worker/operations/gauges.py).

With PROMETHEUS_MULTIPROC_DIR, the library's own variable, each process keeps its values in files
there, and any of the processes that share the directory can report the sum of all.
"""

import os
import tempfile
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from publish_worker_client.events.names import Action
from schemas.command import CommandState
from worker.runtime.metrics_directory import make_directory, take_place
from worker.runtime.settings import OutletName, SettingsError

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
NAMESPACE = "publish_worker"

LATENESS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
"""Seconds: fine around the goal of 10 to 50 ms, then up to what an outage costs."""
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 30)
WAITS = (1, 5, 15, 60, 300, 900, 3_600, 4 * 3_600, 24 * 3_600)
SIZES = (1, 2, 5, 10, 25, 50, 100, 150, 200, 250)

ANSWERS = ("2xx", "3xx", "4xx", "5xx", "none")
"""How an attempt at a webhook ends; none: no answer arrived."""
UNREACHABLE, OUT_OF_SYNC = "unreachable", "out_of_sync"

_names: dict[int, str] = {}
"""Names of processes in place of their ids."""


class BulkHistogram(Histogram):
    """A histogram that takes many values at the cost of one for each of its buckets."""

    def observe_many(self, amounts: Sequence[float]) -> None:
        """Observe each of the amounts."""
        if not amounts:
            return
        self._raise_if_not_observable()
        self._sum.inc(sum(amounts))
        bounds = self._upper_bounds
        for index, count in Tally([bisect_left(bounds, amount) for amount in amounts]).items():
            self._buckets[index].inc(count)


class ProcessMetrics:
    """The metrics of this process. Known labels begin at 0, so that the first increase is seen."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.commands = self._counter(
            "commands", "Commands that ended, the canary's left out.", "action", "outcome"
        )
        self.lateness = self._histogram(
            "command_lateness_seconds",
            "From the moment a command was due to its commit, the canary's left out.",
            LATENESS,
        )
        self.failed_attempts = self._counter(
            "command_failed_attempts", "Attempts at commands that failed with an error."
        )
        self.generation_wait = self._histogram(
            "generation_wait_seconds",
            "How long a command that ended had waited for generation beyond its time.",
            WAITS,
        )
        self.batch_commands = self._histogram(
            "batch_commands", "Commands that one transaction carried out.", SIZES
        )
        self.batch_duration = self._histogram(
            "batch_duration_seconds", "From the claim of a batch to its commit.", DURATIONS
        )
        self.relayed_events = self._counter(
            "relayed_events", "Events that relays sent to an outlet, with repetitions.", "outlet"
        )
        self.relay_errors = self._counter(
            "relay_errors", "Relays that an outlet did not accept.", "outlet", "reason"
        )
        self.webhook_attempts = self._counter(
            "webhook_attempts", "Requests to webhook endpoints, by the answer.", "answer"
        )
        self.webhook_duration = self._histogram(
            "webhook_attempt_duration_seconds", "The time of a request to an endpoint.", DURATIONS
        )
        self.quarantined = self._counter(
            "messages_quarantined", "Messages and reports that were quarantined."
        )
        self.sweeps = self._counter("sweeps", "Sweeps that beat has sent.", "task")
        self.http_requests = self._counter(
            "http_requests",
            "Requests that were answered, by the route's template.",
            "route",
            "method",
            "status",
        )
        self.http_duration = self._histogram(
            "http_request_duration_seconds",
            "The time to an answer's end; of a stream, until it was closed.",
            DURATIONS,
            "route",
            "method",
        )
        self._begin_at_zero()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace=NAMESPACE, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: Sequence[float], *labels: str
    ) -> BulkHistogram:
        return BulkHistogram(
            name, text, labels, namespace=NAMESPACE, registry=self.registry, buckets=buckets
        )

    def _begin_at_zero(self) -> None:
        for outcome in CommandState:
            for action in Action if outcome.is_outcome else ():
                self.commands.labels(action, outcome)
        for outlet in OutletName:
            self.relayed_events.labels(outlet)
            for reason in (UNREACHABLE, OUT_OF_SYNC):
                self.relay_errors.labels(outlet, reason)
        for answer in ANSWERS:
            self.webhook_attempts.labels(answer)


@cache
def get_metrics() -> ProcessMetrics:
    """Return the metrics of this process.

    A command line that may not write to the directory keeps its values to itself.
    """
    if not os.access(os.environ.get(DIRECTORY, "/"), os.W_OK) and DIRECTORY in os.environ:
        values.ValueClass = values.MutexValue
    return ProcessMetrics()


def prepare_metrics(*, needs_directory: bool = False, role: str | None = None) -> None:
    """Make the metrics of this process, before it starts threads or forks.

    `needs_directory`: without PROMETHEUS_MULTIPROC_DIR, its processes share a temporary one.
    `role`: this process is one of several equal ones, and continues the values of one that has
    ended. Raises SettingsError if the directory cannot be written to. A second call changes
    nothing.
    """
    if get_metrics.cache_info().currsize:
        return
    disable_created_metrics()
    if needs_directory and not os.environ.get(DIRECTORY):
        os.environ[DIRECTORY] = str(make_directory())
    if directory := os.environ.get(DIRECTORY):
        _check_directory(Path(directory))
        if role:
            name_process(take_place(Path(directory), role))
        # The library chooses when it is imported, and names files by process id alone.
        values.ValueClass = values.MultiProcessValue(identify_process)
    get_metrics()


def name_process(name: str) -> None:
    """Let this process continue the values of an earlier one with the same name, which has ended.

    Otherwise each process that a pool replaces would leave a file that every scrape reads.
    """
    _names[os.getpid()] = name


def identify_process() -> str:
    """Return what distinguishes this process's files from those of others in the directory."""
    process_id = os.getpid()
    return _names.get(process_id) or str(process_id)


def make_registry(*more: Collector) -> CollectorRegistry:
    """Return what a scrape reads: the metrics of all processes that share ours, and `more`."""
    registry = CollectorRegistry()
    if directory := os.environ.get(DIRECTORY):
        MultiProcessCollector(registry, directory)
    else:
        registry.register(get_metrics().registry)
    for collector in more:
        registry.register(collector)
    return registry


def _check_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise SettingsError(
            f"{DIRECTORY}={directory} cannot be used: {error.strerror}. Name a directory that the "
            "process may write to, one for each container, or leave it out."
        ) from None
