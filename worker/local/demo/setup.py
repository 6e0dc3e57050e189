"""The demo's surroundings: new engines and data, the sample, processes, clients, a subscriber."""

import shutil
import socket
import tempfile
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis import Redis
from sqlalchemy import Engine

from db.migrate import migrate
from db.sample_data import load_sample, multiply_ready
from db.session import connect, transaction
from schemas.values.caller import Scope
from worker.local.children import PROCESSES, children
from worker.local.demo.api import Api
from worker.local.demo.screen import Screen
from worker.local.demo.subscriber import ReceivedEvent, Subscriber
from worker.local.demo.waiting import TIMEOUT_SECONDS, Monitor
from worker.local.engines import Engines, engines
from worker.local.guard import start_guard
from worker.operations.api_keys import create_key
from worker.runtime.settings import LogFormat, UpSettings

FOLDER = "/var/tmp"  # noqa: S108 - for mkdtemp; root's engines cannot enter a home
HOST = "127.0.0.1"
MANY = 500
REMOVE_TRIES = 20
STUDIO, HARBOUR = 1, 2
"""The sample's workspaces."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of a check."""

    ok: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What the scenarios use."""

    settings: UpSettings
    engine: Engine
    redis: Redis
    screen: Screen
    subscriber: Subscriber
    monitor: Monitor
    studio: Api
    """With a key of the first workspace."""
    harbour: Api
    """With a key of the second one."""
    many: list[int]
    """Five hundred ready drafts."""
    checks: list[Check] = field(default_factory=list[Check])

    def check(self, ok: bool, text: str) -> None:
        """Keep the result of a check, and print it."""
        self.checks.append(Check(ok=ok, text=text))
        self.screen.check(ok, text)

    def wait_for_events(self, video_ids: Iterable[int]) -> list[ReceivedEvent]:
        """Return this scenario's events once there is one for each of these videos."""
        wanted = set(video_ids)
        self.monitor.wait_for(
            lambda: wanted <= {event.video_id for event in self.subscriber.new},
            f"the events of {len(wanted)} videos",
        )
        return self.subscriber.new

    def wait_for_types(self, *types: str) -> list[ReceivedEvent]:
        """Return this scenario's first event of each type, in the order of the types."""

        def find() -> list[ReceivedEvent] | None:
            first = {event.type: event for event in reversed(self.subscriber.new)}
            return [first[each] for each in types] if first.keys() >= set(types) else None

        return self.monitor.wait_for(find, " and ".join(types))


@contextmanager
def set_up(screen: Screen) -> Generator[Demo]:
    """Start everything; when the block ends, end and remove all of it."""
    with ExitStack() as stack:
        home = _make_folder(stack)
        guard = stack.enter_context(start_guard())
        listener = stack.enter_context(socket.create_server((HOST, 0)))
        found = stack.enter_context(engines(home / "engines", guard=guard))
        settings = _settings(found, int(listener.getsockname()[1]))
        engine = connect(settings.database())
        stack.callback(engine.dispose)
        many = _fill(engine)
        redis = stack.enter_context(Redis.from_url(settings.redis(), socket_timeout=5))
        subscriber = Subscriber(redis, screen.print_event)
        stack.enter_context(subscriber.following())
        logs = {name: stack.enter_context((home / f"{name}.log").open("wb")) for name in PROCESSES}
        processes = stack.enter_context(children(settings, listener, logs.__getitem__, guard))
        monitor = Monitor(processes=processes, logs=home, subscriber=subscriber)
        studio, harbour = (
            stack.enter_context(_connect(settings, engine, workspace))
            for workspace in (STUDIO, HARBOUR)
        )
        yield Demo(
            settings=settings,
            engine=engine,
            redis=redis,
            screen=screen,
            subscriber=subscriber,
            monitor=monitor,
            studio=Api(studio, screen, monitor),
            harbour=Api(harbour, screen, monitor, note="the other workspace's key"),
            many=many,
        )


def _make_folder(stack: ExitStack) -> Path:
    home = Path(tempfile.mkdtemp(prefix="publish-worker-demo-", dir=FOLDER))
    stack.callback(_remove, home)
    home.chmod(0o755)  # root's engines, as `nobody`, must be able to enter
    return home


def _remove(home: Path) -> None:
    """Remove the folder; an interrupted initdb may still write to it for a moment."""
    for _ in range(REMOVE_TRIES):
        shutil.rmtree(home, ignore_errors=True)
        if not home.exists():
            return
        time.sleep(0.1)


def _settings(found: Engines, port: int) -> UpSettings:
    """Settings of the demo's own, whatever the environment variables name."""
    return UpSettings(
        database_url=found.database_url,
        redis_url=found.redis_url,
        broker_url=found.redis_url,
        platform_schema="public",
        api_host=HOST,
        api_port=port,
        public_base_url=f"http://localhost:{port}",
        log_format=LogFormat.CONSOLE,
    )


def _fill(engine: Engine) -> list[int]:
    migrate(engine, with_platform=True)
    with transaction(engine) as tx:
        load_sample(tx)
        return multiply_ready(tx, workspace_id=STUDIO, count=MANY)


def _connect(settings: UpSettings, engine: Engine, workspace: int) -> httpx.Client:
    """An HTTP client with a key of the workspace, and without a proxy."""
    key = create_key(engine, name="demo", scope=Scope.PUBLISH, workspace_id=workspace)
    return httpx.Client(
        base_url=f"http://{settings.api_host}:{settings.api_port}",
        headers={"Authorization": f"Bearer {key}"},
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
    )
