"""The first page's sentence: it says whether all is well, or what is wrong and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.api.console.formats import to_duration
from worker.operations.checks import Check
from worker.operations.overview import Overview

LATE_SECONDS = 5.0
"""A due command that was not claimed for this long is worth a word: normal are milliseconds."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """The sentence, and how it looks: `good`, `warn` or `bad`."""

    style: str
    text: str
    advice: str = ""


def summarise(checks: Sequence[Check], overview: Overview) -> Sentence:
    """Name the worst of what is wrong, or say that all is well."""
    failing = [check for check in checks if not check.ok]
    if failing:
        first = failing[0]
        more = f" {len(failing) - 1} more checks fail: see below." if len(failing) > 1 else ""
        return Sentence("bad", f"{first.name}: {first.detail}{more}", first.remedy)
    late = get_late_seconds(overview)
    if late > LATE_SECONDS:
        text = f"The oldest due command has waited for {to_duration(late)}."
        return Sentence("warn", text, "A backlog is being worked off, or workers are too few.")
    if overview.counts.failed:
        text = f"Everything works; {overview.counts.failed:,} commands failed within a day."
        return Sentence("warn", text, "See Failures for their causes.")
    coming = sum(overview.by_minute.values())
    text = f"All is well. {coming:,} commands fall due in the next 15 minutes."
    return Sentence("good", text)


def get_late_seconds(overview: Overview) -> float:
    """Return how long the oldest due command has waited; 0: none is due."""
    since = overview.counts.due_since
    return (overview.counts.now - since).total_seconds() if since else 0.0
