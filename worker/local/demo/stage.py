"""The demo's stage: fresh engines and data, the sample, real processes, clients, a subscriber."""

import shutil
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
from worker.local.children import PROCESSES, children, listen
from worker.local.demo.api import Api
from worker.local.demo.screen import Screen
from worker.local.demo.subscriber import Seen, Subscriber
from worker.local.demo.waiting import PATIENCE_SECONDS, Watch
from worker.local.engines import engines
from worker.operations.api_keys import create_key
from worker.runtime.settings import LogFormat, Settings

PLACE = "/var/tmp"  # noqa: S108 - for mkdtemp; as root the engines can enter no home
CROWD = 500
REMOVALS = 20
STUDIO, HARBOUR = 1, 2
"""The sample's workspaces."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that was looked at."""

    ok: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the scenes play with."""

    settings: Settings
    engine: Engine
    redis: Redis
    screen: Screen
    subscriber: Subscriber
    watch: Watch
    studio: Api
    """With a key for the first workspace."""
    harbour: Api
    """With a key for the second one."""
    crowd: list[int]
    """Many ready drafts."""
    findings: list[Finding] = field(default_factory=list[Finding])

    def check(self, ok: bool, text: str) -> None:
        """Note a finding, and show it."""
        self.findings.append(Finding(ok=ok, text=text))
        self.screen.check(ok, text)

    def await_events(self, video_ids: Iterable[int]) -> list[Seen]:
        """This scene's events, once each of these videos has had one."""
        wanted = set(video_ids)
        self.watch.wait(
            lambda: wanted <= {seen.video_id for seen in self.subscriber.news},
            f"the events of {len(wanted)} videos",
        )
        return self.subscriber.news

    def await_types(self, *types: str) -> list[Seen]:
        """This scene's first event of each of these types, in their order, once all are here."""

        def look() -> list[Seen] | None:
            news = {seen.type: seen for seen in reversed(self.subscriber.news)}
            return [news[each] for each in types] if news.keys() >= set(types) else None

        return self.watch.wait(look, " and ".join(types))


@contextmanager
def set_stage(screen: Screen) -> Generator[Stage]:
    """Set the stage; when the block ends, end and remove all of it."""
    with ExitStack() as stack:
        home = _home(stack)
        settings = _settings(home, stack)
        engine = connect(settings.database())
        stack.callback(engine.dispose)
        migrate(engine, with_platform=True)
        with transaction(engine) as tx:
            load_sample(tx)
            crowd = multiply_ready(tx, workspace_id=STUDIO, count=CROWD)
        redis = Redis.from_url(settings.redis(), socket_timeout=5)
        stack.callback(redis.close)
        subscriber = Subscriber(redis, screen.event)
        stack.enter_context(subscriber.following())
        listener = stack.enter_context(listen(settings))
        settings = _at_port(settings, listener.getsockname()[1])
        logs = {name: stack.enter_context((home / f"{name}.log").open("wb")) for name in PROCESSES}
        processes = stack.enter_context(children(settings, listener, logs.__getitem__))
        watch = Watch(processes=processes, logs=home, subscriber=subscriber)
        clients = [
            stack.enter_context(_client(settings, _key(engine, workspace)))
            for workspace in (STUDIO, HARBOUR)
        ]
        yield Stage(
            settings=settings,
            engine=engine,
            redis=redis,
            screen=screen,
            subscriber=subscriber,
            watch=watch,
            studio=Api(clients[0], screen, watch),
            harbour=Api(clients[1], screen, watch, whose="the other workspace's key"),
            crowd=crowd,
        )


def _home(stack: ExitStack) -> Path:
    home = Path(tempfile.mkdtemp(prefix="publish-worker-demo-", dir=PLACE))
    stack.callback(_remove, home)
    home.chmod(0o755)  # the engines, as nobody, must be able to enter; what is inside is closed
    return home


def _remove(home: Path) -> None:
    """All of it; an initdb that was interrupted may still be writing for a moment."""
    for _ in range(REMOVALS):
        shutil.rmtree(home, ignore_errors=True)
        if not home.exists():
            return
        time.sleep(0.1)


def _settings(home: Path, stack: ExitStack) -> Settings:
    """Of engines of its own, whatever the environment says: what is there is left alone."""
    found = stack.enter_context(engines(home / "engines"))
    return Settings(
        database_url=found.database_url,
        redis_url=found.redis_url,
        broker_url=found.redis_url,
        platform_schema="public",
        api_host="127.0.0.1",
        api_port=0,
        log_format=LogFormat.CONSOLE,
    )


def _at_port(settings: Settings, port: int) -> Settings:
    urls = {"api_port": port, "public_base_url": f"http://localhost:{port}"}
    return settings.model_copy(update=urls)


def _key(engine: Engine, workspace_id: int) -> str:
    return create_key(engine, name="demo", scope=Scope.PUBLISH, workspace_id=workspace_id)


def _client(settings: Settings, secret: str) -> httpx.Client:
    """An HTTP client like any other, and no proxy between."""
    return httpx.Client(
        base_url=f"http://{settings.api_host}:{settings.api_port}",
        headers={"Authorization": f"Bearer {secret}"},
        timeout=PATIENCE_SECONDS,
        trust_env=False,
    )
