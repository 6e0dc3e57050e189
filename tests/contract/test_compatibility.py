"""Released schemas stay compatible: a consumer written for one reads what later ones describe.

`released/<type>/<version>.json` is each schema as it was released; it is never edited. A change
that breaks consumers (see compatibility.py) needs a new version, beside the old one.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from publish_worker_client.events.data import SCHEMA_VERSION
from publish_worker_client.events.names import EventType
from schemas.event_schemas import event_schema
from tests.support.compatibility import breaks

RELEASED = Path(__file__).parent / "released"
Schema = dict[str, Any]


def released(kind: EventType, version: int = SCHEMA_VERSION) -> Schema:
    return json.loads((RELEASED / kind / f"{version}.json").read_text())


@pytest.mark.parametrize("kind", EventType)
def test_nothing_that_was_released_is_broken(kind: EventType) -> None:
    assert breaks(released(kind), event_schema(kind)) == []


def test_what_was_released_is_still_emitted() -> None:
    assert {path.name for path in RELEASED.iterdir()} == {kind.value for kind in EventType}


@pytest.mark.parametrize("kind", EventType)
def test_every_version_up_to_this_one_is_kept(kind: EventType) -> None:
    kept = {int(path.stem) for path in (RELEASED / kind).iterdir()}
    assert kept == set(range(1, SCHEMA_VERSION + 1))


# Each breaking change, made to a copy, is refused; each harmless one is not.


@pytest.fixture
def schema() -> Schema:
    """The schema of `video.published`, to be changed."""
    return copy.deepcopy(released(EventType.PUBLISHED))


def remove_a_field(schema: Schema) -> None:
    del schema["properties"]["title"]
    schema["required"].remove("title")


def remove_a_field_further_in(schema: Schema) -> None:
    del schema["$defs"]["Person"]["properties"]["username"]
    schema["$defs"]["Person"]["required"].remove("username")


def let_a_field_be_left_out(schema: Schema) -> None:
    schema["required"].remove("url")


def let_a_field_be_null(schema: Schema) -> None:
    schema["properties"]["title"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def change_a_type(schema: Schema) -> None:
    schema["properties"]["video_id"] = {"type": "string"}


def widen_a_type(schema: Schema) -> None:
    schema["$defs"]["Metrics"]["properties"]["views"] = {"type": "number"}


def change_the_type_of_items(schema: Schema) -> None:
    schema["properties"]["tags"]["items"] = {"type": "integer"}


def change_a_format(schema: Schema) -> None:
    schema["properties"]["published_at"]["format"] = "date"


def lose_a_format(schema: Schema) -> None:
    del schema["properties"]["published_at"]["format"]


def add_a_value(schema: Schema) -> None:
    schema["$defs"]["Visibility"]["enum"].append("secret")


def open_an_enum(schema: Schema) -> None:
    del schema["$defs"]["Visibility"]["enum"]


def turn_an_object_into_text(schema: Schema) -> None:
    schema["properties"]["owner"] = {"type": "string"}


def require_a_new_field(schema: Schema) -> None:
    schema["properties"]["language"] = {"type": "string"}
    schema["required"].append("language")


def narrow_a_type(schema: Schema) -> None:
    schema["properties"]["thumbnail"] = {"type": "null"}


def remove_a_value(schema: Schema) -> None:
    schema["$defs"]["Visibility"]["enum"].pop()


def bound_a_field(schema: Schema) -> None:
    schema["properties"]["title"]["maxLength"] = 3


def close_it(schema: Schema) -> None:
    schema["additionalProperties"] = False


BREAKING: list[Callable[[Schema], None]] = [
    remove_a_field,
    remove_a_field_further_in,
    let_a_field_be_left_out,
    let_a_field_be_null,
    change_a_type,
    widen_a_type,
    change_the_type_of_items,
    change_a_format,
    lose_a_format,
    add_a_value,
    open_an_enum,
    turn_an_object_into_text,
    require_a_new_field,
    narrow_a_type,
    remove_a_value,
    bound_a_field,
    close_it,
]


@pytest.mark.parametrize("change", BREAKING, ids=lambda change: change.__name__)
def test_a_breaking_change_is_refused(schema: Schema, change: Callable[[Schema], None]) -> None:
    before = copy.deepcopy(schema)
    change(schema)
    assert schema != before
    assert len(breaks(before, schema)) == 1


def add_a_field(schema: Schema) -> None:
    schema["properties"]["language"] = {"type": "string"}


def add_a_field_further_in(schema: Schema) -> None:
    schema["$defs"]["Person"]["properties"]["locale"] = {"type": "string"}


def say_more_about_a_field(schema: Schema) -> None:
    schema["properties"]["title"]["description"] = "What it is called."


def rename_a_definition(schema: Schema) -> None:
    schema["$defs"]["Human"] = schema["$defs"].pop("Person")
    schema["properties"]["owner"] = {"$ref": "#/$defs/Human"}


HARMLESS: list[Callable[[Schema], None]] = [
    add_a_field,
    add_a_field_further_in,
    say_more_about_a_field,
    rename_a_definition,
]


@pytest.mark.parametrize("change", HARMLESS, ids=lambda change: change.__name__)
def test_an_added_field_is_compatible(schema: Schema, change: Callable[[Schema], None]) -> None:
    before = copy.deepcopy(schema)
    change(schema)
    assert schema != before
    assert breaks(before, schema) == []
