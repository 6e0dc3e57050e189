"""Real engines, started once; a database of its own for each test, cloned from a migrated one."""

import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Generator
from datetime import timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings
from redis import Redis
from sqlalchemy import Engine

from db.migrate import migrate
from db.session import connect, wait_briefly
from tests.support.api import Api, serving
from tests.support.clones import cloned, libpq, named
from tests.support.patience import patient
from tests.support.pipeline import Pipeline
from tests.support.platform import set_up
from tests.support.processes import Celeries, broker_only, celeries
from tests.support.valkey import Valkey
from tests.support.waiting import PATIENCE
from worker.local.engines import Engines, engines
from worker.rules import decision

# No test has a limit of time: on a busy machine it would fail now and then.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
# In the background of a shell, Ctrl-C is ignored, also by programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOM = 4 * 2**30
"""Bytes: two runs of the tests at once, with their write-ahead logs, stay far below."""

DOES_NOT_APPLY = "does not apply: "
"""How the reason of a skip begins that no installation can prevent."""
STARTS_PROCESSES = {"celery", "celeries", "valkey", "node"}
"""Fixtures that start a process for the test."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fail-on-skip`, for the check before a change lands."""
    parser.addoption(
        "--fail-on-skip",
        action="store_true",
        help="let a test fail that would be skipped because a program is not installed",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start processes."""
    for item in items:
        starts = STARTS_PROCESSES.intersection(getattr(item, "fixturenames", ()))
        if starts or "acceptance" in item.path.parts:
            item.add_marker("processes")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With `--fail-on-skip`, turn a skipped test into one that failed."""
    report = yield
    if report.skipped and item.config.getoption("--fail-on-skip"):
        reason = skip_reason(report)
        if not reason.startswith(DOES_NOT_APPLY):
            report.outcome = "failed"
            report.longrepr = f"With --fail-on-skip nothing may be skipped: {reason}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were skipped, and why."""
    skipped = Counter(skip_reason(each) for each in terminalreporter.stats.get("skipped", ()))
    for reason, count in skipped.items():
        terminalreporter.write_line(f"Skipped {count} test{'s'[: count > 1]}: {reason}")


def skip_reason(report: pytest.TestReport) -> str:
    """The reason as the test gives it."""
    _, _, text = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, "no reason")
    return text.removeprefix("Skipped: ")


@pytest.fixture(autouse=True, scope="session")
def logs_to_pytest() -> None:
    """Hand log lines to the standard library, where pytest collects them."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.render_to_log_kwargs,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


@pytest.fixture(autouse=True)
def patience() -> Generator[pytest.MonkeyPatch]:
    """Wait as long for a part in this process as for anything else."""
    with patient() as patch:
        yield patch


@pytest.fixture
def limits(patience: pytest.MonkeyPatch) -> None:
    """The time limits of production, for a test of one of them."""
    patience.undo()


@pytest.fixture(scope="session")
def running() -> Generator[Engines]:
    """PostgreSQL and Valkey, the programs of production, without fsync."""
    home = Path(tempfile.mkdtemp(prefix="pw-test-", dir=data_place()))
    home.chmod(0o755)
    try:
        with engines(home, durable=False) as started:
            yield started
    finally:
        shutil.rmtree(home, ignore_errors=True)


def data_place() -> str:
    """Memory where there is room for it: a clone of a database is three times as fast there."""
    memory, disk = Path("/dev/shm"), "/var/tmp"  # noqa: S108 - for mkdtemp
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > ROOM
    return str(memory) if has_room else disk


@pytest.fixture(scope="session")
def template(running: Engines) -> str:
    """The name of a database with every table and no row, to be cloned."""
    engine = connect(running.database_url)
    migrate(engine, with_platform=True)
    engine.dispose()
    return "publish_worker"


@pytest.fixture(scope="session")
def admin(running: Engines) -> Generator[psycopg.Connection]:
    """A session that makes and drops databases."""
    url = libpq(running.database_url, "postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database_url(running: Engines, admin: psycopg.Connection, template: str) -> Generator[str]:
    """A fresh database."""
    with cloned(admin, template) as name:
        yield named(running.database_url, name)


@pytest.fixture
def engine(database_url: str) -> Generator[Engine]:
    """An engine on a fresh database."""
    made = connect(database_url)
    yield made
    made.dispose()


@pytest.fixture
def redis_url(running: Engines) -> str:
    """An empty Valkey."""
    with Redis.from_url(running.redis_url) as client:
        client.flushall()
    return running.redis_url


@pytest.fixture
def redis(redis_url: str) -> Generator[Redis]:
    """A client of an empty Valkey."""
    client = Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.fixture
def platform(engine: Engine) -> Engine:
    """A database with a small platform: two workspaces, a user, categories and tags."""
    set_up(engine)
    return engine


@pytest.fixture
def pipeline(platform: Engine, redis: Redis) -> Pipeline:
    """Enqueue, carry out, relay and read: the whole path in this process, without Celery."""
    return Pipeline(engine=platform, redis=redis)


@pytest.fixture
def celery(tmp_path: Path, database_url: str, redis_url: str) -> Generator[Celeries]:
    """Real Celery processes on this test's database and Redis."""
    with celeries(tmp_path, database_url, redis_url) as started:
        yield started


@pytest.fixture
def patient_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a command or a video waits for two seconds in production: here for longer."""
    patient = partial(wait_briefly, seconds=PATIENCE)
    for module in ("db.commands.claim", "db.videos.generation"):
        monkeypatch.setattr(f"{module}.wait_briefly", patient)


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that waits or has failed is due again after so long that no busy machine meets it.

    In production the first pause is a second.
    """

    def compute(times: int) -> timedelta:
        return timedelta(minutes=10 * times)

    monkeypatch.setattr(decision, "compute_backoff", compute)


@pytest.fixture
def send_task(redis_url: str) -> Generator[Callable[..., object]]:
    """Sends Celery messages, as a producer that has only the broker does."""
    with broker_only(redis_url) as send:
        yield send


@pytest.fixture
def api(platform: Engine, redis: Redis, redis_url: str) -> Generator[Api]:
    """The API on a small platform, with keys for several callers."""
    with serving(platform, redis, redis_url) as started:
        yield started


@pytest.fixture
def valkey(tmp_path: Path) -> Generator[Valkey]:
    """A Valkey of the test's own, which may be killed."""
    started = Valkey(tmp_path)
    yield started
    started.kill()
    started.client.close()
