"""How the command line starts: it lists commands that it has not imported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import Run, find_commands
from worker.cli.registry import COMMANDS

HEAVY = ("alembic", "celery", "fastapi", "kombu", "psycopg", "pydantic", "redis", "sqlalchemy")
SERVERS = ("alembic", "celery", "fastapi", "kombu", "redis")
"""What a command that reads the database alone does not need."""
REPORT = """
import sys
from worker.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        ("--help", HEAVY),
        ("--version", HEAVY),
        ("nonesuch", (*SERVERS, "psycopg", "sqlalchemy")),
        ("keys list --help", SERVERS),
        ("commands list --help", SERVERS),
    ],
)
def test_a_start_imports_only_what_the_command_needs(
    arguments: str, unneeded: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    imported = set(done.stderr.splitlines()[-1].split())
    assert "typer" in imported
    assert imported & set(unneeded) == set()


def test_the_list_of_commands_has_the_texts_of_the_commands() -> None:
    found = find_commands()
    own = {name: found[(name,)].help.split("\n\n")[0].replace("\n", " ") for name in COMMANDS}
    assert {name: late.text for name, late in COMMANDS.items()} == own


def test_the_help_lists_every_command(run: Run) -> None:
    shown = run("--help").out
    assert [name for name in COMMANDS if f"\n│ {name} " not in shown] == []


def test_a_misspelt_command_is_answered_with_the_nearest(run: Run) -> None:
    done = run("enqeue", "7")
    assert done.code == 2
    assert "Did you mean 'enqueue'?" in done.complaint


def test_the_version_is_one_line_with_that_of_python(run: Run) -> None:
    done = run("--version")
    assert done.code == 0
    [line] = done.out.splitlines()
    assert line.startswith("publish-worker ")
    assert f"Python {sys.version.split()[0]}" in line


BASH = """
eval "$(_PUBLISH_WORKER_COMPLETE=source_bash publish-worker)"
COMP_WORDS=(publish-worker "$@" "") COMP_CWORD=$(($# + 1))
_publish_worker_completion publish-worker
echo "${COMPREPLY[@]}"
"""


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("bash") is None, reason="this system has no bash")
def test_bash_completes_a_command_that_is_imported_late() -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", "events", "dead"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["list", "redrive"]
