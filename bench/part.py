"""A part of the benchmark: what it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from bench.progress import Progress
from bench.report import Report
from bench.setup import Setup

T = TypeVar("T")


class Size(StrEnum):
    """How much is measured."""

    QUICK = "quick"
    """Two minutes: every part runs, with figures that decide nothing."""
    WHOLE = "whole"
    """Twenty minutes."""
    LONG = "long"
    """An hour and a half: the sizes that need the most time as well."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What each part is asked for, and where it shows its progress."""

    size: Size
    runs: int
    """Of parts that alternate between systems."""
    contenders: tuple[str, ...]
    """Of the throughput."""
    progress: Progress
    found: dict[str, Any] = field(default_factory=dict[str, Any])
    """Results that a later part uses, by the name of the part that measured them."""

    def choose(self, quick: T, whole: T, long: T | None = None) -> T:
        """Return the value for this size; a long run without its own has the one of `whole`."""
        if self.size == Size.QUICK:
            return quick
        return long if self.size == Size.LONG and long is not None else whole


@dataclass(frozen=True)
class Part:
    """A part with the seconds that it is expected to take on two idle cores.

    0 seconds: a run of that size leaves it out, unless `--only` asks for it.
    """

    run: Callable[[Setup, Work], Report]
    title: str
    quick: int
    whole: int
    long: int

    def seconds(self, size: Size) -> int:
        """Return what this size is expected to take."""
        return {Size.QUICK: self.quick, Size.WHOLE: self.whole, Size.LONG: self.long}[size]
