"""Commands over HTTP: listed, shown, rescheduled, cancelled, retried."""

import threading
from typing import Any
from uuid import uuid4

import pytest

from db.commands import inbox
from db.session import transaction
from schemas.command import CommandState
from schemas.inbox import CommandFilter
from tests.support.api import Api

LATER = "2100-01-01T00:00:00Z"


def accepted(api: Api, **columns: Any) -> str:
    """The path of a command that was accepted and not carried out."""
    answer = api.post(f"/videos/{api.video(**columns)}/publish/")
    return answer.json()["url"].removeprefix("https://videos.example/api/v1")


def test_commands_are_listed_newest_first_page_by_page(api: Api) -> None:
    ids = [accepted(api).rpartition("/")[2] for _ in range(5)][::-1]
    seen: list[str] = []
    path = "/publish-commands?limit=2"
    while path:
        page = api.get(path).json()
        seen += [command["id"] for command in page["commands"]]
        path = (page["next"] or "").removeprefix("https://videos.example/api/v1")
    assert seen == ids


def test_commands_are_found_by_video_and_state(api: Api) -> None:
    video = api.video()
    api.publish(video, video)
    api.publish(api.video())
    found = api.get(f"/publish-commands?video_id={video}&state=unchanged").json()["commands"]
    assert [(c["video_id"], c["state"]) for c in found] == [(video, "unchanged")]


@pytest.mark.usefixtures("long_pauses")
def test_a_new_deadline_checks_the_command_again_at_once(api: Api) -> None:
    path = accepted(api, status="not_started")
    api.run()
    changed = api.call("PATCH", f"/api/v1{path}", json={"publish_before": LATER}).json()
    assert changed["publish_before"] == LATER
    assert api.run() == 0
    assert api.value("SELECT checks FROM publisher.publish_command") == 2


def test_a_deadline_that_has_passed_is_refused(api: Api) -> None:
    body = {"publish_before": "2020-01-01T00:00:00Z"}
    answer = api.call("PATCH", f"/api/v1{accepted(api)}", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/publish_before"


def test_a_cancelled_command_publishes_nothing_and_has_an_event(api: Api) -> None:
    path = accepted(api)
    answer = api.call("DELETE", f"/api/v1{path}")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert api.run() == 0
    assert [event["type"] for event in api.events()] == ["video.publish_cancelled"]


def test_cancelling_twice_is_cancelling_once(api: Api) -> None:
    path = accepted(api)
    api.call("DELETE", f"/api/v1{path}")
    assert api.call("DELETE", f"/api/v1{path}").status_code == 200
    assert len(api.events()) == 1


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_command_that_has_ended_cannot_be_changed(api: Api, method: str) -> None:
    path = accepted(api)
    api.run()
    body = {"publish_before": LATER} if method == "PATCH" else None
    answer = api.call(method, f"/api/v1{path}", json=body)
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/command-ended"


def cancel(api: Api, path: str, start: threading.Barrier, answers: list[int]) -> None:
    start.wait()
    answers.append(api.call("DELETE", f"/api/v1{path}").status_code)


@pytest.mark.usefixtures("patient_locks")
def test_a_command_is_cancelled_or_published_never_both(api: Api) -> None:
    for _ in range(25):
        path = accepted(api)
        answers: list[int] = []
        start = threading.Barrier(2)
        canceller = threading.Thread(target=cancel, args=(api, path, start, answers))
        canceller.start()
        start.wait()
        api.run()
        canceller.join()
        state = api.get(path).json()["state"]
        assert (state, answers) in (("cancelled", [200]), ("published", [409]))
    types = [event["type"] for event in api.events()]
    assert len(types) == 25


def test_only_a_failed_command_can_be_retried(api: Api) -> None:
    answer = api.post(f"{accepted(api)}/retry")
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/command-not-failed"


def test_a_failed_command_that_is_retried_is_carried_out(api: Api) -> None:
    path = accepted(api)
    api.execute("UPDATE publisher.publish_command SET state = 'failed', finished_at = now()")
    assert api.post(f"{path}/retry").json()["state"] == "scheduled"
    api.run()
    assert api.get(path).json()["state"] == "published"


@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/retry")]
)
def test_an_unknown_command_is_not_found(api: Api, method: str, suffix: str) -> None:
    body = {"publish_before": LATER} if method == "PATCH" else None
    answer = api.call(method, f"/api/v1/publish-commands/{uuid4()}{suffix}", json=body)
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/no-such-command"


def test_a_page_with_large_edits_ends_early_and_continues_without_a_gap(api: Api) -> None:
    video = api.video()
    accepted = [api.post(f"/videos/{video}/publish/").json()["id"] for _ in range(5)]
    api.execute(
        "UPDATE publisher.publish_command SET edits_bytes = 800000,"
        " edits = jsonb_build_object('description', repeat('x', 800000))"
    )
    for order in ("newest", "due"):
        seen: list[str] = []
        path = f"/publish-commands?order={order}&limit=200"
        while path:
            page = api.get(path).json()
            assert len(page["commands"]) <= 2
            seen += [each["id"] for each in page["commands"]]
            path = (page["next"] or "").partition("/api/v1")[2]
        assert seen == (accepted if order == "due" else accepted[::-1])


def test_the_order_of_due_times_does_not_depend_on_the_state(api: Api) -> None:
    paths = [f"/videos/{api.video()}/publish/" for _ in range(6)]
    ids = [api.post(path).json()["id"] for path in paths]
    for number, state in enumerate(["waiting", "scheduled", "published", "failed"]):
        finished = "now()" if number > 1 else "NULL"
        api.execute(
            f"UPDATE publisher.publish_command SET state = %s, finished_at = {finished},"
            " due_at = now() - %s * interval '1 minute' WHERE id = %s",
            state,
            number + 1,
            ids[number],
        )
    seen: list[str] = []
    path = "/publish-commands?order=due&limit=4"
    while path:
        page = api.get(path).json()
        seen += [each["id"] for each in page["commands"]]
        path = (page["next"] or "").partition("/api/v1")[2]
    assert seen == [*ids[3::-1], *ids[4:]]


@pytest.mark.parametrize("state", [None, CommandState.SCHEDULED])
@pytest.mark.parametrize("workspace_id", [None, 1])
def test_a_page_in_the_order_of_due_times_is_read_from_an_index(
    api: Api, state: CommandState | None, workspace_id: int | None
) -> None:
    api.execute(
        """
        INSERT INTO publisher.publish_command
            (id, video_id, workspace_id, state, trigger, due_at, finished_at, correlation_id)
        SELECT gen_random_uuid(), n, 1 + n % 2, 'published', 'api',
               now() - n * interval '1 second', now(), 'c'
        FROM generate_series(1, 20000) n
        """
    )
    api.execute("ANALYZE publisher.publish_command")
    values = {
        **CommandFilter(state=state).model_dump(exclude={"order"}),
        "workspace_id": workspace_id,
        "states": [state] if state else list(CommandState),
        "limit": 51,
        "max_bytes": inbox.PAGE_BYTES,
    }
    with transaction(api.engine) as tx:
        for _ in range(9):  # then it is prepared: a general plan must not be chosen
            tx.execute(f"EXPLAIN (ANALYZE) {inbox.LIST_DUE}", values)
        rows = tx.execute(f"EXPLAIN (ANALYZE) {inbox.LIST_DUE}", values).fetchall()
    plan = "\n".join(row[0] for row in rows)
    assert "Index Scan using ix_publish_command_due" in plan
    assert "Seq Scan" not in plan
