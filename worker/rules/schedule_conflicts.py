"""Conflicts: open commands of one video that get in each other's way, in words."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

NEAR = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A command, as far as conflicts depend on it."""

    id: UUID
    video_id: int
    action: str
    due_at: datetime


def find_conflicts(commands: Iterable[Planned]) -> dict[UUID, str]:
    """Return the commands in conflict, each with the reason.

    Of one video, two commands in a row conflict if they are less than a minute apart, or if both
    have the same action: the second one finds the video as it is, or windows overlap.
    """
    by_video: defaultdict[int, list[Planned]] = defaultdict(list)
    for command in commands:
        by_video[command.video_id].append(command)
    found: dict[UUID, str] = {}
    for planned in by_video.values():
        in_order = sorted(planned, key=lambda each: (each.due_at, each.id))
        for first, second in pairwise(in_order):
            if reason := _explain(first, second):
                found.setdefault(first.id, reason)
                found[second.id] = reason
    return found


def _explain(first: Planned, second: Planned) -> str | None:
    if second.due_at - first.due_at < NEAR:
        return "Another command of this video is due within a minute of this one."
    if first.action == second.action:
        between = "unpublish" if first.action == "publish" else "publish"
        return (
            f"Two commands in a row {first.action} this video, with no {between} between them:"
            " the second one changes nothing, or two windows overlap."
        )
    return None
