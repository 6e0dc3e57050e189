"""`/docs`: Swagger UI shows the OpenAPI document and sends requests. It works without the internet.

Swagger UI, since it is maintained (a release each month), shows OpenAPI 3.1, sends requests with a
key, and is half as large as Scalar. Redoc sends no requests; RapiDoc is seldom released.
"""

from functools import cache

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from worker.api.assets import Assets, to_asset_url
from worker.api.routing import Router

PATH = "/docs/static"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>publish-worker: API</title>
<link rel="icon" href="{icon}">
<link rel="stylesheet" href="{style}">
<link rel="stylesheet" href="{own_style}">
<script defer src="{script}"></script>
<script defer src="{own_script}"></script>
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript: <a href="/openapi.json">/openapi.json</a></noscript>
</body>
</html>
"""

router = Router()


@router.get("/docs", include_in_schema=False)
async def show_documentation() -> HTMLResponse:
    """The page."""
    return HTMLResponse(_render(), headers=HEADERS)


def add_viewer(app: FastAPI) -> None:
    """Add the page, and the files that it needs."""
    app.include_router(router)
    app.mount(PATH, Assets("worker.api.documents"))


@cache
def _render() -> str:
    return PAGE.format(
        icon=to_asset_url("worker.api.console", "/console/static", "icon.svg"),
        style=_to_url("vendor/swagger-ui-5.35.0.css"),
        own_style=_to_url("docs.css"),
        script=_to_url("vendor/swagger-ui-5.35.0-bundle.js"),
        own_script=_to_url("docs.js"),
    )


def _to_url(name: str) -> str:
    return to_asset_url("worker.api.documents", PATH, name)
