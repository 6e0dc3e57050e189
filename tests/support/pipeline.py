"""The whole path in one process: enqueue, carry out, relay, read. For tests, without Celery."""

import io
import json
import os
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple
from unittest.mock import patch
from uuid import UUID

import pytest
from redis import Redis
from sqlalchemy import Engine

from db.commands import inbox
from db.commands.inbox import StoredCommand
from db.session import lift_limits, transaction
from publish_worker_client.events.names import Trigger
from publish_worker_client.events.stream_entries import STREAM
from schemas.command import PublishRequest
from tests.support.platform import make_video
from worker import cli
from worker.enqueue.accept import Accepted, Origin, enqueue
from worker.events.redis_stream import relay
from worker.publish.run import run_due
from worker.runtime.wake_ups import Waker

BASE_URL = "https://videos.example"
BASE_URLS = (BASE_URL, None)
"""Of the pages, and of the media: paths stay paths."""


class CommandResult(NamedTuple):
    """A command of the command line that has ended."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass
class Pipeline:
    """One worker's tools, used by hand."""

    engine: Engine
    redis: Redis
    wake_ups: list[int] = field(default_factory=list[int])

    @property
    def waker(self) -> Waker:
        """Counts the messages that Celery would get."""
        return Waker(redis=self.redis, send=lambda _: self.wake_ups.append(1))

    def video(self, **columns: Any) -> int:
        """Make one video, ready unless the columns say otherwise."""
        with transaction(self.engine) as tx:
            return make_video(tx, **columns)

    def accept(self, *requests: PublishRequest | int, **origin: Any) -> Accepted:
        """Enqueue requests, or videos by their ids."""
        asked = [
            request if isinstance(request, PublishRequest) else PublishRequest(video_id=request)
            for request in requests
        ]
        known: dict[str, Any] = {
            "trigger": Trigger.API,
            "correlation_id": "c-1",
            "workspace_id": None,
            **origin,
        }
        return enqueue(self.engine, self.waker, asked, Origin(**known))

    def run(self) -> int:
        """Carry out what is due; return how many commands ended."""
        return run_due(
            self.engine, base_url=BASE_URL, wake=self.waker.wake, committed=lambda _: None
        )

    def publish(self, *requests: PublishRequest | int, **origin: Any) -> list[StoredCommand]:
        """Enqueue and carry out; return what became of the commands."""
        accepted = self.accept(*requests, **origin)
        self.run()
        return [self.command(command.id) for command in accepted.commands]

    def command(self, command_id: UUID) -> StoredCommand:
        """A command as it stands."""
        with transaction(self.engine) as tx:
            return inbox.read(tx, [command_id], None)[0]

    def make_due(self) -> None:
        """Let every waiting command's pause be over."""
        self.execute(
            "UPDATE publisher.publish_command SET due_at = now() WHERE finished_at IS NULL"
        )

    def let_pass(self, **time: float) -> None:
        """Let so much time pass: everything that commands were told lies that much earlier."""
        shifted = ("accepted_at", "asked_for", "due_at", "publish_before", "patient_until")
        moves = ", ".join(f"{column} = {column} - %(time)s" for column in shifted)
        with transaction(self.engine) as tx:
            tx.execute(f"UPDATE publisher.publish_command SET {moves}", {"time": timedelta(**time)})  # pyright: ignore[reportArgumentType, reportCallIssue]

    def states(self, *commands: StoredCommand) -> list[str]:
        """What has become of commands by now."""
        return [self.command(command.id).state for command in commands]

    def command_line(self, *arguments: str) -> CommandResult:
        """Run `publish-worker` on these engines."""
        broker = self.redis.connection_pool.connection_kwargs
        environment = {
            "DATABASE_URL": self.engine.url.render_as_string(hide_password=False),
            "REDIS_URL": f"redis://{broker['host']}:{broker['port']}/{broker.get('db', 0)}",
        }
        out, err = io.StringIO(), io.StringIO()
        with (
            patch("worker.runtime.logs.configure"),
            patch.dict(os.environ, environment),
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as end,
        ):
            cli.main(list(arguments))
        return CommandResult(int(end.value.code or 0), out.getvalue(), err.getvalue())

    def execute(self, statement: str, *values: Any) -> None:
        """Run one statement, as the platform or a person would."""
        with transaction(self.engine) as tx:
            tx.execute(statement, values or None)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The answer to a query."""
        with transaction(self.engine) as tx:
            return tx.execute(query, values or None).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    def value(self, query: str, *values: Any) -> Any:
        """The one value that a query answers."""
        return self.rows(query, *values)[0][0]

    def events(self) -> list[dict[str, Any]]:
        """Relay, and read the whole stream as a subscriber does."""
        relay(self.engine, self.redis, BASE_URL)
        return stream(self.redis)

    def end_other_sessions(self) -> None:
        """End every session of this database but one, as a server that restarts does."""
        self.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    @contextmanager
    def holding(self, statement: str, *values: Any) -> Generator[None]:
        """Lock the rows that a statement touches, in another transaction without limits of time."""
        with transaction(self.engine) as tx:
            lift_limits(tx)
            tx.execute(statement, values or None)  # pyright: ignore[reportArgumentType, reportCallIssue]
            yield


def stream(redis: Redis) -> list[dict[str, Any]]:
    """Every event on the stream, in order."""
    entries: Any = redis.xrange(STREAM)
    return [json.loads(fields[b"event"]) for _, fields in entries]


def ids(redis: Redis) -> list[str]:
    """Every ID on the stream, in order."""
    entries: Any = redis.xrange(STREAM)
    return [entry_id.decode() for entry_id, _ in entries]
