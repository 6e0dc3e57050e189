"""The ASGI application, put together; nothing is opened before it starts."""

import os
import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI

from worker.api import problems
from worker.api.documents.openapi import DESCRIPTION, TAGS, document
from worker.api.middleware import BodyLimit, Correlation
from worker.api.prefer_wait import Outcomes
from worker.api.routes import (
    commands,
    events,
    generation,
    operations,
    punctuality,
    redirects,
    videos,
    webhooks,
)
from worker.api.shutdown import on_ending_signal
from worker.api.streaming.tail import Tail
from worker.runtime import logs
from worker.runtime.errors_explained import complain, explain
from worker.runtime.runtime import Runtime
from worker.runtime.settings import Settings
from worker.runtime.startup import check_database, check_settings


def create_app(runtime: Runtime | None = None) -> FastAPI:
    """Make the application; without `runtime` it opens one from the environment."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        opened = runtime or await to_thread.run_sync(_open)
        with opened:
            app.state.runtime = opened
            app.state.outcomes = Outcomes(opened.engine)
            settings = opened.settings
            tail = Tail(opened.engine, settings.redis(), settings.public_base_url)
            app.state.tail = tail
            with on_ending_signal(tail.stop):
                yield
            await tail.close()
            await app.state.outcomes.stop()

    app = FastAPI(
        title="publish-worker",
        version="1.0.0",
        summary="Takes a video from finished draft to published, once, and tells everyone.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    for part in (videos, generation, commands, events, punctuality, webhooks):
        app.include_router(part.router, prefix="/api/v1")
    for part in (operations, redirects):
        app.include_router(part.router)
    problems.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(Correlation)
    app.openapi = lambda: document(app)
    return app


def _open() -> Runtime:
    """Open what this process works with, or end it with one clear line."""
    try:
        settings = Settings()
        check_settings(settings)
        logs.configure(settings.log_format, settings.log_level)
        _allow_files()
        opened = Runtime.open(settings)
        check_database(opened.engine)
        opened.waker.wake()  # opens the way to the broker, so that no caller waits for that
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        complain(explained)
        os._exit(1)  # an exception here becomes a traceback and exit code 3 in every ASGI server
    return opened


def _allow_files() -> None:
    """As many open files as this process may have: each reader of a stream is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
