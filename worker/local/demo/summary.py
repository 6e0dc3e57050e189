"""The demo's end: compares what was received with what was recorded, and prints the summary."""

from collections import Counter
from pathlib import Path
from statistics import median

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from db.session import transaction
from publish_worker_client.events.outbox import read_after
from worker.local.demo.screen import COLOURS, check_line
from worker.local.demo.setup import Check, Demo
from worker.operations.status import Status, survey
from worker.subscribe import Received, follow

EVENT_OF = {
    "published": "video.published",
    "unpublished": "video.unpublished",
    "rejected": "video.publish_rejected",
}
MOST_EVENTS = 10_000
CONSOLE = "http://localhost:8000/console/"
"""Of `publish-worker up`, unless its port is taken."""
MAKEFILE = Path(__file__).parents[3] / "Makefile"
"""Only a checkout has it."""


def summarise(demo: Demo, seconds: float, console: Console) -> None:
    """Compare, and print what was done and what was checked; `seconds` is the demo's duration."""
    status = survey(demo.engine, demo.redis, demo.settings.broker())
    checks = _compare(demo, status)
    demo.checks.extend(checks)
    outcomes = Text("   ").join(
        Text.assemble((f"{count} ", "bold"), (state, COLOURS.get(state, "")))
        for state, count in sorted((status.commands or {}).items(), key=lambda each: -each[1])
    )
    facts = Table.grid(padding=(0, 2))
    facts.add_row("commands", outcomes)
    facts.add_row("events", f"{len(demo.subscriber.received)} received, {_latency(demo)}")
    facts.add_row("time", f"{seconds:.0f} s, with the start of engines, API, worker and beat")
    lines = [check_line(check.ok, check.text) for check in checks]
    parts = [facts, Text(), *lines, Text(), _verdict(demo)]
    width = None if console.is_terminal else 110
    console.print(Panel(Group(*parts), title="Summary", padding=(1, 2), width=width, expand=False))


def _compare(demo: Demo, status: Status) -> list[Check]:
    """Check that the subscriber received every recorded event, once and in order."""
    with transaction(demo.engine) as tx:
        recorded = [str(event.id) for event in read_after(tx, 0, MOST_EVENTS)]
    count, subscriber = len(recorded), demo.subscriber
    positions = [event.position for event in subscriber.received]
    return [
        Check(
            ok=[event.id for event in subscriber.received] == recorded,
            text=f"the subscriber received all {count} events, once and in order",
        ),
        Check(
            ok=positions == list(range(1, count + 1)) and not subscriber.gaps,
            text=f"positions 1 to {count}, without a gap",
        ),
        Check(ok=_has_one_event_each(demo, status), text="one event for each outcome that has one"),
        Check(
            ok=_follow_again(demo, count) == recorded,
            text="a second subscriber, late and from the start, receives the same events",
        ),
        Check(ok=status.healthy, text="engines, broker, worker, beat and stream are healthy"),
    ]


def _has_one_event_each(demo: Demo, status: Status) -> bool:
    """Whether there is one event for each outcome; `unchanged` has none."""
    outcomes = [event for event in demo.subscriber.received if event.is_outcome]
    types = Counter(event.type for event in outcomes)
    commands = Counter(status.commands or {})
    causes = {event.command_id for event in outcomes}
    expected = Counter({kind: commands[outcome] for outcome, kind in EVENT_OF.items()})
    return len(causes) == types.total() and types == expected


def _follow_again(demo: Demo, count: int) -> list[str]:
    received: list[str] = []
    for item in follow(demo.redis, after=0):
        if isinstance(item, Received):
            received.append(item.event["id"])
        if item is None or len(received) == count:
            break
    return received


def _latency(demo: Demo) -> str:
    """The latency of videos published one by one; a batch is measured by its rate."""
    batch = set(demo.many)
    single = [
        event.latency * 1000
        for event in demo.subscriber.received
        if event.is_outcome and event.video_id not in batch
    ]
    return f"a median of {median(single):.0f} ms after the command was due"


def _verdict(demo: Demo) -> Text:
    wrong = sum(not check.ok for check in demo.checks)
    if wrong:
        return Text(f"{wrong} of {len(demo.checks)} checks failed.", "bold red")
    return Text.assemble(
        (f"All {len(demo.checks)} checks hold. ", "bold green"),
        "To try it yourself: ",
        ("make up" if MAKEFILE.exists() else "publish-worker up", "bold"),
        ". It prints a link that signs you in to the console, ",
        (CONSOLE, "bold"),
    )
