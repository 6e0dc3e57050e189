"""The AsyncAPI 3.0 document: valid, complete, written down, and served.

`asyncapi-3.0.0.schema.json` is the official JSON Schema (the package @asyncapi/specs 6.11.1, Apache
License 2.0), without its white space. The official parser is JavaScript: where a folder with it is
named in ASYNCAPI_PARSER (made by `npm install @asyncapi/parser`), it is asked too.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from publish_worker_client.events.names import EventType
from schemas.command import PublishRequest
from schemas.generation import GenerationEventType
from schemas.values.delivery import Receiver
from tests.support.api import Api
from worker.api.documents.asyncapi import document, written
from worker.runtime.settings import Settings
from worker.webhooks.signing import new_secret
from worker.webhooks.test_event import build_test_event

ROOT = Path(__file__).parent.parent.parent
OFFICIAL = json.loads((Path(__file__).parent / "asyncapi-3.0.0.schema.json").read_text())
KEPT = ROOT / "docs" / "asyncapi.json"
BASE_URL = str(Settings.model_fields["public_base_url"].default)
ALONE = {"webhooks": {"webhook.test"}, "sse": {"dropped"}}
"""Messages of one channel."""
PARSER = os.environ.get("ASYNCAPI_PARSER")
PARSE = """
const { Parser } = require("@asyncapi/parser");
const text = require("fs").readFileSync(0, "utf8");
new Parser().parse(text).then(({ document, diagnostics }) => {
  const wrong = diagnostics.filter(each => each.severity <= 1).map(each => each.message);
  console.log(JSON.stringify({ understood: Boolean(document), wrong }));
});
"""


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document(BASE_URL)


def test_it_is_valid_by_the_official_schema(made: dict[str, Any]) -> None:
    errors = Draft7Validator(OFFICIAL).iter_errors(made)  # pyright: ignore[reportUnknownMemberType]
    assert [f"{error.json_path}: {error.message[:200]}" for error in errors] == []


def test_the_official_schema_would_notice_a_misspelt_key(made: dict[str, Any]) -> None:
    wrong: dict[str, Any] = {**made, "chanels": {}}
    assert not Draft7Validator(OFFICIAL).is_valid(wrong)


@pytest.mark.skipif(
    PARSER is None or shutil.which("node") is None,
    reason="the official AsyncAPI parser is not installed (npm install @asyncapi/parser in a "
    "folder of its own, named by ASYNCAPI_PARSER)",
)
def test_the_official_parser_finds_nothing_wrong(made: dict[str, Any]) -> None:
    asked = subprocess.run(
        ["node", "-e", PARSE],
        cwd=PARSER,
        input=json.dumps(made),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(asked.stdout) == {"understood": True, "wrong": []}


def test_every_reference_leads_somewhere(made: dict[str, Any]) -> None:
    for reference in re.findall(r'"\$ref": "#/(.*?)"', json.dumps(made)):
        found: Any = made
        for part in reference.split("/"):
            found = found[part.replace("~1", "/")]


def test_every_type_is_a_message_on_every_channel(made: dict[str, Any]) -> None:
    for name, channel in made["channels"].items():
        types = GenerationEventType if name == "reports" else EventType
        assert set(channel["messages"]) - ALONE.get(name, set()) == {kind.value for kind in types}
        assert set(channel["messages"]) >= ALONE.get(name, set())
    assert set(made["channels"]) == {"stream", "feed", "sse", "webhooks", "amqp", "reports"}


def test_the_file_equals_the_document_that_the_code_makes() -> None:
    """`make asyncapi` writes it again."""
    assert KEPT.read_text() == written(BASE_URL)


def test_it_is_served_with_this_installations_address(api: Api) -> None:
    served = api.call("GET", "/asyncapi.json", None)
    assert served.json() == document("https://videos.example")
    assert served.json()["servers"]["api"]["host"] == "videos.example"


def test_emitted_events_match_the_document(api: Api, made: dict[str, Any]) -> None:
    fine, failed = api.video(), api.video(status="failed")
    api.publish(fine, failed)
    api.publish(PublishRequest.model_validate({"video_id": fine, "action": "unpublish"}))
    told = api.get("/events").json()
    assert len({each["type"] for each in told}) == 3
    for each in told:
        payload = made["components"]["messages"][each["type"]]["payload"]
        schema = {**payload, "components": made["components"]}
        errors = Draft202012Validator(schema).iter_errors(each)  # pyright: ignore[reportUnknownMemberType]
        assert [error.message for error in errors] == []


def test_an_event_of_a_later_type_is_valid(made: dict[str, Any]) -> None:
    """A consumer that was generated from the document accepts it."""
    later = {"type": "video.exploded", "data": {"pieces": 2}, "shard": "a-later-attribute"}
    envelope = made["components"]["schemas"]["CloudEvent"]
    known = {
        name: "2026-11-24T08:39:01Z" if name == "time" else each.get("const", "text")
        for name, each in envelope["properties"].items()
        if name in envelope["required"]
    }
    assert Draft202012Validator(envelope).is_valid({**known, **later})
    assert {"specversion", "datacontenttype"} <= set(envelope["required"])


def test_a_test_event_matches_its_message(made: dict[str, Any]) -> None:
    receiver = Receiver(
        id=uuid4(),
        workspace_id=1,
        url="https://hooks.example.com",
        secret=new_secret(),
        previous_secret=None,
        previous_secret_until=None,
    )
    event = json.loads(build_test_event(receiver, str(uuid4()), BASE_URL))
    payload = made["components"]["messages"]["webhook.test"]["payload"]
    errors = Draft202012Validator(payload).iter_errors(event)  # pyright: ignore[reportUnknownMemberType]
    assert [error.message for error in errors] == []
    assert event.keys() == payload["properties"].keys()
