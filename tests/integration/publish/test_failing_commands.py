"""A failing command never delays its batch, and ends as `failed` with its error."""

import random
import string
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.errors import LockNotAvailable
from structlog.testing import capture_logs

from db.session import LOCK_SECONDS, STATEMENT_SECONDS
from db.videos import facts_and_release
from tests.support.pipeline import Pipeline
from tests.support.requests import request
from worker.rules import metrics
from worker.rules.decision import MAX_ATTEMPTS

POISON = """
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.title = 'poison' THEN RAISE EXCEPTION 'this row is poisonous'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER poison BEFORE UPDATE ON video FOR EACH ROW EXECUTE FUNCTION poison();
"""


@pytest.fixture
def poisoned(pipeline: Pipeline) -> Pipeline:
    """A platform with a trigger that refuses to update one video."""
    pipeline.execute(POISON)
    return pipeline


def test_the_rest_of_the_batch_is_published(poisoned: Pipeline) -> None:
    videos = [poisoned.video(title="poison" if n == 37 else f"Fine {n}") for n in range(100)]
    commands = poisoned.publish(*videos)
    states = [command.state for command in commands]
    assert states.count("published") == 99
    assert states[37] == "scheduled"


@pytest.mark.usefixtures("long_pauses")
def test_the_failing_command_backs_off_and_keeps_the_error(poisoned: Pipeline) -> None:
    [command] = poisoned.publish(poisoned.video(title="poison"))
    assert (command.state, command.attempts, command.reason) == ("scheduled", 1, "error")
    assert "this row is poisonous" in (command.detail or "")
    assert command.due_at > command.accepted_at


def test_the_error_has_no_contents_of_rows(pipeline: Pipeline) -> None:
    """PostgreSQL's DETAIL has the whole row; subscribers, webhooks and clients get the message."""
    pipeline.execute("ALTER TABLE video ADD CONSTRAINT drafts_only CHECK (is_draft)")
    [command] = pipeline.publish(pipeline.video(plan='{"note": "internal"}', title="Secret"))
    with capture_logs() as logs:
        for _ in range(MAX_ATTEMPTS - 1):
            pipeline.make_due()
            pipeline.run()
    [event] = pipeline.events()
    expected = (
        'CheckViolation: new row for relation "video" violates check constraint "drafts_only"'
    )
    assert event["data"]["detail"] == pipeline.command(command.id).detail == expected
    cause = "SELECT cause FROM publisher.publish_command"
    assert (
        pipeline.value(cause)
        == "CheckViolation: new row for relation … violates check constraint …"
    )
    assert "Failing row contains" not in str(event)
    assert "Failing row contains" in str(logs[-1]["exc_info"])


def test_after_its_last_attempt_it_fails_with_an_event(poisoned: Pipeline) -> None:
    [command] = poisoned.publish(poisoned.video(title="poison"))
    for _ in range(MAX_ATTEMPTS - 1):
        poisoned.make_due()
        poisoned.run()
    failed = poisoned.command(command.id)
    assert (failed.state, failed.attempts) == ("failed", MAX_ATTEMPTS)
    [event] = poisoned.events()
    assert event["type"] == "video.publish_failed"
    assert event["causationid"] == str(command.id)


def test_several_failing_commands_are_each_isolated(poisoned: Pipeline) -> None:
    titles = ["poison" if n in (0, 13, 14, 49) else f"Fine {n}" for n in range(50)]
    commands = poisoned.publish(*(poisoned.video(title=title) for title in titles))
    assert [n for n, c in enumerate(commands) if c.state != "published"] == [0, 13, 14, 49]


def test_a_row_too_large_for_an_index_fails_its_command_only(pipeline: Pipeline) -> None:
    """Psycopg files it under OperationalError, as if the database were unreachable."""
    pipeline.execute("CREATE INDEX ON video ((description || description))")
    noise = "".join(random.Random(1).choices(string.printable[:62], k=10_000))  # noqa: S311
    huge = request(pipeline.video(), description=noise)
    states = [
        command.state for command in pipeline.publish(pipeline.video(), huge, pipeline.video())
    ]
    assert states == ["published", "scheduled", "published"]


def test_a_bug_in_a_rule_fails_only_its_command(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_words = metrics.count_words

    def buggy(text: str) -> int:
        return 1 // 0 if text == "odd" else count_words(text)

    monkeypatch.setattr(metrics, "count_words", buggy)
    odd, fine = pipeline.video(generated_script="odd"), pipeline.video(generated_script="even")
    first, second = pipeline.publish(odd, fine)
    assert (first.state, second.state) == ("scheduled", "published")
    assert "ZeroDivisionError" in (first.detail or "")


def test_an_unreachable_database_costs_no_attempt(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    [command] = pipeline.accept(pipeline.video()).commands
    with away(monkeypatch), pytest.raises(psycopg.OperationalError):
        pipeline.run()
    assert pipeline.command(command.id).attempts == 0
    pipeline.run()
    assert pipeline.command(command.id).state == "published"


def test_waiting_for_the_position_counter_costs_no_attempt(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def write_impatiently(tx: psycopg.Connection, decisions: Any, *more: Any) -> None:
        tx.execute("SET LOCAL lock_timeout = '50ms'")
        write(tx, decisions, *more)

    write = facts_and_release.write
    commands = pipeline.accept(pipeline.video(), pipeline.video()).commands
    monkeypatch.setattr(facts_and_release, "write", write_impatiently)
    with (
        pipeline.holding("UPDATE publisher.event_position SET position = position"),
        pytest.raises(LockNotAvailable),
    ):
        pipeline.run()
    assert "batch.bisected" not in caplog.text
    assert [pipeline.command(command.id).attempts for command in commands] == [0, 0]
    pipeline.run()
    assert pipeline.states(*commands) == ["published", "published"]


def test_a_wait_for_the_counter_ends_as_a_wait_for_a_lock() -> None:
    """It has two steps, the queue and its holder; each may take the whole time for a lock."""
    assert 2 * LOCK_SECONDS < STATEMENT_SECONDS


def test_a_failing_command_does_not_publish_the_rest_of_its_batch_twice(poisoned: Pipeline) -> None:
    poisoned.publish(*(poisoned.video(title=t) for t in ("a", "poison", "b", "c")))
    published = [event["subject"] for event in poisoned.events()]
    assert len(published) == len(set(published)) == 3


@contextmanager
def away(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """The server ends the session in the middle of the publish transaction."""
    read_facts = facts_and_release.read_facts

    def ended(tx: psycopg.Connection, video_ids: object) -> object:
        tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return read_facts(tx, video_ids)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patched:
        patched.setattr(facts_and_release, "read_facts", ended)
        yield
