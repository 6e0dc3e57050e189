"""`publish-worker webhooks` on real engines: what it prints, what it refuses, how it ends."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.session import transaction
from db.webhooks.fan_out import fan_out
from tests.support.command_line import Done, Run
from tests.support.pipeline import Pipeline
from tests.support.receiver import receiver as receiving
from tests.support.receiver import record_many, says

URL = "https://1.1.1.1/hooks"


@pytest.fixture
def webhooks(run: Run, here: Pipeline) -> Run:
    """Run `publish-worker webhooks` on the engines of the test."""
    assert here

    def publish_worker_webhooks(*arguments: str, **environment: str) -> Done:
        return run("webhooks", *arguments, **environment)

    return publish_worker_webhooks


def register(webhooks: Run, *more: str, **environment: str) -> dict[str, Any]:
    """An endpoint, with its secret."""
    arguments = ("create", "--workspace", "1", *(more or ("--url", URL)), "--json")
    done = webhooks(*arguments, **environment)
    assert done.code == 0, done.err
    return json.loads(done.out)


def delivered(webhooks: Run, here: Pipeline, count: int) -> str:
    """Return the id of a new endpoint with `count` failed deliveries."""
    endpoint = register(webhooks)["id"]
    here.publish(*(here.video() for _ in range(count)))
    with transaction(here.engine) as tx:
        fan_out(tx, 1000)
    here.execute("UPDATE publisher.webhook_delivery SET state = 'failed', finished_at = now()")
    return endpoint


def states(here: Pipeline) -> list[str]:
    query = "SELECT state FROM publisher.webhook_delivery ORDER BY position"
    return [state for (state,) in here.rows(query)]


@pytest.mark.parametrize(
    "command",
    ["create", "list", "show", "update", "delete", "rotate", "test", "deliveries", "replay"],
)
def test_every_webhooks_command_has_a_help_text(webhooks: Run, command: str) -> None:
    done = webhooks(command, "--help")
    assert done.code == 0
    assert "Usage: " in done.out


def test_the_secret_is_alone_on_stdout_and_nowhere_else(webhooks: Run) -> None:
    done = webhooks("create", "--workspace", "1", "--url", URL)
    secret = done.out.strip()
    assert secret.startswith("whsec_")
    assert secret not in done.err
    [endpoint] = map(json.loads, webhooks("list", "--json").out.splitlines())
    assert endpoint["id"] in done.err
    for arguments in (("list",), ("show", endpoint["id"]), ("show", endpoint["id"], "--json")):
        assert secret not in webhooks(*arguments).out


def test_a_rotation_prints_the_new_secret_and_keeps_the_old_one(webhooks: Run) -> None:
    endpoint = register(webhooks)
    done = webhooks("rotate", endpoint["id"])
    assert done.out.startswith("whsec_")
    assert done.out.strip() != endpoint["secret"]
    assert "The previous one signs too until" in done.err


def test_endpoints_are_listed_by_workspace(webhooks: Run) -> None:
    register(webhooks)
    assert webhooks("list", "--workspace", "2", "--json").out == ""
    assert URL in webhooks("list", "--workspace", "1").out


def test_a_longer_list_names_the_start_of_the_next_page(webhooks: Run) -> None:
    first, second = register(webhooks), register(webhooks)
    done = webhooks("list", "--limit", "1", "--json")
    assert json.loads(done.out)["id"] == second["id"]
    assert f"--before {second['id']}" in done.err
    rest = webhooks("list", "--before", second["id"], "--json")
    assert json.loads(rest.out)["id"] == first["id"]


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://127.0.0.1:8080/", "WEBHOOKS_ALLOW_PRIVATE"),
        ("https://127.0.0.1/", "WEBHOOKS_ALLOW_PRIVATE"),
        ("http://1.1.1.1/", "must begin with https://"),
        ("https://[v1.x]/", "invalid IPv6 address"),
        ("nonsense", "should be a valid URL"),
    ],
)
def test_a_url_that_is_not_allowed_is_refused_with_the_rule(
    webhooks: Run, url: str, rule: str
) -> None:
    done = webhooks("create", "--workspace", "1", "--url", url)
    assert done.code in (1, 2)  # 2: a usage error
    assert rule in done.complaint


def test_an_endpoint_is_for_a_workspace_that_exists(webhooks: Run) -> None:
    done = webhooks("create", "--workspace", "77", "--url", URL)
    assert done.code == 1
    assert "There is no workspace 77." in done.complaint


def test_an_endpoint_is_changed_field_by_field(webhooks: Run) -> None:
    endpoint = register(webhooks, "--url", URL, "--event-type", "video.published")["id"]
    for change, expected in [
        (("--description", "Search"), {"description": "Search"}),
        (("--disable",), {"state": "disabled", "disabled_reason": "requested"}),
        (("--enable",), {"state": "enabled", "disabled_reason": None}),
        (("--all-event-types",), {"event_types": None}),
        (("--event-type", "video.unpublished"), {"event_types": ["video.unpublished"]}),
        (("--url", f"{URL}/v2"), {"url": f"{URL}/v2"}),
    ]:
        assert webhooks("update", endpoint, *change).code == 0
        shown = json.loads(webhooks("show", endpoint, "--json").out)
        assert shown.items() >= expected.items()


def test_an_empty_or_contradictory_change_is_a_usage_error(webhooks: Run) -> None:
    endpoint = register(webhooks)["id"]
    assert webhooks("update", endpoint).code == 2
    both = ("--all-event-types", "--event-type", "video.published")
    assert webhooks("update", endpoint, *both).code == 2


def test_an_endpoint_is_removed(webhooks: Run) -> None:
    endpoint = register(webhooks)["id"]
    assert webhooks("delete", endpoint).code == 0
    assert webhooks("list", "--json").out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("show",),
        ("update", "--enable"),
        ("delete",),
        ("rotate",),
        ("test",),
        ("deliveries",),
        ("replay", "--failed"),
    ],
)
def test_an_unknown_endpoint_is_refused(webhooks: Run, arguments: tuple[str, ...]) -> None:
    command, *options = arguments
    done = webhooks(command, str(uuid4()), *options)
    assert done.code == 1
    assert "There is no webhook endpoint" in done.complaint


def test_a_test_event_shows_the_answer(webhooks: Run) -> None:
    with receiving() as receiver:
        allowed = {"WEBHOOKS_ALLOW_PRIVATE": "true"}
        endpoint = register(webhooks, "--url", receiver.url(), **allowed)["id"]
        assert json.loads(webhooks("test", endpoint, "--json").out)["delivered"] is True
        receiver.answers["/"] = says(503, b"later")
        done = webhooks("test", endpoint)
    assert done.code == 1
    assert "503" in done.out
    assert "later" in done.out


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_an_answer_cannot_steer_the_terminal(webhooks: Run, as_json: tuple[str, ...]) -> None:
    with receiving() as receiver:
        allowed = {"WEBHOOKS_ALLOW_PRIVATE": "true"}
        endpoint = register(webhooks, "--url", receiver.url(), **allowed)["id"]
        receiver.answers["/"] = says(503, "\x1b]0;owned\x07\x9b31m\u202egpj.exe\r\nok".encode())
        printed = webhooks("test", endpoint, *as_json).out
    assert "gpj.exe" in printed
    assert not set(printed) & {"\x1b", "\x07", "\x9b", "\u202e", "\r"}
    assert not [line for line in printed.splitlines() if line.startswith("ok")]


def test_deliveries_are_listed_and_one_is_shown(webhooks: Run, here: Pipeline) -> None:
    endpoint = delivered(webhooks, here, 2)
    lines = webhooks("deliveries", endpoint, "--state", "failed", "--json").out.splitlines()
    found = [json.loads(line) for line in lines]
    assert [each["position"] for each in found] == [2, 1]
    here.execute(
        "INSERT INTO publisher.webhook_attempt (id, delivery_id, started_at, duration_ms, error)"
        " VALUES (gen_random_uuid(), %s, now(), 15000, 'no answer')",
        UUID(found[0]["id"]),
    )
    assert "no answer" in webhooks("deliveries", endpoint, found[0]["id"]).out
    shown = json.loads(webhooks("deliveries", endpoint, found[0]["id"], "--json").out)
    assert [each["duration_ms"] for each in shown["log"]] == [15000]
    assert "--before 2" in webhooks("deliveries", endpoint, "--limit", "1").err


def test_failed_deliveries_are_replayed(webhooks: Run, here: Pipeline) -> None:
    endpoint = delivered(webhooks, here, 3)
    delivery = json.loads(webhooks("deliveries", endpoint, "--limit", "1", "--json").out)["id"]
    assert webhooks("replay", endpoint, delivery).code == 0
    assert states(here) == ["failed", "failed", "pending"]
    assert "2 deliveries" in webhooks("replay", endpoint, "--failed").err
    assert states(here) == ["pending"] * 3


def test_every_event_since_a_position_is_replayed(webhooks: Run, here: Pipeline) -> None:
    endpoint = delivered(webhooks, here, 3)
    assert "2 deliveries" in webhooks("replay", endpoint, "--since-position", "2").err
    assert states(here) == ["failed", "pending", "pending"]


def test_a_replay_makes_as_many_calls_as_it_takes(webhooks: Run, here: Pipeline) -> None:
    endpoint = register(webhooks)["id"]
    record_many(here, 10_001)
    assert "10001 deliveries" in webhooks("replay", endpoint, "--since-position", "1").err


def test_a_replay_has_exactly_one_kind(webhooks: Run) -> None:
    endpoint = register(webhooks)["id"]
    assert webhooks("replay", endpoint).code == 2
    assert webhooks("replay", endpoint, "--failed", "--since-position", "1").code == 2
