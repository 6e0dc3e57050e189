"""Enqueue: accept commands into the inbox, and change them until they are carried out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.enqueue.accept import Accepted, Origin, enqueue

__all__ = ["Accepted", "Origin", "enqueue"]


def __getattr__(name: str) -> Any:
    """Import what accepts commands when it is used: what only reads them starts without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.accept"), name)
