"""The contenders of the throughput measurement: names, modules, packages."""

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from bench.peers.work import Send

OURS = "this-project"
TEXTBOOK = "textbook"
LIMIT = "limit"


class Peer(Protocol):
    """What each module in bench/peers defines."""

    WORKERS: Sequence[Sequence[str]]
    """The arguments of `python -m` for each command that starts workers."""
    prepare: Callable[[], None]
    """Make the tables, before the workers start."""
    open_sender: Callable[[], Send]
    """Connect a producer."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row of the table."""

    name: str
    title: str
    """`{}` is the place of the version of its package."""
    module: str = ""
    """In bench/peers. Empty: the limit, which is replayed and has no workers."""
    package: str = ""
    """The distribution that it measures."""
    share: float = 0.05
    """The part of the videos that it publishes: slow ones need fewer."""
    same_work: bool = True
    """Whether it publishes at all; else its figure is not comparable."""
    once: bool = False
    """Whether only the first run measures it: it is shown for comparison, no goal refers to it."""
    rival: bool = False
    """Whether it counts for `the best of the others`."""

    def is_installed(self) -> bool:
        """Whether its package is here."""
        return not self.package or _has_distribution(self.package)

    def version(self) -> str:
        """The version of its package; empty where there is none."""
        return (
            importlib.metadata.version(self.package) if self.package and self.is_installed() else ""
        )

    def title_with_version(self) -> str:
        """Its title and the version of its package."""
        return self.title.replace("{}", self.version()).replace("  ", " ")

    def load(self) -> Peer:
        """Import its module. Needs the environment of a run."""
        return cast(Peer, importlib.import_module(f"bench.peers.{self.module}"))


def _has_distribution(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


CONTENDERS = {
    each.name: each
    for each in (
        Contender(name=LIMIT, title="the limit: our SQL without Python", share=1),
        Contender(name=OURS, title="this project, 500 in a call", module="this_project", share=1),
        Contender(
            name="this-project-single",
            title="this project, one call each",
            module="this_project_single",
            once=True,
        ),
        Contender(
            name="noop",
            title="Celery {}, empty task",
            package="celery",
            module="noop",
            same_work=False,
            once=True,
        ),
        Contender(name="awa", title="awa-pg {}", module="awa_peer", package="awa-pg", rival=True),
        Contender(
            name="pgqueuer",
            title="PgQueuer {}",
            module="pgqueuer_peer",
            package="pgqueuer",
            rival=True,
        ),
        Contender(
            name="taskiq", title="Taskiq {}", module="taskiq_peer", package="taskiq", rival=True
        ),
        Contender(
            name="dramatiq",
            title="Dramatiq {}",
            module="dramatiq_peer",
            package="dramatiq",
            rival=True,
        ),
        Contender(
            name="procrastinate",
            title="Procrastinate {}",
            module="procrastinate_peer",
            package="procrastinate",
            rival=True,
        ),
        Contender(name=TEXTBOOK, title="Celery {}, tuned", package="celery", module="textbook"),
        Contender(
            name="orm", title="Celery {}, ORM, delay()", package="celery", module="orm", once=True
        ),
    )
}
