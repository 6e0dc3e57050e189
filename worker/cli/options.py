"""Options of commands: those that many share, and those that are the fields of a model."""

import inspect
from collections.abc import Callable
from enum import EnumType
from functools import wraps
from itertools import chain
from typing import Annotated, Any, TypeVar, get_args

import typer
from pydantic import BaseModel, ValidationError

from schemas.fields import INT64_MAX

M = TypeVar("M", bound=BaseModel)

AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON, one document a line, instead of a table.")
]

FIELDS = {
    "publish_at": ("TIME", "Publish at this time, as 2026-12-01T18:00:00Z."),
    "publish_at_local": ("LOCAL", "Publish at this time in --time-zone, as 2026-12-01T18:00."),
    "unpublish_at": ("TIME", "Unpublish at this time, as 2026-12-15T18:00:00Z."),
    "unpublish_at_local": ("LOCAL", "Unpublish at this time in --time-zone, as 2026-12-15T18:00."),
    "time_zone": ("ZONE", "IANA time zone of the local times, as Europe/Berlin."),
    "fold": ("0|1", "For a local time that occurs twice: 0 is the first, 1 the second."),
    "publish_before": ("TIME", "The command expires if it has not run by this time."),
    "expected_revision": (
        "NUMBER",
        "Refuse if the video is at another revision; 0: never published.",
    ),
    "state": ("STATE", "Only those in this state."),
    "action": ("ACTION", ""),
    "video_id": ("ID", "Only commands for this video."),
    "workspace_id": ("ID", "Only those of this workspace."),
    "due_from": ("TIME", "Only commands that are due at this time or later."),
    "due_until": ("TIME", "Only commands that are due before this time."),
    "actor": ("KIND", ""),
    "key_id": ("ID", ""),
    "subject_id": ("ID", ""),
    "outcome": ("OUTCOME", ""),
    "since": ("TIME", ""),
    "until": ("TIME", ""),
    "before": ("ROW", ""),
    "limit": ("NUMBER", "Maximum number of rows, 1 to 200."),
    "title": ("TEXT", ""),
    "tag": ("NAME", ""),
    "cause": ("CAUSE", "With --all: only commands with this cause, as `commands causes` shows it."),
    "per_second": (
        "NUMBER",
        "With --all: number of commands that become due each second, 1 to 1000.",
    ),
}
"""The fields of models that are options: what `--help` shows for the value, and its text ("": the
field's own description)."""


def check_id(value: int | list[int] | None) -> int | list[int] | None:
    """Return an id, a position or a list of them; a usage error if the database cannot hold it.

    As a callback: Typer's `max` would print the bound in the help text.
    """
    for each in value if isinstance(value, list) else (value,):
        if each is not None and not 1 <= each <= INT64_MAX:
            raise typer.BadParameter(f"{each} is not in the range 1 to {INT64_MAX}.")
    return value


def command_group(text: str) -> typer.Typer:
    """Return a group of commands with this help text."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help=text)


def options_of_model(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer give a command its one keyword-only parameter that is a model.

    Each field of the model that is in `FIELDS` becomes an option. The model itself parses and
    checks the texts; what it refuses is a usage error.
    """
    parameters = inspect.signature(command).parameters
    [(name, model)] = [
        (each.name, each.annotation)
        for each in parameters.values()
        if inspect.isclass(each.annotation) and issubclass(each.annotation, BaseModel)
    ]
    options = [_to_option(model, field) for field in FIELDS if field in model.model_fields]

    @wraps(command)
    def run(**values: Any) -> None:
        given = {option.name: values.pop(option.name) for option in options}
        texts = {field: None if value is None else str(value) for field, value in given.items()}
        command(**values, **{name: to_model(model.model_validate_strings, texts)})

    expanded = [options if each.name == name else [each] for each in parameters.values()]
    run.__signature__ = inspect.Signature(list(chain.from_iterable(expanded)))  # pyright: ignore[reportAttributeAccessIssue]
    return run


def to_model(validate: Callable[[Any], M], values: dict[str, Any]) -> M:
    """Make a model of the values that are not None; raises a usage error if it refuses them."""
    try:
        return validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = f"'{_option_name(str(first['loc'][0]))}'" if first["loc"] else None
        text = first["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(text, param_hint=where) from None


def _to_option(model: type[BaseModel], name: str) -> inspect.Parameter:
    field = model.model_fields[name]
    metavar, text = FIELDS[name]
    text = text or field.description or ""
    kinds = [kind for kind in get_args(field.annotation) if isinstance(kind, EnumType)]
    members = [str(member) for kind in kinds for member in kind]
    if members:
        text = f"{text.removesuffix('.')}: {', '.join(members)}."

    def complete(incomplete: str) -> list[str]:
        return [member for member in members if member.startswith(incomplete)]

    option = typer.Option(_option_name(name), metavar=metavar, help=text, autocompletion=complete)
    default = None if field.default is None else str(field.default)
    annotation = Annotated[str | None, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _option_name(field: str) -> str:
    return f"--{field.removesuffix('_id').replace('_', '-')}"
