"""The ASGI application. It connects to nothing before the server starts it."""

import os
import resource
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import to_thread
from fastapi import FastAPI

from db.loop_sessions import LoopPool
from worker.api import exception_handlers
from worker.api.admission import ALL_AT_ONCE, Admission
from worker.api.audit import RefusalLimit
from worker.api.console.errors import respond
from worker.api.console.pages import add_pages
from worker.api.console.recent import Recents
from worker.api.console.session import SESSIONS as CONSOLE_SESSIONS
from worker.api.direct_publish import PublishApi
from worker.api.documents.openapi import DESCRIPTION, TAGS, document
from worker.api.documents.viewer import add_viewer
from worker.api.http_protocol import bound_connections
from worker.api.key_cache import KeyCache
from worker.api.middleware import Correlation, Cors, HeadAsGet
from worker.api.prefer_wait import OutcomeWatcher
from worker.api.process_heartbeat import report_process
from worker.api.request_limits import HeadLimit
from worker.api.routes import (
    audit_log,
    commands,
    events,
    generation,
    ical,
    metrics,
    operations,
    punctuality,
    redirects,
    videos,
    webhooks,
)
from worker.api.routing import API
from worker.api.shutdown import call_on_shutdown
from worker.api.streaming.tail import CATCHING_UP, Tail
from worker.api.webhook_quotas import TESTS_AT_ONCE, WebhookQuotas
from worker.enqueue.group_commit import SESSIONS, GroupCommit
from worker.operations.gauges import GaugeReader
from worker.runtime import logs
from worker.runtime.background_waker import BackgroundWaker
from worker.runtime.errors_explained import complain, explain
from worker.runtime.interpreter import tuned_for_loop
from worker.runtime.metrics import prepare_metrics
from worker.runtime.runtime import Runtime
from worker.runtime.settings import Settings
from worker.runtime.startup import check_database, check_oidc_installed, check_settings
from worker.runtime.tracing import start_tracing, stop_tracing

if TYPE_CHECKING:
    from worker.api.oidc.provider import IdentityProvider

STATEMENT_SECONDS = 5.0
"""A caller waits for the answer, and other callers for the connection."""
CONNECTIONS = ALL_AT_ONCE - TESTS_AT_ONCE + CATCHING_UP + 4
"""Of the pool for threads, a fixed number: for the requests that are worked on at once, for readers
that catch up, for the tails of events and outcomes, and two for what the console shows again and
again."""


def create_app(open_runtime: Callable[[], Runtime] | None = None) -> FastAPI:
    """Create the application. Whenever it starts, it opens a runtime, by default the environment's.

    It can be started again after it has stopped.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        bound_connections()
        app.state.admission = Admission()
        with await to_thread.run_sync(open_runtime or _open) as opened, tuned_for_loop():
            app.state.runtime = opened
            pool = LoopPool(opened.engine, SESSIONS + 1)  # one more for the look-ups of keys
            waker = BackgroundWaker(opened.waker)
            app.state.keys = KeyCache(pool)
            app.state.refusal_limit = RefusalLimit()
            app.state.group_commit = GroupCommit(pool, waker.wake)
            app.state.outcome_watcher = OutcomeWatcher(opened.engine)
            app.state.webhook_quotas = WebhookQuotas()
            settings = opened.settings
            app.state.recents = recents = Recents()
            app.state.console_pool = console_pool = LoopPool(opened.engine, CONSOLE_SESSIONS)
            app.state.identity_provider = _open_provider(settings)
            app.state.gauges = GaugeReader(opened.engine, opened.waker.redis, settings)
            tail = Tail(opened.engine, settings.redis(), settings.public_base_url)
            app.state.tail = tail
            async with report_process(pool):
                with call_on_shutdown(tail.stop):
                    yield
            await tail.close()
            await app.state.outcome_watcher.stop()
            await app.state.group_commit.close()
            await app.state.keys.close()
            await app.state.gauges.close()
            await pool.close()
            await to_thread.run_sync(recents.close)
            await console_pool.close()
            await to_thread.run_sync(waker.close)
            await to_thread.run_sync(stop_tracing)

    app = PublishApi(
        title="publish-worker",
        version="1.0.0",
        summary="Publishes finished videos exactly once, and emits an event for every change.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # FastAPI's pages load their scripts from another host
        redoc_url=None,
    )
    for module in (videos, generation, commands, events, punctuality, webhooks, audit_log):
        app.include_router(module.router, prefix=API)
    for module in (operations, metrics, redirects, ical):
        app.include_router(module.router)
    add_viewer(app)
    add_pages(app)
    exception_handlers.install(app, respond)
    app.add_middleware(HeadAsGet)
    app.add_middleware(HeadLimit)
    app.add_middleware(Cors)
    app.add_middleware(Correlation)
    app.openapi = lambda: document(app)
    return app


def _open() -> Runtime:
    """Open the runtime of this process; on an error, print one line and exit with code 1."""
    try:
        settings = Settings()
        check_settings(settings)
        check_oidc_installed(settings)
        prepare_metrics(role="api")
        logs.configure(settings.log_format, settings.log_level)
        _raise_file_limit()
        opened = Runtime.open(
            settings, statement_seconds=STATEMENT_SECONDS, pool_size=CONNECTIONS, overflow=0
        )
        check_database(opened.engine)
        start_tracing("api")
        opened.waker.wake()  # connects to the broker, so that the first caller does not wait for it
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        complain(explained)
        os._exit(1)  # an exception here becomes a traceback and exit code 3 in every ASGI server
    return opened


def _open_provider(settings: Settings) -> "IdentityProvider | None":
    """Return the identity provider, if one is configured. It is not asked yet."""
    if settings.oidc_issuer is None:
        return None
    from worker.api.oidc.provider import IdentityProvider  # noqa: PLC0415 - in the extra `oidc`

    return IdentityProvider(settings)


def _raise_file_limit() -> None:
    """Allow the most open files that the system permits: each reader of a stream needs one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
