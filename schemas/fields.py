"""Field types that all models share. They reject values that the database would reject later."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
)
from pydantic_core import core_schema

from schemas.json_schema import INT32_MAX, INT64_MAX, Described, Schema, drop_null_defaults

T = TypeVar("T")

MAX_NAME, MAX_URI = 255, 2000
"""Characters."""
EXACT_FLOAT = 2**53
"""From here on a float may stand for another whole number than the one that was written."""
_DIGITS = re.compile(r"[+-]?[0-9]{1,19}")
UNSET: Any = None
"""The default of a field that may be left out but not be null: see `model_fields_set`."""


class Frozen(BaseModel):
    """An immutable model. Unknown fields are an error, so a misspelt field is never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    CONDITIONS: ClassVar[Schema] = {}
    """Keywords of the schema for what validators check between fields."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> Schema:
        generated = handler(core)
        schema = handler.resolve_ref_schema(generated)
        drop_null_defaults(schema)
        schema.update(cls.CONDITIONS)
        return generated


def _check_storable(text: str) -> str:
    """Reject text that JSON allows and Postgres cannot store: NUL and lone surrogates."""
    if "\x00" in text:
        raise ValueError("must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, without lone surrogates") from None
    return text


_url = TypeAdapter(AnyUrl)


def check_absolute(uri: str) -> str:
    """Reject a URI without a valid host (RFC 3986). The text is not normalized."""
    if not _url.validate_python(uri).host:
        raise ValueError("must be an absolute URI with a host")
    return uri


def _to_whole(value: object, info: ValidationInfo) -> object:
    """Return 2.0 as 2: both are integers in JSON Schema; and an option's text as its number."""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_FLOAT:
        return int(value)
    if str(info.mode) == "string" and isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return value


@dataclass(frozen=True, slots=True)
class Storable:
    """Metadata of text that Postgres can store. It comes after the constraints of its length."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(_check_storable, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> Schema:
        return {"pattern": "^[^\\u0000]*$", **handler(schema)}


WHOLE = BeforeValidator(_to_whole)
"""Metadata of integers. It comes after the constraints of their size."""
Text = Annotated[str, StringConstraints(strict=True), Storable()]
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_NAME), Storable()]
"""Text of 1 to MAX_NAME characters."""
ShortText = Annotated[str, StringConstraints(strict=True, max_length=MAX_NAME), Storable()]
Uri = Annotated[
    str,
    StringConstraints(strict=True, max_length=MAX_URI),
    Storable(),
    AfterValidator(check_absolute),
    Described({"format": "uri"}),
]
Int32 = Annotated[int, Field(strict=True, ge=-(2**31), le=INT32_MAX), WHOLE]
Id = Annotated[int, Field(strict=True, ge=1, le=INT64_MAX), WHOLE]
Flag = Annotated[bool, Field(strict=True)]
