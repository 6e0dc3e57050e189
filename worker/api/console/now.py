"""The first page: whether all is well, what is coming, what was done."""

from dataclasses import dataclass

from fastapi import Request, Response
from markupsafe import Markup

from db.commands import overview as counts
from publish_worker_client.events.names import EventType
from worker.api.auth import CurrentRuntime
from worker.api.console.charts import BarChart, Series, draw
from worker.api.console.recent import Recents, get_recents
from worker.api.console.rendering import render, render_part
from worker.api.console.sentence import summarise
from worker.api.console.session import PATH, ConsoleRoute, SignedIn, get_pool
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
SECONDS = 2.0
"""How often the state is read while a page shows it. Checks connect to the broker, and a count may
read thousands of rows, so not each page reads them."""

router = Router(route_class=ConsoleRoute)


@dataclass(frozen=True, kw_only=True)
class DrawnState:
    """The parts of the first page that are the same for each key of a workspace."""

    state: Markup
    events: Markup


@router.get(f"{PATH}/")
async def show_now(request: Request, runtime: CurrentRuntime, session: SignedIn) -> Response:
    """Show the state of everything that this key sees."""
    workspace_id = session.caller.workspace_id
    recents = get_recents(request)
    recent = recents.find(
        f"state of {workspace_id}", lambda: draw_state(recents, runtime, workspace_id), SECONDS
    )
    drawn = await recent.look_from_loop()
    return render(request, "now.html", session, state=drawn.state, events=drawn.events)


@router.get(f"{PATH}/events")
async def show_events(request: Request, session: SignedIn) -> Response:
    """Show the newest events: a part of the first page."""
    events = await get_pool(request).read(read_last_events, session.caller.workspace_id)
    return render(request, "events.html", session, events=events)


def draw_state(recents: Recents, runtime: Runtime, workspace_id: int | None) -> DrawnState:
    """Read and draw what the first page shows of a workspace (None: all)."""
    overview = read_overview(runtime.engine, workspace_id)
    health = get_health(recents, runtime)
    is_operator = workspace_id is None
    checks = health.checks if is_operator else [each.to_public() for each in health.checks]
    state = render_part(
        "now_state.html",
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
    )
    return DrawnState(state=state, events=render_part("events.html", events=overview.events))


def to_bars(title: str, chart: Chart) -> BarChart:
    """Draw a chart of events."""
    series = [Series(name, style, chart.counts.get(kind, ())) for kind, name, style in KINDS]
    return draw(title, chart.began_at, chart.span, series)


def get_health(recents: Recents, runtime: Runtime) -> Health:
    """Return the checks and processes as they were some seconds ago at most."""
    settings = runtime.settings
    return recents.find(
        "health",
        lambda: read_health(
            runtime.engine,
            runtime.redis,
            settings.broker(),
            settings.canary_video_id,
            amqp_url=settings.outlet_amqp_url(),
        ),
        SECONDS,
    ).look()


def _draw_coming(overview: Overview) -> BarChart:
    minutes = int(AHEAD.total_seconds() // 60)
    values = [overview.counts.by_minute.get(minute, 0) for minute in range(minutes)]
    return draw(
        "Due by minute", overview.counts.now, AHEAD / minutes, [Series("due", "calm", values)]
    )
