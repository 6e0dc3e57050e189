"""Rendering: a template, the values it shows, and the headers that confine the page."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from schemas.values.caller import Scope
from worker.api.assets import to_asset_url
from worker.api.console import formats
from worker.operations.console_sessions import ConsoleSession

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",  # a page shows what the key may see
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
PAGES = (
    ("/console/", "Now"),
    ("/console/calendar/", "Calendar"),
    ("/console/videos/", "Videos"),
    ("/console/failures/", "Failures"),
    ("/console/webhooks/", "Webhooks"),
)
"""The navigation: the path of each page, and its name."""
ADMIN_PAGES = (
    ("/console/keys/", "Keys"),
    ("/console/audit/", "Audit"),
)
"""Pages that only a key of scope `admin` sees."""


def render(
    request: Request,
    template: str,
    session: ConsoleSession | None,
    *,
    http_status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """Render a page. `values` are the template's."""
    body = (
        _environment()
        .get_template(template)
        .render(
            session=session,
            pages=_find_pages(session),
            path=request.url.path,
            query=request.query_params,
            **values,
        )
    )
    return HTMLResponse(body, http_status, {**HEADERS, **(headers or {})})


def render_part(template: str, **values: Any) -> Markup:
    """Render a part of a page that is the same for everybody who may see it."""
    return Markup(_environment().get_template(template).render(**values))  # noqa: S704 - escaped by the template


def _find_pages(session: ConsoleSession | None) -> tuple[tuple[str, str], ...]:
    is_admin = session is not None and session.caller.scope.includes(Scope.ADMIN)
    return (*PAGES, *ADMIN_PAGES) if is_admin else PAGES


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("worker.api.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS)
    environment.globals["asset"] = _to_asset_url
    return environment


@cache
def _to_asset_url(name: str) -> str:
    return to_asset_url("worker.api.console", "/console/static", name)
