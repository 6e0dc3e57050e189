"""Options for times and expectations, and the request that a command's options form."""

from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.fields import LocalTime, Time

M = TypeVar("M", bound=BaseModel)

_time = TypeAdapter[datetime](Time)
_local = TypeAdapter[datetime](LocalTime)


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 time; raises a usage error if it is not valid."""
    try:
        return _time.validate_python(text)
    except ValidationError:
        raise typer.BadParameter("Write a time with its offset: 2026-12-01T18:00:00Z.") from None


def parse_local_time(text: str) -> datetime:
    """Parse a wall-clock time; raises a usage error if it is not valid."""
    try:
        return _local.validate_python(text)
    except ValidationError:
        raise typer.BadParameter("Write a time without an offset: 2026-12-01T18:00.") from None


def time_option(name: str, text: str) -> Any:
    """Return an option for an instant."""
    return typer.Option(name, parser=parse_time, metavar="TIME", help=text)


def local_time_option(name: str, text: str) -> Any:
    """Return an option for a wall-clock time."""
    return typer.Option(name, parser=parse_local_time, metavar="LOCAL", help=text)


def to_request(model: type[M], **options: Any) -> M:
    """Build a request from the options that are not None; raises a usage error if not valid."""
    try:
        return model.model_validate({k: v for k, v in options.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f"--{str(part).replace('_', '-')} " for part in first["loc"])
        text = first["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(f"{where}{text}") from None


PublishAt = Annotated[
    datetime | None,
    time_option("--publish-at", "Publish at this time, as 2026-12-01T18:00:00Z. Default: at once."),
]
PublishAtLocal = Annotated[
    datetime | None,
    local_time_option(
        "--publish-at-local",
        "Publish at this local time of --time-zone, as 2026-12-01T18:00.",
    ),
]
UnpublishAt = Annotated[
    datetime | None,
    time_option("--unpublish-at", "Unpublish at this time, as 2026-12-15T18:00:00Z."),
]
UnpublishAtLocal = Annotated[
    datetime | None,
    local_time_option(
        "--unpublish-at-local",
        "Unpublish at this local time of --time-zone, as 2026-12-15T18:00.",
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option("--time-zone", help="IANA time zone of the local times, as Europe/Berlin."),
]
Fold = Annotated[
    int | None,
    typer.Option(
        "--fold",
        help="For a local time that occurs twice: 0 is the first, 1 the second.",
        min=0,
        max=1,
    ),
]
PublishBefore = Annotated[
    datetime | None,
    time_option("--publish-before", "The command expires if it has not run by this time."),
]
ExpectedRevision = Annotated[
    int | None,
    typer.Option("--expected-revision", help="Refuse if the video is at another revision.", min=0),
]
