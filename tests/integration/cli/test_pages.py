"""Long work in pages: what is kept when a page is refused, and how to go on."""

import json
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count, islice, pairwise
from pathlib import Path
from pkgutil import resolve_name
from types import FrameType
from typing import Any

import pytest

from publish_worker_client import Subscriber
from tests.support.command_line import Run
from tests.support.pipeline import Pipeline
from tests.support.receiver import record_many


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of three, so that few rows are many pages."""
    monkeypatch.setattr("worker.cli.enqueue_pages.MAX_COMMANDS", 3)
    monkeypatch.setattr("worker.enqueue.changes.PAGE", 3)
    monkeypatch.setattr("worker.webhooks.deliveries.PAGE", 3)


def enqueued(here: Pipeline) -> list[int]:
    """The videos of all commands, in their order."""
    rows = here.rows("SELECT video_id FROM publisher.publish_command ORDER BY id")
    return [video for (video,) in rows]


def test_ids_of_a_file_are_enqueued_in_pages(run: Run, here: Pipeline, tmp_path: Path) -> None:
    videos = [here.video() for _ in range(8)]
    ids = tmp_path / "ids"
    ids.write_text("\ufeff" + "\n".join(map(str, videos[1:])) + "\n\n", "utf-8")
    done = run("enqueue", str(videos[0]), "--ids-file", str(ids), "--json")
    assert [json.loads(line)["video_id"] for line in done.out.splitlines()] == videos
    assert (done.code, done.err, enqueued(here)) == (0, "", videos)
    transactions = "SELECT count(DISTINCT accepted_at) FROM publisher.publish_command"
    assert here.value(transactions) == 3


def test_the_pages_of_a_file_are_one_table(run: Run, here: Pipeline, tmp_path: Path) -> None:
    here.execute("ALTER SEQUENCE video_id_seq RESTART 996")
    videos = [here.video() for _ in range(8)]
    ids = tmp_path / "ids"
    ids.write_text("\n".join(map(str, videos)))
    for wait in ((), ("--wait", "0")):
        heading, *lines = run("enqueue", "--ids-file", str(ids), *wait).out.splitlines()
        assert heading.split()[:3] == ["id", "video", "action"]
        assert [int(line.split()[1]) for line in lines] == videos
        assert {line.index(" publish ") + 1 for line in lines} == {heading.index("action")}


def test_without_an_accepted_page_no_table_is_printed(run: Run, here: Pipeline) -> None:
    done = run("enqueue", str(here.video()), "999999", "--wait", "9")
    assert (done.code, done.out) == (1, "")


def test_ids_are_read_from_stdin(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ids").write_text(str(video := here.video()))
    with (tmp_path / "ids").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert run("unpublish", "--ids-file", "-").code == 0
    assert enqueued(here) == [video]


@pytest.mark.parametrize("text", ["7\nx", "7\n0", "7\n9223372036854775808", "7\n-1", ""])
def test_a_file_with_something_else_enqueues_nothing(
    run: Run, here: Pipeline, tmp_path: Path, text: str
) -> None:
    (tmp_path / "ids").write_text(text)
    assert run("enqueue", "--ids-file", str(tmp_path / "ids")).code == 2
    assert enqueued(here) == []


def test_a_refused_page_keeps_those_before_it_and_says_how_to_go_on(
    run: Run, here: Pipeline
) -> None:
    videos = [here.video() for _ in range(8)]
    given = [*map(str, videos[:4]), "999", *map(str, videos[4:])]
    done = run("enqueue", *given, "--json")
    assert done.code == 1
    assert len(done.out.splitlines()) == 3
    assert f"3 of 9 videos were accepted, up to video {videos[2]}" in done.err
    assert "There is no video 999." in done.err
    key = done.err.split("--idempotency-key ")[1].split(":")[0]
    given.remove("999")
    again = run("enqueue", *given, "--json", "--idempotency-key", key)
    assert (again.code, enqueued(here)) == (0, videos)
    assert [json.loads(line)["video_id"] for line in again.out.splitlines()] == videos


def test_a_repeated_command_line_with_a_key_enqueues_nothing_again(
    run: Run, here: Pipeline
) -> None:
    video = str(here.video())
    first, again = (run("enqueue", video, "--idempotency-key", "a", "--json") for _ in range(2))
    assert json.loads(first.out)["id"] == json.loads(again.out)["id"]
    other = run("enqueue", str(here.video()), "--idempotency-key", "a")
    assert "used for another request" in other.complaint


def test_outcomes_are_awaited_page_by_page(run: Run, here: Pipeline) -> None:
    videos = [here.video() for _ in range(4)] + [here.video(status="failed")]
    done = run("enqueue", *map(str, videos), "--wait", "0", "--json")
    assert (done.code, len(done.out.splitlines())) == (3, 5)
    here.run()
    first = json.loads(done.out.splitlines()[0])["id"]
    assert json.loads(run("commands", "show", first, "--json").out)["state"] == "published"


def test_an_interrupted_wait_prints_what_was_accepted(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("worker.enqueue.changes.find_ended", interrupt)
    videos = [here.video() for _ in range(4)]
    done = run("enqueue", *map(str, videos), "--wait", "9", "--json")
    assert done.code == 130
    assert [json.loads(line)["video_id"] for line in done.out.splitlines()] == videos
    assert "All 4 commands were accepted" in done.err


@pytest.mark.parametrize("wait", [(), ("--wait", "9")])
def test_ctrl_c_between_the_commit_and_its_answer_prints_what_was_accepted(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch, wait: tuple[str, ...]
) -> None:
    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("worker.enqueue.accept.log_accepted", interrupt)
    video = here.video()
    done = run("enqueue", str(video), "--json", *wait)
    assert done.code == 130
    assert json.loads(done.out)["video_id"] == video


def press_ctrl_c_after(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Press Ctrl-C when this function of `worker` has done its work."""
    module, _, attribute = f"worker.{name}".rpartition(".")
    function = resolve_name(module.replace(".RowPages", ":RowPages"))
    before = getattr(function, attribute)

    def press(*arguments: Any, **options: Any) -> Any:
        done = before(*arguments, **options)
        signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(function, attribute, press)


@pytest.mark.parametrize(
    ("wait", "after"),
    [
        (("--wait", "9"), "cli.enqueue_pages.Budget"),  # before the wait begins
        (("--wait", "0"), "cli.output.RowPages.add"),  # a page is printed
        ((), "cli.output.RowPages.add"),
    ],
)
def test_ctrl_c_between_accepting_awaiting_and_printing_prints_each_id_once(
    run: Run,
    here: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    wait: tuple[str, ...],
    after: str,
) -> None:
    press_ctrl_c_after(monkeypatch, after)
    done = run("enqueue", *(str(here.video()) for _ in range(4)), *wait, "--json")
    assert done.code == 130
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == take_accepted(here)


@contextmanager
def ctrl_c_at(number: int) -> Generator[None]:
    """Press Ctrl-C before the line of this number of `worker.cli.enqueue_pages`."""
    left = number

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith("enqueue_pages.py"):
            return None
        left -= event == "line"
        if not left:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.slow
@pytest.mark.parametrize("wait", [(), ("--wait", "0")])
def test_ctrl_c_at_any_line_prints_the_id_of_each_accepted_command_once(
    run: Run, here: Pipeline, wait: tuple[str, ...]
) -> None:
    videos = [str(here.video()) for _ in range(4)]
    number = 0
    for number in count(1):
        with ctrl_c_at(number):
            done = run("enqueue", *videos, *wait, "--json")
        printed = [json.loads(line)["id"] for line in done.out.splitlines()]
        assert printed == take_accepted(here), f"line {number}"
        if done.code != 130:
            break
    assert number > 50


def take_accepted(here: Pipeline) -> list[str]:
    """The ids of the open commands, which are cancelled."""
    accepted = here.rows("SELECT id FROM publisher.publish_command WHERE finished_at IS NULL")
    here.execute("UPDATE publisher.publish_command SET state = 'cancelled', finished_at = now()")
    return sorted(str(each) for (each,) in accepted)


def test_all_failed_commands_are_retried_in_pages_at_one_rate(run: Run, here: Pipeline) -> None:
    commands = here.accept(*(here.video() for _ in range(7))).commands
    here.execute(
        "UPDATE publisher.publish_command SET state = 'failed', detail = 'Error: x',"
        " finished_at = now()"
    )
    done = run("commands", "retry", "--all", "--cause", "Error", "--per-second", "2", "--json")
    assert json.loads(done.out)["commands"] == 7
    due = [row.due_at for row in map(here.command, (each.id for each in commands))]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(due)]
    assert gaps == [0.5] * 6


def test_ctrl_c_within_a_page_of_replays_says_where_the_next_one_begins(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("webhooks", "create", "--workspace", "1", "--url", "https://1.1.1.1/")
    endpoint = str(here.value("SELECT id FROM publisher.webhook_endpoint"))
    record_many(here, 7)
    press_ctrl_c_after(monkeypatch, "cli.webhooks._count_progress")
    done = run("webhooks", "replay", endpoint, "--since-position", "2")
    assert done.code == 130
    assert here.value("SELECT max(position) FROM publisher.webhook_delivery") == 4
    assert (
        "3 deliveries will be sent again. To go on, repeat it with --since-position 5" in done.err
    )


def test_ctrl_c_within_a_step_of_redrives_counts_the_step(
    run: Run, here: Pipeline, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.publish(*(here.video() for _ in range(3)))
    here.events()
    with Subscriber(redis_url, group="search", max_tries=1) as subscriber:
        for delivery in islice(subscriber, 3):
            delivery.fail(ValueError("no index"))
    monkeypatch.setattr("worker.operations.dead_letters.STEP", 2)
    monkeypatch.setattr("worker.subscribe.dead_letters.BATCH", 2)
    press_ctrl_c_after(monkeypatch, "operations.dead_letters.redrive_all")
    done = run("events", "dead", "redrive", "--group", "search", "--all")
    assert done.code == 130
    left = run("events", "dead", "list", "--group", "search", "--json").out.splitlines()
    assert [json.loads(line)["position"] for line in left] == [3]
    assert "2 events will be delivered again. To go on, repeat the command." in done.err


def test_failed_deliveries_and_events_are_replayed_in_pages(run: Run, here: Pipeline) -> None:
    assert run("webhooks", "create", "--workspace", "1", "--url", "https://1.1.1.1/").code == 0
    endpoint = str(here.value("SELECT id FROM publisher.webhook_endpoint"))
    record_many(here, 7)
    since = run("webhooks", "replay", endpoint, "--since-position", "2", "--json")
    assert json.loads(since.out) == {"deliveries": 6, "next_position": None}
    here.execute("UPDATE publisher.webhook_delivery SET state = 'failed', finished_at = now()")
    failed = run("webhooks", "replay", endpoint, "--failed", "--json")
    assert json.loads(failed.out) == {"deliveries": 6, "next_position": None}
    pending = "SELECT count(*) FROM publisher.webhook_delivery WHERE state = 'pending'"
    assert here.value(pending) == 6
    pages = "SELECT count(*) FROM publisher.audit_entry WHERE action = 'webhook_endpoint.replay'"
    assert here.value(pages) == 6
