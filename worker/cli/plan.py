"""`publish-worker plan`: what a publish would do now, check by check. Nothing is written."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from publish_worker_client.events.names import Action, Trigger
from schemas.command import PublishOptions, PublishRequest
from schemas.plan import Gate, PlannedOutcome, PublishPlan, Verdict
from worker.cli.enqueue import EditsFile, read_edits, to_request
from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson, check_id, options_of_model
from worker.cli.output import console, print_fields, print_json, to_table, to_text
from worker.runtime.printing import print_line, to_printable

with late_imports():
    from uuid_utils import compat as uuid_utils

    from worker.cli import connect
    from worker.enqueue import origin, refusals, rehearsal
    from worker.publish import plan
    from worker.runtime import settings

if TYPE_CHECKING:
    from worker.enqueue.new_commands import PlannedCommand

REFUSED = (PlannedOutcome.REJECTED, PlannedOutcome.EXPIRED)
MARKS = {
    Verdict.READY: ("✓", "green"),
    Verdict.NOT_YET: ("…", "yellow"),
    Verdict.NEVER: ("✗", "red"),
}
OUTCOMES = {
    PlannedOutcome.PUBLISHED: ("would be published", "green"),
    PlannedOutcome.UNCHANGED: ("would not be changed: it is published, as it is", "green"),
    PlannedOutcome.WAITING: ("would wait for the end of generation", "yellow"),
    PlannedOutcome.REJECTED: ("would be rejected", "red"),
    PlannedOutcome.EXPIRED: ("would expire: the deadline has passed", "red"),
}
VideoId = Annotated[
    int, typer.Argument(metavar="VIDEO_ID", help="The id of the video.", callback=check_id)
]


@options_of_model
def show_plan(
    video_id: VideoId,
    *,
    options: PublishOptions,
    edits_file: EditsFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what `enqueue` with these options would do, check by check. Nothing is written.

    A time in the future is shown, and the checks are those of now; they are made again then. --json
    prints the document of GET /videos/{id}/publish/. Exit code 1: the publish would be refused,
    rejected or expired.
    """
    video = read_edits(edits_file) if edits_file else None
    request: PublishRequest = to_request(video_id, options, video=video)
    with connect.open_database() as engine:
        by = origin.Origin(
            trigger=Trigger.CLI, correlation_id=str(uuid_utils.uuid7()), workspace_id=None
        )
        commands = rehearsal.rehearse(engine, request, by)
        wanted = plan.PlannedPublish(
            request=request,
            ends_at=_find_end(commands),
            media_base_url=settings.Settings().media_base_url,
        )
        found = plan.plan(engine, video_id, None, connect.find_base_url(), wanted)
    if found is None:
        raise refusals.NoSuchVideo([0], [video_id])
    _print_plan(found, commands, as_json=as_json)
    if found.would_be in REFUSED:
        raise typer.Exit(1)


def _find_end(commands: "list[PlannedCommand]") -> datetime | None:
    ends = [each.moment.at for each in commands if each.moment and each.action is Action.UNPUBLISH]
    return ends[0] if ends else None


def _print_plan(found: PublishPlan, commands: "list[PlannedCommand]", *, as_json: bool) -> None:
    times: dict[str, Any] = {
        f"{each.action}_at": each.moment.at for each in commands if each.moment
    }
    if as_json:
        print_json({**found.model_dump(mode="json"), **times})
        return
    text, colour = OUTCOMES[found.would_be]
    console().print(Text.assemble(f"Video {found.video_id} ", (text, f"bold {colour}"), "."))
    print_line()
    for gate in found.readiness.gates:
        _print_gate(gate)
    print_line()
    print_fields({**times, "url": found.url, "revision": found.revision}, as_json=False)
    print_line()
    metrics = [[name, to_text(value)] for name, value in asdict(found.metrics).items()]
    console().print(to_table(["metric", "value"], metrics))


def _print_gate(gate: Gate) -> None:
    mark, colour = MARKS[gate.verdict]
    detail = to_printable(gate.detail)
    console().print(Text.assemble((f"{mark} ", colour), (f"{gate.name:<18} ", "bold"), detail))
