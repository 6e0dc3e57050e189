"""The console at scale: its pages in a real browser while a backlog drains, and `/metrics`.

The database is filled as after weeks of work (bench/console_data.py). API, worker and beat run as
in production. The pages are loaded in turn, so that the drain affects all of them alike; the first
page more often than the others.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import cycle
from statistics import quantiles
from typing import Any

import httpx

from bench import browser, ours
from bench.browser import Times
from bench.console_data import Filled, Filling, add_open_commands, fill
from bench.part import Work
from bench.report import Report, Row, Table, at_most, figure
from bench.setup import WORKSPACE, Run, Setup
from db.session import transaction
from schemas.values.caller import Scope
from worker.api.console.session import COOKIE
from worker.operations.api_keys import create_key
from worker.operations.console_sessions import create_session
from worker.operations.gauges import FRESH_SECONDS

GOAL_MS = 100.0
"""The 95th percentile of a page."""
FIRST = "now"
OTHERS_EVERY = 12
"""Of the loads of the first page, each of the others is loaded after every twelfth."""
PAGES = {
    FIRST: "/console/",
    "calendar": "/console/calendar/",
    "videos": "/console/videos/",
    "videos that failed": "/console/videos/?state=failed",
    "a video": "/console/videos/{}",
    "failures": "/console/failures/",
    "webhooks": "/console/webhooks/",
    "keys": "/console/keys/",
    "audit": "/console/audit/",
}
OF_WORKSPACE = " of one workspace"
"""The same page with a key of one workspace: its statements have other plans."""
SEEN_BY_ONE = (FIRST, "calendar", "videos", "failures")
REQUESTS = {
    "GET /api/v1/videos": "/api/v1/videos",
    "GET /api/v1/videos?state=scheduled": "/api/v1/videos?state=scheduled",
    "GET /console/calendar/commands": "/console/calendar/commands",
}
POSITION = "SELECT position FROM publisher.event_position"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured, in milliseconds."""

    filling: Filling
    pages: dict[str, Times] = field(default_factory=dict[str, Times])
    """While the backlog drained."""
    requests: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    drained: int
    """Commands that ended meanwhile."""
    seconds: float
    metrics: list[float]
    """Scrapes of `/metrics` that are not answered from memory."""
    open_commands: int
    """Of the scrapes."""

    @property
    def rate(self) -> float:
        """Commands a second that ended while the pages were loaded."""
        return self.drained / self.seconds

    @property
    def is_steady(self) -> bool:
        """Whether the backlog lasted until the end."""
        return self.drained < self.filling.backlog


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Two signed-in people and a client of the API."""

    address: str
    pages: Mapping[str, tuple[Any, Iterator[str]]]
    """The window and the addresses of each page."""
    client: httpx.Client

    def load(self, name: str, times: dict[str, Times]) -> None:
        """Open a page once more."""
        page, addresses = self.pages[name]
        browser.load(page, self.address + next(addresses), times.setdefault(name, Times()))

    def request(self, name: str, times: dict[str, list[float]]) -> None:
        """Send a request once more."""
        path = REQUESTS.get(name, name)
        began = time.perf_counter()
        self.client.get(path).raise_for_status()
        times.setdefault(name, []).append(1_000 * (time.perf_counter() - began))


def measure(
    setup: Setup,
    filling: Filling,
    *,
    rounds: int,
    scrapes: int,
    open_commands: int,
    say: Callable[[str], None],
) -> Result:
    """Fill a database, load the pages while its backlog drains, then scrape the metrics."""
    with setup.run() as run:
        filled = fill(run, filling, say)
        with _serve(run, filled) as desk:
            for name in desk.pages:  # to warm up
                desk.load(name, {})
            say(f"{rounds} loads of the first page while {filling.backlog:,} commands drain")
            before = _position(run)
            with ours.worker(run):
                began = time.perf_counter()
                pages, requests = _load_all(desk, rounds)
                drained, seconds = _position(run) - before, time.perf_counter() - began
            say(f"{open_commands:,} open commands, {scrapes} scrapes")
            add_open_commands(run.engine, open_commands)
            return Result(
                filling=filling,
                pages=pages,
                requests=requests,
                drained=drained,
                seconds=seconds,
                metrics=_scrape(desk, scrapes),
                open_commands=open_commands,
            )


@contextmanager
def _serve(run: Run, filled: Filled) -> Generator[Desk]:
    """Start the API and the browser, and sign two people in."""
    with ExitStack() as stack:
        opened = stack.enter_context(browser.chromium())
        _, port = stack.enter_context(ours.api(run))
        address = f"http://127.0.0.1:{port}"
        keys = [_create_key(run, each) for each in (None, WORKSPACE)]
        every, one = (
            browser.open_window(opened, address, COOKIE, _sign_in(run, key)) for key in keys
        )
        pages = {name: (every, _addresses(path, filled)) for name, path in PAGES.items()}
        for name in SEEN_BY_ONE:
            pages[name + OF_WORKSPACE] = (one, _addresses(PAGES[name], filled))
        client = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {keys[0]}"},
            cookies={COOKIE: _sign_in(run, keys[0])},
            timeout=60,
        )
        yield Desk(address=address, pages=pages, client=stack.enter_context(client))


def _load_all(desk: Desk, rounds: int) -> tuple[dict[str, Times], dict[str, list[float]]]:
    """Load everything in turn; return the times of pages and of requests."""
    pages: dict[str, Times] = {}
    requests: dict[str, list[float]] = {}
    names = [*(name for name in desk.pages if name != FIRST), *REQUESTS]
    others = cycle(names)
    each_time = -(-len(names) // min(OTHERS_EVERY, rounds))  # few rounds load each at least once
    for _ in range(rounds):
        desk.load(FIRST, pages)
        for _ in range(each_time):
            name = next(others)
            if name in REQUESTS:
                desk.request(name, requests)
            else:
                desk.load(name, pages)
    return pages, requests


def _scrape(desk: Desk, scrapes: int) -> list[float]:
    """Scrape as seldom as readings stay fresh; the first scrape connects, and does not count."""
    times: dict[str, list[float]] = {}
    for _ in range(scrapes + 1):
        time.sleep(FRESH_SECONDS + 0.1)
        desk.request("/metrics", times)
    return times["/metrics"][1:]


def _addresses(path: str, filled: Filled) -> Iterator[str]:
    """Give the addresses of a page, again and again; of a video's page those of many videos."""
    step = max(1, len(filled.videos) // 100)
    return cycle([path.format(each) for each in filled.videos[::step]] if "{" in path else [path])


def _create_key(run: Run, workspace_id: int | None) -> str:
    return create_key(run.engine, name="bench", scope=Scope.ADMIN, workspace_id=workspace_id)


def _sign_in(run: Run, key: str) -> str:
    session = create_session(
        run.engine, key, user_agent="bench", client=None, correlation_id="bench"
    )
    return session.token


def _position(run: Run) -> int:
    with transaction(run.engine) as tx:
        row = tx.execute(POSITION).fetchone()
    return row[0] if row else 0


def percentile(values: Sequence[float], number: int) -> float:
    """Return a percentile of at least one value."""
    return quantiles(values, n=100, method="inclusive")[number - 1] if values[1:] else values[0]


def console_tables(result: Result) -> list[Table]:
    """Every page and every request."""
    what = f"{result.filling.commands:,} commands and {result.filling.events:,} events"
    drains = f"while {result.rate:,.0f} commands a second are carried out"
    scrape = f"GET /metrics, {result.open_commands:,} more open commands, no worker"
    return [
        Table(
            title="Pages of the console",
            note=f"In Chromium, with {what}, {drains}. Times are in ms.",
            head=(
                *("", "loads", "response p50", "p95", "max", "shown p50", "p95"),
                *("loaded p50", "p95"),
            ),
            rows=[_page_row(name, times) for name, times in result.pages.items()],
        ),
        Table(
            title="Requests beside them",
            note="Each is sent by one client, one at a time. Times are in ms.",
            head=("", "requests", "p50", "p95", "max"),
            rows=[
                (name, f"{len(times):,}", *_percentiles(times), figure(max(times)))
                for name, times in (result.requests | {scrape: result.metrics}).items()
            ],
        ),
    ]


def _page_row(name: str, times: Times) -> Sequence[str]:
    return (
        *(name, f"{len(times.response):,}", *_percentiles(times.response)),
        *(figure(max(times.response)), *_percentiles(times.shown), *_percentiles(times.loaded)),
    )


def _percentiles(values: Sequence[float]) -> tuple[str, str]:
    return figure(percentile(values, 50)), figure(percentile(values, 95))


def _goals(result: Result) -> list[Row]:
    first = result.pages[FIRST]
    slowest = max(
        (name for name in result.pages if name != FIRST),
        key=lambda name: percentile(result.pages[name].response, 95),
    )
    measured = {
        "first page of the console, response p95": first.response,
        "… until it is shown, p95": first.shown,
        f"slowest of the others, “{slowest}”, response p95": result.pages[slowest].response,
        f"/metrics, {result.open_commands:,} open commands, p95": result.metrics,
    }
    return [
        at_most(what, percentile(times, 95), GOAL_MS, " ms", f"p50 {_percentiles(times)[0]} ms")
        for what, times in measured.items()
    ]


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    filling = work.choose(
        quick=Filling(
            videos=6_000,
            commands=6_000,
            events=20_000,
            failed=100,
            scheduled=100,
            waiting=20,
            backlog=3_000,
            deliveries=100,
        ),
        whole=Filling(
            videos=1_000_000,
            commands=1_000_000,
            events=10_000_000,
            failed=20_000,
            scheduled=25_000,
            waiting=2_500,
            backlog=600_000,
            deliveries=10_000,
        ),
    )
    result = measure(
        setup,
        filling,
        rounds=work.choose(quick=3, whole=120),
        scrapes=work.choose(quick=1, whole=20),
        open_commands=work.choose(quick=1_000, whole=1_000_000),
        say=lambda step: work.progress.begin(f"console: {step}"),
    )
    return Report(
        goals=_goals(result),
        tables=console_tables(result),
        numbers=asdict(result) | {"rate": result.rate},
        failures=() if result.is_steady else ["the backlog ended before the last page was loaded"],
    )
