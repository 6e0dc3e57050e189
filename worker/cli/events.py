"""`publish-worker events`: follow and rebuild the stream, list and redrive dead letters."""

from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from schemas.audit import AuditAction, AuditSubject
from schemas.values.actor import Actor, AuditRecord
from worker.cli.audit import audited, find_operator
from worker.cli.interrupts import take_whole
from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson, check_id, command_group
from worker.cli.output import Columns, console, print_json, print_rows, to_text
from worker.cli.progress import progress, say_what_was_kept
from worker.runtime.printing import complain, print_note, to_printable

with late_imports():
    from worker.cli import connect
    from worker.events import redis_stream
    from worker.operations import audit as audit_log
    from worker.operations import dead_letters as operated
    from worker.subscribe import dead_groups, dead_letters
    from worker.subscribe import tail as stream_tail

if TYPE_CHECKING:
    from redis import Redis

    from worker.runtime.runtime import Runtime
    from worker.subscribe.dead_letters import Redriven
    from worker.subscribe.tail import Missing, Received

app = command_group("Follow events, rebuild their stream, list and redrive dead letters.")
dead_app = command_group(
    "List and redrive the events that a consumer group gave up after its last try."
)
app.add_typer(dead_app, name="dead")
Group = Annotated[str, typer.Option("--group", "-g", help="The consumer group.")]

DEAD_LETTERS: Columns = {
    "position": lambda letter: "none" if letter.position is None else letter.position,
    "failed at": "failed_at",
    "tries": "attempts",
    "type": lambda letter: letter.event.get("type"),
    "about": lambda letter: letter.event.get("subject"),
    "error": "error",
}
DEAD_LETTER_FIELDS = (
    "position",
    "failed_at",
    "attempts",
    "error",
    "traceback",
    "consumer",
    "event",
)
COLOURS = {
    "video.published": "green",
    "video.unpublished": "blue",
    "video.publish_scheduled": "magenta",
    "video.publish_rescheduled": "magenta",
    "video.publish_cancelled": "yellow",
}


@app.command(
    epilog="Examples: `publish-worker events tail --from 1`, "
    "`publish-worker events tail --json | jq .data.url`"
)
def tail(
    *,
    first: Annotated[
        int | None,
        typer.Option(
            "--from", help="Start at this position. Default: the next event.", callback=check_id
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print events as they happen, in order, until Ctrl-C; as JSON, they are CloudEvents."""
    after = None if first is None else first - 1
    with connect.open_runtime(redis=True) as runtime:
        try:
            for received in stream_tail.follow(runtime.redis, after, runtime.engine):
                _print(received, as_json=as_json)
        except KeyboardInterrupt:
            return


@app.command()
def rebuild(*, as_json: AsJson = False) -> None:
    """Rebuild the stream from the outbox, with the same positions. This deletes consumer groups.

    Use it for a stream that is damaged or belongs to another database. A lost stream is rebuilt
    without this.
    """
    with connect.open_runtime(redis=True) as runtime:
        total = redis_stream.count_events(runtime.engine)
        count = 0

        def describe() -> str | None:
            if not count:
                return None
            text = f"{count} of {total} events are on the new stream."
            return f"{text} The worker appends the others by itself; or repeat the command."

        with progress("Rebuilding", total) as bar, say_what_was_kept(describe):

            def note(appended: int) -> None:
                nonlocal count
                count += appended
                bar.advance(appended)

            try:
                redis_stream.rebuild(
                    runtime.engine, runtime.redis, runtime.settings.public_base_url, note
                )
            finally:
                _record_rebuild(runtime, count)
    if as_json:
        print_json({"events": count})
        return
    print_note(f"The stream was rebuilt with {count} events.")


def _record_rebuild(runtime: "Runtime", count: int) -> None:
    entry = AuditRecord(
        actor=find_operator(), action=AuditAction.STREAM_REBUILD, details={"events": count}
    )
    audit_log.record(runtime.engine, entry)


@dead_app.command(
    name="list",
    epilog="Examples: `publish-worker events dead list --group search`, "
    "`publish-worker events dead list -g search --json | jq .event.data`",
)
def list_dead(*, group: Group, as_json: AsJson = False) -> None:
    """List a group's dead letters, the oldest first, with the error of the last try."""
    with connect.open_runtime(redis=True) as runtime:
        found = list(dead_letters.read_letters(runtime.redis, group))
        others = [] if found else _find_groups(runtime.redis)
    if as_json:
        for letter in found:
            fields = {name: getattr(letter, name) for name in DEAD_LETTER_FIELDS}
            print_json({"id": letter.id.decode(), **fields})
    elif found:
        print_rows(found, DEAD_LETTERS, as_json=False)
    if not found:
        elsewhere = f" These have some: {', '.join(others)}." if others else ""
        print_note(f"The group {group} has no dead letters.{elsewhere}")


@dead_app.command(
    epilog="Examples: `publish-worker events dead redrive --group search --position 1041`, "
    "`publish-worker events dead redrive -g search --all`"
)
def redrive(
    *,
    group: Group,
    position: Annotated[
        int | None,
        typer.Option(help="Redrive only the event at this position.", callback=check_id),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Redrive every dead letter of the group.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Deliver dead letters again to this group only; the count of their tries starts again."""
    if (position is None) != every:
        raise typer.BadParameter("Give either --position or --all.")
    with connect.open_runtime(redis=True) as runtime:
        action, subject = AuditAction.DEAD_LETTER_RETRY, AuditSubject.CONSUMER_GROUP
        with audited(runtime.engine, action, subject, group) as by:
            count = _redrive(runtime, group, position, by)
    if as_json:
        print_json({"events": count})
    else:
        print_note(f"{count} events will be delivered to the group {group} again.")
    if not every and not count:
        raise typer.Exit(1)


def _redrive(runtime: "Runtime", group: str, position: int | None, by: Actor) -> int:
    engine, redis = runtime.engine, runtime.redis
    if position is None:
        return _redrive_all(runtime, group, by)
    return operated.redrive_position(engine, redis, group, position, by)


def _redrive_all(runtime: "Runtime", group: str, by: Actor) -> int:
    """Redrive the letters that the group has now, in steps."""
    engine, redis = runtime.engine, runtime.redis
    total = operated.count_letters(redis, group)
    count = 0

    def describe() -> str | None:
        text = f"{count} events will be delivered again. To go on, repeat the command."
        return text if count else None

    def note(step: "Redriven") -> None:
        nonlocal count
        count += step.events
        bar.advance(step.letters)

    with progress("Redriving", total) as bar, say_what_was_kept(describe):
        take_whole(operated.redrive_in_steps(engine, redis, group, by), note)
    return count


def _find_groups(redis: "Redis") -> list[str]:
    return [each.name for each in dead_groups.count_by_group(redis, scan_seconds=inf).groups]


def _print(received: "Received | Missing | None", *, as_json: bool) -> None:
    match received:
        case stream_tail.Missing(first=first, last=last):
            complain(f"positions {first} to {last} are not on the stream any more.")
        case stream_tail.Received(event=event) if as_json:
            print_json(event)
        case stream_tail.Received(position=position, event=event):
            console().print(_line(position, event), soft_wrap=True)
        case None:
            pass


def _line(position: int, event: dict[str, Any]) -> Text:
    data = event["data"]
    text = f"{data['title']!r}  {data['url']}" if "url" in data else data.get("detail", "")
    at = to_text(datetime.fromisoformat(event["time"]), "milliseconds")
    begin, kind, end = map(
        to_printable,
        (
            f"{position:>6}  {at}  ",
            f"{event['type']:<22}",
            f"  video {event['subject']:<6} {text}",
        ),
    )
    return Text.assemble(begin, (kind, COLOURS.get(event["type"], "red")), end)
