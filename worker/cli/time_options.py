"""Times and expectations on the command line: the options, and what they come to."""

from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.fields import LocalTime, Time

M = TypeVar("M", bound=BaseModel)

_time = TypeAdapter[datetime](Time)
_local = TypeAdapter[datetime](LocalTime)


def parse_moment(text: str) -> datetime:
    """A time as RFC 3339 has it; a usage error otherwise."""
    try:
        return _time.validate_python(text)
    except ValidationError:
        raise typer.BadParameter("Write a time with its offset: 2026-12-01T18:00:00Z.") from None


def parse_local(text: str) -> datetime:
    """A wall-clock time; a usage error otherwise."""
    try:
        return _local.validate_python(text)
    except ValidationError:
        raise typer.BadParameter("Write a time without an offset: 2026-12-01T18:00.") from None


def moment_option(name: str, text: str) -> Any:
    """An option that is an instant."""
    return typer.Option(name, parser=parse_moment, metavar="TIME", help=text)


def local_option(name: str, text: str) -> Any:
    """An option that is a wall-clock time."""
    return typer.Option(name, parser=parse_local, metavar="LOCAL", help=text)


def understood(model: type[M], **said: Any) -> M:
    """The options that were given, as a request of ours; a usage error where they contradict."""
    try:
        return model.model_validate({k: v for k, v in said.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f"--{str(part).replace('_', '-')} " for part in first["loc"])
        text = first["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(f"{where}{text}") from None


PublishAt = Annotated[
    datetime | None, moment_option("--publish-at", "When, as 2026-12-01T18:00:00Z; else at once.")
]
PublishAtLocal = Annotated[
    datetime | None, local_option("--publish-at-local", "The same by the clocks of --time-zone.")
]
UnpublishAt = Annotated[
    datetime | None, moment_option("--unpublish-at", "When to withdraw, as 2026-12-15T18:00:00Z.")
]
UnpublishAtLocal = Annotated[
    datetime | None, local_option("--unpublish-at-local", "The same by the clocks of --time-zone.")
]
TimeZone = Annotated[
    str | None, typer.Option("--time-zone", help="Of the local times, as Europe/Berlin.")
]
Fold = Annotated[
    int | None,
    typer.Option("--fold", help="Of a local time that exists twice: 0 or 1.", min=0, max=1),
]
PublishBefore = Annotated[
    datetime | None,
    moment_option("--publish-before", "The latest moment that still makes sense."),
]
ExpectedRevision = Annotated[
    int | None,
    typer.Option("--expected-revision", help="Refuse if the video is at another one.", min=0),
]
