"""Dataclasses with descriptions: how pydantic reads the classes of an event's `data`."""

from typing import TypeVar

from pydantic import ConfigDict

T = TypeVar("T")


def documented(kind: type[T]) -> type[T]:
    """Make pydantic validate a dataclass as strictly as Frozen, with docstrings as descriptions."""
    kind.__pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)  # pyright: ignore[reportAttributeAccessIssue]
    return kind
