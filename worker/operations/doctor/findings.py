"""A finding: what was looked at, how it is, what is wrong and what to do."""

from dataclasses import dataclass
from enum import StrEnum

from worker.operations.checks import Check


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and something should be changed."""
    ERROR = "error"
    """Something does not work, or data can be lost."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that `publish-worker doctor` has looked at."""

    name: str
    level: Level
    detail: str
    remedy: str = ""
    """What to do; empty if nothing is to be done."""


def ok(name: str, detail: str) -> Finding:
    """Return a finding that needs nothing to be done."""
    return Finding(name=name, level=Level.OK, detail=detail)


def warning(name: str, detail: str, remedy: str) -> Finding:
    """Return a finding that should be looked at."""
    return Finding(name=name, level=Level.WARNING, detail=detail, remedy=remedy)


def error(name: str, detail: str, remedy: str) -> Finding:
    """Return a finding that must be looked at."""
    return Finding(name=name, level=Level.ERROR, detail=detail, remedy=remedy)


def from_check(check: Check) -> Finding:
    """Return a check of `status` as a finding."""
    level = Level.OK if check.ok else Level.ERROR
    return Finding(name=check.name, level=level, detail=check.detail, remedy=check.remedy)
