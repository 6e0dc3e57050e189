"""Imports that happen on first use: what a command needs to run, its help and completion do not."""

import builtins
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from worker.cli.interrupts import ctrl_c_held


class LateModule:
    """A module that is imported when something of it is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> object:
        with ctrl_c_held():
            module = import_module(self._name)
        return getattr(module, name)


@contextmanager
def late_imports() -> Generator[None]:
    """Let each `from package import module` of the block import the module on its first use.

    The block has only such lines: not names of a module, which would have to be imported for them.
    The linters and the type checker read them as any import. Python 3.15 has `lazy from` for this.
    """
    before = builtins.__import__
    block = sys._getframe(2).f_globals  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - it is documented

    def find_later(*given: Any, **named: Any) -> object:
        if len(given) > 1 and given[1] is block:
            return _find_later(*given)
        return before(*given, **named)  # in another thread, or in a finalizer

    builtins.__import__ = find_later
    try:
        yield
    finally:
        builtins.__import__ = before


def _find_later(
    package: str, _globals: object, _locals: object, modules: Sequence[str], _level: int
) -> object:
    return SimpleNamespace(**{name: LateModule(f"{package}.{name}") for name in modules})
