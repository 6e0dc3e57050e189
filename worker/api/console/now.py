"""The first page: whether all is well, what is coming, what was done."""

from fastapi import Request, Response

from db.commands import overview as counts
from schemas.events import EventType
from worker.api.auth import CurrentRuntime
from worker.api.console.charts import BarChart, Series, draw
from worker.api.console.recent import get_recent
from worker.api.console.rendering import render
from worker.api.console.sentence import summarise
from worker.api.console.session import PATH, ConsoleRoute, SignedIn
from worker.api.routing import Router
from worker.operations.health import Health, read_health
from worker.operations.overview import AHEAD, Chart, Overview, read_last_events, read_overview
from worker.runtime.runtime import Runtime

KINDS = (
    (EventType.PUBLISHED, "published", "good"),
    (EventType.UNPUBLISHED, "unpublished", "calm"),
    (EventType.REJECTED, "rejected", "warn"),
    (EventType.EXPIRED, "expired", "warn"),
    (EventType.FAILED, "failed", "bad"),
)
"""The events that a chart counts: type, name, style."""
HEALTH_SECONDS = 2.0
"""Checks connect to the broker, so not each page runs them."""

router = Router(route_class=ConsoleRoute)


@router.get(f"{PATH}/")
def show_now(request: Request, runtime: CurrentRuntime, session: SignedIn) -> Response:
    """Show the state of everything that this key sees."""
    workspace_id = session.caller.workspace_id
    overview = read_overview(runtime.engine, workspace_id)
    health = get_health(request, runtime)
    is_operator = workspace_id is None
    checks = health.checks if is_operator else [each.to_public() for each in health.checks]
    return render(
        request,
        "now.html",
        session,
        sentence=summarise(checks, overview),
        checks=checks,
        processes=health.processes if is_operator else None,
        overview=overview,
        most=counts.MOST,
        coming=_draw_coming(overview),
        charts=[
            to_bars("The last hour", overview.hour),
            to_bars("The last day", overview.day),
        ],
        events=read_last_events(runtime.engine, workspace_id),
    )


@router.get(f"{PATH}/events")
def show_events(request: Request, runtime: CurrentRuntime, session: SignedIn) -> Response:
    """Show the newest events: a part of the first page."""
    events = read_last_events(runtime.engine, session.caller.workspace_id)
    return render(request, "events.html", session, events=events)


def to_bars(title: str, chart: Chart) -> BarChart:
    """Draw a chart of events."""
    series = [Series(name, style, chart.counts.get(kind, ())) for kind, name, style in KINDS]
    return draw(title, chart.began_at, chart.span, series)


def get_health(request: Request, runtime: Runtime) -> Health:
    """Return the checks and processes; they are read every two seconds at most."""
    settings = runtime.settings
    return get_recent(
        request,
        "health",
        lambda: read_health(
            runtime.engine,
            runtime.redis,
            settings.broker(),
            settings.canary_video_id,
            amqp_url=settings.outlet_amqp_url(),
        ),
        HEALTH_SECONDS,
    )


def _draw_coming(overview: Overview) -> BarChart:
    minutes = int(AHEAD.total_seconds() // 60)
    values = [overview.counts.by_minute.get(minute, 0) for minute in range(minutes)]
    return draw(
        "Due by minute", overview.counts.now, AHEAD / minutes, [Series("due", "calm", values)]
    )
