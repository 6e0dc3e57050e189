"""`publish-worker`, the command line: each command translates, calls one function and prints.

Results are printed on stdout, everything else on stderr; docs/command-line.md has the exit codes. A
command is imported when it is named (`registry`, `late`), and what it needs to run when it runs
(`late_imports`).
"""

from worker.cli.interrupts import ENDED, ended_by_ctrl_c
from worker.cli.late_imports import late_imports

with late_imports():
    from worker.cli import root


def main(arguments: list[str] | None = None) -> None:
    """Run one command of these arguments, by default the process's; end with its exit code."""
    try:
        with ended_by_ctrl_c():
            run = root.run
        run(arguments)
    except KeyboardInterrupt:  # Typer handles it while a command runs
        raise SystemExit(ENDED) from None
