"""The iCal feed of a workspace. The token in its address is the secret; there is no session."""

from hashlib import sha256

from fastapi import APIRouter, Request, Response

from worker.api.auth import CurrentRuntime
from worker.api.calendar_document import to_ical
from worker.api.problems import NO_SUCH_PAGE, ApiProblem
from worker.api.routing import GuardedRoute
from worker.operations.calendar import read_feed

ADDRESS = "/calendar/{token}.ics"
MAX_TOKEN = 100
HEADERS = {
    "Cache-Control": "private, max-age=60",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}

router = APIRouter(route_class=GuardedRoute)


@router.get(ADDRESS, include_in_schema=False)
def show_feed(token: str, request: Request, runtime: CurrentRuntime) -> Response:
    """Answer with the feed, or 304 if the program has this version."""
    feed = read_feed(runtime.engine, token) if len(token) <= MAX_TOKEN else None
    if feed is None:
        raise ApiProblem(NO_SUCH_PAGE, "This feed does not exist, or was revoked.")
    document = to_ical(feed, runtime.settings.public_base_url)
    etag = f'"{sha256(document).hexdigest()[:32]}"'
    headers = {**HEADERS, "ETag": etag}
    if has_etag(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    return Response(document, headers=headers, media_type="text/calendar; charset=utf-8")


def has_etag(given: str, etag: str) -> bool:
    """Whether an `If-None-Match` names this ETag: compared weakly, as RFC 9110 says."""
    tags = [each.strip().removeprefix("W/") for each in given.split(",")]
    return etag in tags or "*" in tags
