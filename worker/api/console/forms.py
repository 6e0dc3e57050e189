"""Forms: what a page sends, as text by its names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from pydantic import ValidationError

from schemas.problem import FieldError
from worker.api.problems import ApiProblem, ProblemKind

MAX_FIELDS = 200
MAX_DIGITS = 9
MAX_LONG_DIGITS = 19
"""Of the database's largest integer."""
MEDIA_TYPE = "application/x-www-form-urlencoded"

UNREADABLE = ProblemKind("malformed-form", 400, "Nothing was done. The form cannot be read.")


@dataclass(frozen=True, slots=True)
class KeptForm:
    """A form that is shown again if the change that it asks for is refused."""

    template: str
    values: Mapping[str, Any]


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


def to_field_errors(error: ValidationError) -> list[FieldError]:
    """Return what is wrong with a form's fields."""
    return [
        FieldError(
            pointer="/".join(map(str, each["loc"])),
            code=each["type"],
            detail=each["msg"].removeprefix("Value error, "),
        )
        for each in error.errors()
    ]


def keep_form(request: Request, template: str, **values: Any) -> None:
    """Show this form again, with what is wrong, if the change that follows is refused.

    The template gets `values`, and `detail` and `errors` of the problem.
    """
    request.state.form = KeptForm(template, values)


SubmittedForm = Annotated[dict[str, str], Depends(read_form)]
"""The fields of the form that the request sends."""


def read_count(text: str | None) -> int | None:
    """Return a number of the page's address. None: there is none."""
    return int(text) if text and is_whole(text) else None


def is_whole(text: str) -> bool:
    """Whether a text is a whole number of at most 19 digits."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_LONG_DIGITS


def to_number(text: str) -> int:
    """Return a whole number; 0 for any other text, and for more than nine digits."""
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if is_number else 0
