"""Commands that are imported when they run: the root lists them from a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from worker.cli.interrupts import ended_by_ctrl_c


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """A command, or a group of commands, and where it is."""

    place: str
    """`module:name`, of a function or of a group (`worker.cli.options.command_group`)."""
    text: str
    """What the list of commands shows: the first line of the command's own help text."""
    epilog: str | None = None


class LateCommand(TyperCommand):
    """The name and the text of a command that is not imported yet."""

    def __init__(self, name: str, late: Late) -> None:
        super().__init__(name, help=late.text)
        self.late = late

    def load(self) -> TyperCommand | TyperGroup:
        """Import the command."""
        module, _, attribute = self.late.place.partition(":")
        with ended_by_ctrl_c():
            found = getattr(import_module(module), attribute)
            return _to_command(found, str(self.name), self.late.epilog)


class LateGroup(TyperGroup):
    """A group that imports one of its commands when that command is resolved."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the group's own options; for the first of them, Typer imports Pydantic."""
        with ended_by_ctrl_c():
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Find the command that runs, or whose arguments a shell completes."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LateCommand) else command, rest


def root_group(table: Mapping[str, Late]) -> type[LateGroup]:
    """Return the class of a group with the commands of this table."""

    class _Root(LateGroup):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands.update({name: LateCommand(name, table[name]) for name in table})

    return _Root


def _to_command(found: Any, name: str, epilog: str | None) -> Any:
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    alone.command(name, epilog=epilog)(found)
    return get_command(alone)
