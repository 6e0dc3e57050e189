"""Confirmation: a change that cannot be undone is asked about first, with a script and without.

Such a form has the question in its field `question`. The script asks it in a dialog, and adds the
field `confirmed`. Without a script, the form is answered with a page that asks, and has a form with
that field.
"""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from worker.api.console.forms import SubmittedForm, keep_form
from worker.api.console.session import CSRF_FIELD, SignedIn
from worker.api.console.sign_in import to_local_path
from worker.api.problems import NOT_CONFIRMED, ApiProblem

CONFIRMED = "confirmed"
QUESTION = "question"
BACK = "back"
OWN_FIELDS = (CSRF_FIELD, CONFIRMED, QUESTION, BACK)
ANY_QUESTION = "Do what the page before this one offered? It cannot be undone."
MAX_QUESTION = 4_000


async def require_confirmation(request: Request, _: SignedIn, form: SubmittedForm) -> None:
    """Ask, unless the form says that the person was asked. Raises ApiProblem: nothing was done."""
    before = form.get(BACK) or _find_referer(request)
    request.state.before = to_local_path(before)
    if form.get(CONFIRMED):
        return
    keep_form(
        request,
        "confirmation.html",
        question=(form.get(QUESTION) or ANY_QUESTION)[:MAX_QUESTION],
        fields={name: value for name, value in form.items() if name not in OWN_FIELDS},
        before=request.state.before,
    )
    raise ApiProblem(NOT_CONFIRMED)


Confirmed = Annotated[None, Depends(require_confirmation)]
"""Declared after the session of a route, so that a key that may not do this is not asked."""


def _find_referer(request: Request) -> str:
    parts = urlsplit(request.headers.get("referer", ""))
    return parts._replace(scheme="", netloc="").geturl()
