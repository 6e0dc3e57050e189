"""`publish-worker env` and `config`: the settings for other programs, and for people."""

import json
import subprocess

import pytest

from tests.support.command_line import Run
from worker.runtime.settings import UpSettings

AWKWARD = "postgresql://u:it's%20$HOME`x`@localhost/d"


@pytest.mark.parametrize("name", ["DATABASE_URL", "BROKER_URL"])
def test_a_shell_reads_the_exports_as_they_were_set(run: Run, name: str) -> None:
    urls = {"DATABASE_URL": "postgresql://u@localhost/d", "REDIS_URL": "redis://localhost/0"}
    done = run("env", **urls | {name: AWKWARD})
    assert done.code == 0
    shell = subprocess.run(
        ["/bin/sh", "-c", 'eval "$1"; printf %s "$' + name + '"', "sh", done.out],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout == AWKWARD


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("fish", r"set -gx DATABASE_URL 'postgresql://u:it\'s%20$HOME`x`@localhost/d'"),
        ("powershell", "$env:DATABASE_URL = 'postgresql://u:it''s%20$HOME`x`@localhost/d'"),
    ],
)
def test_other_shells_have_their_own_quotes(run: Run, shell: str, line: str) -> None:
    assert line in run("env", "--shell", shell, DATABASE_URL=AWKWARD).out.splitlines()


def test_without_settings_and_engines_nothing_is_exported(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    done = run("env", DATA_DIR=str(tmp_path))
    assert (done.code, done.out) == (1, "")
    assert "Start `publish-worker up`" in done.complaint


def test_config_has_every_setting_with_what_it_may_be(run: Run) -> None:
    found = {
        each["name"]: each for each in map(json.loads, run("config", "--json").out.splitlines())
    }
    assert found.keys() == {name.upper() for name in UpSettings.model_fields}
    assert found["LOG_LEVEL"]["type"] == "DEBUG, INFO, WARNING or ERROR"
    assert found["PUBLISH_WAIT_SECONDS"]["type"] == "a whole number, 0 to 60"
    assert found["REDIS_URL"]["default"] is None


def test_config_shows_what_a_setting_is_and_what_sets_it(run: Run) -> None:
    done = run(
        "config",
        "--resolved",
        "--json",
        DATABASE_URL="postgresql://u:secret@localhost/d",
        LOG_LEVEL="info",
        PUBLISH_WORKER_LOG_LEVEL="error",
        OIDC_CLIENT_SECRET="secret",  # noqa: S106
        LOG_FORMT="json",
    )
    found = {each["name"]: each for each in map(json.loads, done.out.splitlines())}
    assert found["DATABASE_URL"]["value"] == "postgresql://u:***@localhost/d"
    assert found["OIDC_CLIENT_SECRET"]["value"] == "***"
    assert found["LOG_LEVEL"]["source"] == "PUBLISH_WORKER_LOG_LEVEL"
    assert found["OUTLETS"] == {"name": "OUTLETS", "value": "stream", "source": "default"}
    assert "LOG_FORMT is set, and nothing reads it: use LOG_FORMAT." in done.complaint
