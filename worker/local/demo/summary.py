"""The demo's end: what was received is compared with what was recorded, and all is summed up."""

from collections import Counter
from statistics import median

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from db.events import outbox
from db.session import transaction
from worker.local.demo.board import COLOURS
from worker.local.demo.screen import MARKS
from worker.local.demo.stage import Finding, Stage
from worker.operations.status import Status, survey
from worker.subscribe import Received, follow

EVENT_OF = {
    "published": "video.published",
    "unpublished": "video.unpublished",
    "rejected": "video.publish_rejected",
}
MOST_EVENTS = 10_000


def compare(stage: Stage) -> list[Finding]:
    """Whether the subscriber received what was recorded, all of it, once and in order."""
    with transaction(stage.engine) as tx:
        recorded = [str(event.id) for event in outbox.read_after(tx, 0, MOST_EVENTS)]
    seen = stage.subscriber.seen
    received = [each.event["id"] for each in seen]
    positions = [each.position for each in seen]
    status = survey(stage.engine, stage.redis, stage.settings.broker())
    return [
        Finding(
            ok=received == recorded,
            text=f"the subscriber received all {len(recorded)} events, once and in order",
        ),
        Finding(
            ok=positions == list(range(1, len(recorded) + 1)) and not stage.subscriber.gaps,
            text=f"positions 1 to {len(recorded)}, without a gap",
        ),
        Finding(ok=_one_event_each(stage, status), text="one event for each outcome to tell of"),
        Finding(
            ok=_late(stage, len(recorded)) == recorded,
            text="another subscriber, late and from the start, receives the very same",
        ),
        Finding(ok=status.healthy, text="engines, broker, worker, beat and stream are healthy"),
    ]


def sum_up(stage: Stage, findings: list[Finding], seconds: float, console: Console) -> None:
    """Print what was done, what came of it, and what was found."""
    status = survey(stage.engine, stage.redis, stage.settings.broker())
    outcomes = Text("   ").join(
        Text.assemble((f"{count} ", "bold"), (state, COLOURS.get(state, "")))
        for state, count in sorted((status.commands or {}).items(), key=lambda each: -each[1])
    )
    facts = Table.grid(padding=(0, 2))
    facts.add_row("commands", outcomes)
    facts.add_row("events", f"{len(stage.subscriber.seen)} received, {_latency(stage)}")
    facts.add_row("time", f"{seconds:.0f} s, the start of engines, API, worker and beat included")
    parts = [facts, Text(), *(_line(finding) for finding in findings), Text(), _verdict(stage)]
    width = None if console.is_terminal else 110
    console.print(
        Panel(Group(*parts), title="What was done", padding=(1, 2), width=width, expand=False)
    )


def _one_event_each(stage: Stage, status: Status) -> bool:
    """`unchanged` is told to nobody."""
    outcomes = [seen for seen in stage.subscriber.seen if seen.is_due]
    told = Counter(seen.type for seen in outcomes)
    commands = Counter(status.commands or {})
    causes = {seen.command_id for seen in outcomes}
    return len(causes) == told.total() and told == Counter(
        {kind: commands[outcome] for outcome, kind in EVENT_OF.items()}
    )


def _late(stage: Stage, count: int) -> list[str]:
    received: list[str] = []
    for each in follow(stage.redis, after=0):
        if isinstance(each, Received):
            received.append(each.event["id"])
        if each is None or len(received) == count:
            break
    return received


def _latency(stage: Stage) -> str:
    """Of the videos that were published one by one: a batch is measured by its rate."""
    crowd = set(stage.crowd)
    single = [seen for seen in stage.subscriber.seen if seen.is_due and seen.video_id not in crowd]
    each = [seen.latency * 1000 for seen in single]
    return f"a median of {median(each):.0f} ms after the command was due"


def _line(finding: Finding) -> Text:
    mark, style = MARKS[finding.ok]
    return Text.assemble((f"{mark} ", style), finding.text)


def _verdict(stage: Stage) -> Text:
    wrong = [finding for finding in stage.findings if not finding.ok]
    if wrong:
        return Text(f"{len(wrong)} of {len(stage.findings)} checks failed.", "bold red")
    return Text.assemble(
        (f"All {len(stage.findings)} checks hold. ", "bold green"),
        "To play with it yourself: ",
        ("make up", "bold"),
    )
