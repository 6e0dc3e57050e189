"""Exit codes: those that docs/command-line.md lists. The other tests of commands show 0 and 1."""

import json
import re
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Run
from tests.support.pipeline import Pipeline
from tests.support.waiting import START_SECONDS, wait_until

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "command-line.md").read_text()
MAIN = "from worker.cli import main; main()"


def test_the_help_has_the_codes_of_the_page(run: Run) -> None:
    codes = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    shown = " ".join(run("--help").out.split())
    assert codes == re.findall(r"[:;] (\d+) ", shown[shown.index("Exit codes: ") :])


@pytest.mark.parametrize(
    "arguments",
    ["nonesuch", "enqueue", "enqueue seven", "commands list --limit 0", "config --markdown --json"],
)
def test_a_command_line_that_is_not_valid_is_2(run: Run, arguments: str) -> None:
    assert run(*arguments.split()).code == 2


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ("commands list --state", "commands list"),
        ("commands list --state bogus", "commands list"),
        ("commands --help=1", "commands"),
        ("enqueue --wait", "enqueue"),
        ("events dead list --group", "events dead list"),
        ("up --sample=1", "up"),
        ("webhooks deliveries", "webhooks deliveries"),
    ],
)
def test_a_command_line_that_is_not_valid_is_answered_with_the_help_of_its_command(
    run: Run, arguments: str, command: str
) -> None:
    assert run(*arguments.split()).complaint.endswith(f" {command} --help`)")


def test_accepted_but_not_finished_is_3(run: Run, here: Pipeline) -> None:
    assert run("enqueue", str(here.video()), "--wait", "0").code == 3


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "function"),
    [
        ("keys create --name ci --scope read --workspace 1", "operations.api_keys.create_key"),
        ("webhooks create --workspace 1 --url https://1.1.1.1/", "webhooks.endpoints.create"),
        ("webhooks rotate {endpoint}", "webhooks.endpoints.rotate"),
    ],
)
def test_ctrl_c_once_a_secret_is_made_prints_it_all_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: str, function: str
) -> None:
    made = run("webhooks", "create", "--workspace", "1", "--url", "https://1.1.1.1/", "--json")
    arguments = arguments.format(endpoint=json.loads(made.out)["id"])
    module, _, name = f"worker.{function}".rpartition(".")
    before = getattr(import_module(module), name)

    def interrupt(*given: Any, **options: Any) -> Any:
        made = before(*given, **options)
        signal.raise_signal(signal.SIGINT)
        return made

    monkeypatch.setattr(f"{module}.{name}", interrupt)
    done = run(*arguments.split())
    assert done.code == 130
    assert re.fullmatch(r"(pw|whsec)_\S+\n", done.out)


@pytest.mark.processes
def test_ctrl_c_is_130_and_keeps_what_was_accepted(here: Pipeline) -> None:
    arguments = ["enqueue", str(here.video()), "--wait", "60"]
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        accepted = "SELECT count(*) FROM publisher.publish_command"
        wait_until(lambda: here.value(accepted) == 1, "the command to be accepted", START_SECONDS)
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=START_SECONDS)
    assert (process.returncode, "Traceback" in said) == (130, False)
    assert str(here.value("SELECT id FROM publisher.publish_command")) in printed
