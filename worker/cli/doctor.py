"""`publish-worker doctor`: what is wrong with an installation, and what to do."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson
from worker.cli.output import WIDE, console, print_json
from worker.runtime.printing import complain, print_line, print_note, to_printable

with late_imports():
    from worker.cli import connect
    from worker.operations.doctor import examination
    from worker.runtime import logs, setting_sources, settings

if TYPE_CHECKING:
    from worker.operations.doctor import Finding
    from worker.runtime.setting_sources import Resolved

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}
"""By the level of a finding."""


def doctor(*, as_json: AsJson = False) -> None:
    """Look at everything around the worker, and say what is wrong and what to do.

    Settings, servers, rights, clocks, encryption, processes. Nothing is changed. It ends within a
    few seconds, even if a server hangs.
    """
    logs.configure(settings.LogFormat.CONSOLE, "ERROR")
    given, invalid = setting_sources.read_valid()
    used, up = connect.find_engines(given)
    findings = examination.examine(used, invalid, up or used.data_dir)
    resolved = setting_sources.resolve(used, up)
    errors = _count(findings, "error")
    if as_json:
        print_json(
            {
                "healthy": not errors,
                "findings": [asdict(each) for each in findings],
                "settings": [asdict(each) for each in resolved],
            }
        )
    else:
        _print_settings(resolved)
        _print_findings(findings)
    summary = f"{_say(errors, 'error')}, {_say(_count(findings, 'warning'), 'warning')}."
    if errors:
        complain(summary)
        raise typer.Exit(1)
    print_note(summary)


def _print_settings(resolved: "Sequence[Resolved]") -> None:
    given = [each for each in resolved if each.source != setting_sources.DEFAULT]
    width = max((len(each.name) for each in given), default=0)
    for each in given:
        source = "" if each.source == each.name else f" ({each.source})"
        _print_block(f"{each.name:<{width}} ", [f"{each.value}{source}"])
    others = f"{len(resolved) - len(given)} {'others' if given else 'settings'}"
    print_line(f"{others} have their defaults: `publish-worker config --resolved` lists all.")
    print_line()


def _print_findings(findings: "Sequence[Finding]") -> None:
    width = max(len(each.name) for each in findings)
    for each in findings:
        lines = [each.detail, *([f"→ {each.remedy}"] if each.remedy else [])]
        _print_block(f"{each.name:<{width}} ", lines, MARKS[each.level])


def _print_block(name: str, lines: Sequence[str], mark: tuple[str, str] | None = None) -> None:
    """Print lines beside a name; on a terminal, what is too long goes on below itself."""
    out = console()
    head = Text.assemble(*([(f"{mark[0]} ", mark[1])] if mark else []), (name, "bold"))
    width = max(out.width - head.cell_len, 20) if out.is_terminal else WIDE * 100
    wrapped = [each for line in lines for each in Text(to_printable(line)).wrap(out, width)]
    for number, text in enumerate(wrapped):
        text.rstrip()
        before = head if number == 0 else Text(" " * head.cell_len)
        console().print(Text.assemble(before, text), soft_wrap=True)


def _count(findings: "Sequence[Finding]", level: str) -> int:
    return sum(each.level == level for each in findings)


def _say(number: int, noun: str) -> str:
    return f"{number} {noun}{'s'[: number != 1]}"
