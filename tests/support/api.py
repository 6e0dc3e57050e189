"""The API in this process, on real engines, as several callers see it."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis
from sqlalchemy import Engine

from schemas.values.caller import Scope
from tests.support.pipeline import BASE_URL, Pipeline
from worker.api.application import create_app
from worker.operations.api_keys import create_key
from worker.runtime.runtime import Runtime
from worker.runtime.settings import Settings
from worker.runtime.wake_ups import Waker

CALLERS: dict[str, tuple[Scope, int | None]] = {
    "publish": (Scope.PUBLISH, 1),
    "events": (Scope.EVENTS, 1),
    "read": (Scope.READ, 1),
    "admin": (Scope.ADMIN, 1),
    "elsewhere": (Scope.ADMIN, 2),
    "everywhere": (Scope.ADMIN, None),
}


@dataclass
class Api(Pipeline):
    """The whole path, with an HTTP client in front of it."""

    client: TestClient | None = None
    secrets: dict[str, str] = field(default_factory=dict[str, str])

    def call(self, method: str, path: str, key: str | None = "publish", **request: Any) -> Any:
        """Call the API with one of the keys of CALLERS (or None, or a secret)."""
        assert self.client is not None
        headers = dict(request.pop("headers", {}))
        if key is not None:
            secret = key if key not in CALLERS else self.secret(key)
            headers["Authorization"] = f"Bearer {secret}"
        return self.client.request(method, path, headers=headers, **request)

    def get(self, path: str, key: str | None = "publish", **request: Any) -> Any:
        """GET below /api/v1."""
        return self.call("GET", f"/api/v1{path}", key, **request)

    def post(self, path: str, key: str | None = "publish", **request: Any) -> Any:
        """POST below /api/v1."""
        return self.call("POST", f"/api/v1{path}", key, **request)

    def secret(self, caller: str) -> str:
        """The key of one of CALLERS, made on first use."""
        if caller not in self.secrets:
            scope, workspace_id = CALLERS[caller]
            self.secrets[caller] = create_key(
                self.engine, name=caller, scope=scope, workspace_id=workspace_id
            )
        return self.secrets[caller]

    @contextmanager
    def working(self) -> Generator[None]:
        """A worker carries out what is due while the block runs."""
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(0.02):
                self.run()

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield
        finally:
            stop.set()
            worker.join()


_idle: list[tuple[FastAPI, list[Runtime]]] = []


@contextmanager
def borrow_app(runtime: Runtime) -> Generator[FastAPI]:
    """Lend an application that opens `runtime`: a new one builds its routes for 0.1 s."""
    app, runtimes = _idle.pop() if _idle else _create_app()
    runtimes[:] = [runtime]
    yield app
    _idle.append((app, runtimes))


def _create_app() -> tuple[FastAPI, list[Runtime]]:
    runtimes: list[Runtime] = []
    return create_app(lambda: runtimes[0]), runtimes


@contextmanager
def serving(engine: Engine, redis: Redis, redis_url: str, **more: Any) -> Generator[Api]:
    """The API, started and stopped as a server does it; `more` are settings."""
    api = Api(engine=engine, redis=redis)
    settings = Settings(
        database_url=str(engine.url), redis_url=redis_url, public_base_url=BASE_URL, **more
    )
    waker = Waker(redis=Redis.from_url(redis_url), send=lambda _: api.wake_ups.append(1))
    own = Runtime(settings=settings, engine=engine, redis=Redis.from_url(redis_url), waker=waker)
    with borrow_app(own) as app, TestClient(app, raise_server_exceptions=False) as client:
        api.client = client
        yield api
