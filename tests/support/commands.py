"""The commands of the command line, as it declares them."""

from collections.abc import Iterator
from typing import Any


def list_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words that each command of the command line begins with."""
    for words, _ in walk_commands(command, path):
        yield words


def walk_commands(
    command: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command with the words that it begins with."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, each in command.commands.items():
        yield from walk_commands(each, (*path, name))
