"""Problems as pages: the same text as the API's, with what to do next."""

from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from worker.api.console.forms import KeptForm
from worker.api.console.rendering import HEADERS, render
from worker.api.console.session import NOT_SIGNED_IN, PATH
from worker.api.console.sign_in import SIGN_IN, to_local_path
from worker.api.middleware import correlation_id
from worker.api.problems import DATABASE_AWAY, ApiProblem, to_response
from worker.api.routing import WITHOUT_BODY
from worker.operations.checks import ASK_STATUS

PROBLEM = KeptForm("problem.html", {})


def respond(request: Request, problem: ApiProblem) -> Response:
    """Answer with a page if the request is for one of the console, otherwise with JSON."""
    path = request.url.path
    is_console = path == PATH or path.startswith(f"{PATH}/")
    return to_page(request, problem) if is_console else to_response(request, problem)


def to_page(request: Request, problem: ApiProblem) -> Response:
    """Answer with a page; without a session, with the way to sign in and back."""
    is_fragment = "hx-request" in request.headers
    if problem.kind == NOT_SIGNED_IN and "text/event-stream" in request.headers.get("accept", ""):
        return to_response(request, problem)  # a stream of events cannot show a form
    if problem.kind == NOT_SIGNED_IN:
        return _to_sign_in(_find_shown_page(request), is_fragment=is_fragment)
    is_refused = problem.kind.status < 500  # noqa: PLR2004
    form: KeptForm = getattr(request.state, "form", PROBLEM) if is_refused else PROBLEM
    return render(
        request,
        form.template,
        getattr(request.state, "session", None),
        http_status=problem.kind.status,
        headers=problem.headers,
        **form.values,
        title=problem.kind.title,
        detail=problem.detail,
        remedy=ASK_STATUS if problem.kind == DATABASE_AWAY else None,
        errors=problem.errors,
        correlation_id=correlation_id(request.scope),
        back=_find_page_before(request),
    )


def _find_page_before(request: Request) -> str:
    """Return the page to try again from: that with the form, after a change was refused."""
    if request.method in WITHOUT_BODY:
        return f"{request.url.path}?{request.query_params}".rstrip("?")
    if known := getattr(request.state, "before", None):
        return known
    before = urlsplit(request.headers.get("referer", ""))
    return to_local_path(before._replace(scheme="", netloc="").geturl())


def _find_shown_page(request: Request) -> str:
    """Return the address of the page that the request came from, or asks for."""
    if "hx-request" in request.headers:
        return request.headers.get("hx-current-url", "")
    if request.method not in WITHOUT_BODY:  # the form's own address is not a page
        return request.headers.get("referer", "")
    return str(request.url)


def _to_sign_in(shown: str, *, is_fragment: bool) -> Response:
    path = "/" + shown.partition("://")[2].partition("/")[2]
    url = f"{SIGN_IN}?after={quote(path, safe='')}"
    if is_fragment:  # htmx would follow a redirect, and put the form into the page
        return Response(status_code=401, headers={**HEADERS, "HX-Redirect": url})
    return RedirectResponse(url, 303, HEADERS)
