"""How the command line starts: it lists commands that it has not imported."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.command_line import Run, find_commands
from worker.cli.failures import one_clear_end
from worker.cli.late_imports import LateModule, late_imports
from worker.cli.registry import COMMANDS

DRIVERS = (
    "alembic",
    "celery",
    "fastapi",
    "httpx",
    "kombu",
    "opentelemetry",
    "psycopg",
    "pydantic_settings",
    "redis",
    "sqlalchemy",
    "structlog",
)
"""What no help text and no completion needs."""
SERVERS = ("alembic", "celery", "fastapi", "httpx", "kombu", "opentelemetry", "redis")
"""What a command that reads the database alone does not need."""
REPORT = """
import sys
from worker.cli import main
for line in sys.stdin.read().splitlines():
    try:
        main(line.split())
    except SystemExit:
        print(line, *sorted(sys.modules), sep="|", file=sys.stderr)
"""


def find_imported(*lines: str) -> dict[str, set[str]]:
    """Run command lines one after the other in a process; return what was imported after each."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line.split("|") for line in done.stderr.splitlines() if "|" in line]
    return {line: set(modules) for line, *modules in said}


def find_unneeded(unneeded: Iterable[str], *lines: str) -> dict[str, set[str]]:
    """Run command lines; return what was imported of `unneeded`, by the first line with it."""
    imported = find_imported(*lines)
    assert list(imported) == list(lines)
    return {line: found for line in lines if (found := imported[line].intersection(unneeded))}


def test_no_help_text_imports_what_only_a_run_needs() -> None:
    helps = [" ".join((*words, "--help")) for words in [(), *find_commands()]]
    assert find_unneeded(DRIVERS, "--version", *helps) == {}


@pytest.mark.parametrize("line", ["--help", "--version"])
def test_the_list_of_commands_needs_no_models(line: str) -> None:
    assert find_unneeded((*DRIVERS, "pydantic"), line) == {}


@pytest.mark.usefixtures("here")
def test_a_command_that_only_reads_the_database_imports_no_other_driver() -> None:
    lists = [f"{group} list" for group in ("commands", "keys", "sessions", "videos", "webhooks")]
    others = ["commands list --json", "audit", "plan 999999", "punctuality"]
    assert find_unneeded(SERVERS, *lists, *others) == {}


@pytest.mark.usefixtures("here")
def test_a_command_that_reads_no_database_does_not_import_what_opens_one() -> None:
    unneeded = (*SERVERS, "sqlalchemy", "structlog")
    assert find_unneeded(unneeded, "config", "config --resolved", "env") == {}


def test_a_misspelt_command_needs_no_drivers() -> None:
    assert find_unneeded((*SERVERS, "psycopg", "sqlalchemy"), "nonesuch") == {}


INTERRUPTED = """
import os, signal, sys
class Interrupt:
    def __del__(self):  # an exception is lost here, as in a callback of an import
        os.kill(os.getpid(), signal.SIGINT)
    @classmethod
    def find_spec(cls, name, *_):
        if name == wanted:
            cls()
wanted = sys.argv.pop(1)
sys.meta_path.insert(0, Interrupt)
from worker.cli import main
main()
"""


@pytest.mark.parametrize("module", ["typer", "worker.cli.commands", "pydantic", "sqlalchemy"])
def test_ctrl_c_while_a_command_is_imported_is_130_without_a_traceback(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, module, "commands", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_error_that_came_of_ctrl_c_is_130_without_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail_at_ctrl_c() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            Path("/nonesuch").read_text()

    with pytest.raises(SystemExit) as ended, one_clear_end():
        fail_at_ctrl_c()
    assert ended.value.code == 130
    assert capsys.readouterr().err == ""


def test_every_late_module_can_be_imported() -> None:
    find_commands()
    importing = [each for name, each in sys.modules.items() if name.startswith("worker.cli.")]
    values = [value for each in importing for value in vars(each).values()]
    late = [each for each in values if isinstance(each, LateModule)]
    assert len(late) > len(COMMANDS)
    assert [each for each in late if not each.__file__] == []


def test_another_thread_imports_as_ever_during_late_imports() -> None:
    with ThreadPoolExecutor(1) as other, late_imports():
        from worker.cli import connect  # noqa: PLC0415

        other.submit(exec, "import colorsys", {}).result()
    assert isinstance(connect, LateModule)


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


@pytest.mark.processes
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_what_zsh_and_fish_ask_for_has_the_commands_and_their_texts(shell: str) -> None:
    asked = {
        "_PUBLISH_WORKER_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "publish-worker events dead ",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [Path(sys.executable).parent / "publish-worker"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    words = re.findall(r"^\W*(?:_arguments\W+)?(\w+)\W+(List|Deliver)", done.stdout, re.MULTILINE)
    assert words == [("list", "List"), ("redrive", "Deliver")]
