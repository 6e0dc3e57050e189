"""Forms: what a page sends, as text by its names."""

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from worker.api.problems import ApiProblem, ProblemKind

MAX_FIELDS = 200
MEDIA_TYPE = "application/x-www-form-urlencoded"

UNREADABLE = ProblemKind("malformed-form", 400, "Nothing was done. The form cannot be read.")


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of the form; of several with one name, the last. Raises ApiProblem."""
    if not request.headers.get("content-type", "").startswith(MEDIA_TYPE):
        return {}
    try:
        text = (await request.body()).decode()
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise ApiProblem(UNREADABLE) from error
    return dict(pairs)


SubmittedForm = Annotated[dict[str, str], Depends(read_form)]
"""The fields of the form that the request sends."""
