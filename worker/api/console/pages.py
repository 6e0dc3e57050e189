"""The console's pages, joined to the application."""

from fastapi import FastAPI

from worker.api.assets import Assets
from worker.api.console import (
    audit_log,
    back_channel,
    calendar,
    calendar_commands,
    calendar_feeds,
    calendar_new,
    changes,
    dead_letters,
    failures,
    keys,
    now,
    oidc,
    quarantine,
    sessions,
    sign_in,
    video,
    videos,
    webhook_changes,
    webhooks,
)
from worker.api.console.session import PATH

ROUTERS = (
    sign_in.router,
    sign_in.session_router,
    oidc.router,
    back_channel.router,
    now.router,
    changes.router,
    calendar.router,
    calendar_commands.router,
    calendar_feeds.router,
    calendar_new.router,
    videos.router,
    video.router,
    failures.router,
    quarantine.router,
    dead_letters.router,
    webhook_changes.router,
    webhooks.router,
    keys.router,
    sessions.router,
    audit_log.router,
)


def add_pages(app: FastAPI) -> None:
    """Add every page, and the files they need. None is in the OpenAPI document."""
    for router in ROUTERS:
        app.include_router(router, include_in_schema=False)
    app.mount(f"{PATH}/static", Assets("worker.api.console"))
