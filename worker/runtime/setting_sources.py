"""The settings as data: what there is, what each one is now and from where, what is misspelt."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from worker.runtime.redaction import HIDDEN, redact
from worker.runtime.settings import PREFIX, Settings, UpSettings

SECRETS = ("oidc_client_secret",)
OF_KUBERNETES = re.compile(r"_(PORT|PROTO|ADDR|SERVICE_HOST|SERVICE_PORT(_\w+)?|TCP|UDP)$")
"""How names end that Kubernetes sets for the Service `publish-worker`."""
OF_CELERY = {"CELERY_BROKER_URL": "BROKER_URL"}
"""What Celery would read, and ours do not; with the setting to use."""
ALIKE = 0.88
"""How like a setting's name another one must be to count as misspelt, from 0 to 1."""
DEFAULT = "default"
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting as the code declares it."""

    name: str
    type: str
    """What it may be, in words."""
    default: str | None
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a setting is now, without secrets."""

    name: str
    value: str | None
    source: str
    """The environment variable that sets it, `default`, or the `publish-worker up` that does."""


def list_settings() -> list[Setting]:
    """Return every setting, in the order of the code."""
    return [
        Setting(
            name=name.upper(),
            type=_to_type(name, field),
            default=_to_text(name, field.default),
            meaning=" ".join((field.description or "").split()),
        )
        for name, field in UpSettings.model_fields.items()
    ]


def resolve(settings: Settings, up: Path | None = None) -> list[Resolved]:
    """Return what each setting is; `up`: the folder of a `publish-worker up` that gave its URLs."""
    return [
        Resolved(name=name.upper(), value=_to_text(name, value), source=_find_source(name, up))
        for name, value in ((each, getattr(settings, each)) for each in type(settings).model_fields)
    ]


def read_valid() -> tuple[UpSettings, ValidationError | None]:
    """Read the settings; those that are not valid have their defaults, and are in the error."""
    try:
        return UpSettings(), None
    except ValidationError as error:
        invalid = {str(each["loc"][0]) for each in error.errors(include_url=False)}
        defaults = {name: UpSettings.model_fields[name].default for name in invalid}
        return UpSettings(**defaults), error


def find_misspelt(environment: Mapping[str, str] = os.environ) -> Iterator[tuple[str, str | None]]:
    """Yield variables that look like settings and are not read, each with the likely name."""
    known = {name.upper() for name in UpSettings.model_fields}
    for name in sorted(environment):
        bare = name.removeprefix(PREFIX)
        if bare in known or OF_KUBERNETES.search(name):
            continue
        likely = get_close_matches(bare, known, 1, ALIKE if bare == name else 0.6)
        if bare != name:
            yield name, f"{PREFIX}{likely[0]}" if likely else None
        elif name in OF_CELERY or likely:
            yield name, OF_CELERY.get(name) or likely[0]


def _find_source(name: str, up: Path | None) -> str:
    for variable in (f"{PREFIX}{name.upper()}", name.upper()):
        if os.environ.get(variable):
            return variable
    is_of_up = up is not None and name in ("database_url", "redis_url", "public_base_url")
    return f"`publish-worker up` in {up}" if is_of_up else DEFAULT


def _to_text(name: str, value: Any) -> str | None:
    match value:
        case None:
            return None
        case SecretStr():
            return HIDDEN
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case tuple():
            return f"{len(value)} rules"  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return HIDDEN if name in SECRETS else redact(str(value))


def _to_type(name: str, field: FieldInfo) -> str:
    if name.endswith("_url") or name == "oidc_issuer":
        return "a URL"
    kind = _strip(field.annotation)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(str(member.value) for member in kind)
    if get_origin(kind) is Literal:
        *most, last = get_args(kind)
        return f"{', '.join(most)} or {last}"
    if name == "oidc_access":
        return "JSON"
    text = _NAMES.get(kind, "text") if isinstance(kind, type) else "text"
    return text + _to_bounds(field)


def _strip(annotation: Any) -> Any:
    """Return the type without None and without metadata."""
    while get_origin(annotation) in (Union, UnionType, Annotated):
        arguments = get_args(annotation)
        annotation = next(each for each in arguments if each is not type(None))
    return annotation


def _to_bounds(field: FieldInfo) -> str:
    parts = [*field.metadata, *(_metadata(field.annotation))]
    least = next((_pick(each, "ge", "gt") for each in parts if _pick(each, "ge", "gt")), None)
    most = next((_pick(each, "le") for each in parts if _pick(each, "le")), None)
    if least and most:
        return f", {least} to {most}" if least != "more than 0" else f", more than 0, up to {most}"
    return ""


def _metadata(annotation: Any) -> list[Any]:
    return [
        each
        for part in get_args(annotation)
        if get_origin(part) is Annotated
        for each in get_args(part)[1:]
    ]


def _pick(part: Any, *names: str) -> str | None:
    for name in names:
        value = getattr(part, name, None)
        if value is not None:
            return f"more than {value}" if name == "gt" else f"{value:,}"
    return None
