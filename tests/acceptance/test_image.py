"""The image is built from the Dockerfile, and each service of docker-compose.yml runs as the file
says: its command, user, variables, volumes, limits of rights and health check.
"""

from collections.abc import Generator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.compose import SERVICES, order_of_start
from tests.support.composed import Composed, composed
from tests.support.image import NEEDS_BUILDAH, built, config_of
from tests.support.programs import program_folder
from tests.support.waiting import PATIENCE, WAIT, wait_until

pytestmark = [pytest.mark.slow, NEEDS_BUILDAH]

VARIABLES = {
    name: f"{name.lower().replace('_', '')}1"
    for name in ("POSTGRES_PASSWORD", "MIGRATE_PASSWORD", "WORKER_PASSWORD", "VALKEY_PASSWORD")
}
"""`.env`, with what .env.example asks for."""
VIDEO = 7


@pytest.fixture(scope="module")
def folder() -> Generator[Path]:
    """Volumes and logs."""
    with program_folder() as path:
        yield path


@pytest.fixture(scope="module")
def image(folder: Path) -> Generator[str]:
    """The image."""
    with built(folder) as tag:
        yield tag


@pytest.fixture(scope="module")
def host(folder: Path, image: str) -> Generator[Composed]:
    """Every service, as `docker compose up` runs them with both profiles."""
    with composed(folder, image, VARIABLES) as started:
        for service in order_of_start():
            if "stop_grace_period" in SERVICES[service]:
                started.start(service)
                started.wait_until_healthy(service)
            else:
                done = started.run(service)
                assert done.returncode == 0, f"{service}: {done.stdout}{done.stderr}"
        yield started


@pytest.fixture(scope="module")
def client(host: Composed) -> Generator[httpx.Client]:
    """The API with a key that is made as docker-compose.yml says."""
    create = ("keys", "create", "--all-workspaces", "--scope", "admin", "--name", "me")
    made = host.run("migrate", "publish-worker", *create)
    assert made.returncode == 0, made.stderr
    key = next(word for word in made.stdout.split() if word.startswith("pw_"))
    address = f"http://{host.network.addresses['api']}:8000"
    with httpx.Client(
        base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=2 * PATIENCE
    ) as opened:
        yield opened


def publish(client: httpx.Client) -> None:
    """Publish the video, unless another test has."""
    answer = client.post(f"/api/v1/videos/{VIDEO}/publish/", headers=WAIT)
    assert answer.status_code == 200, answer.text
    assert answer.json()["is_draft"] is False


def test_a_video_is_published_over_http(client: httpx.Client) -> None:
    publish(client)


def wait_until_ready(client: httpx.Client) -> None:
    """Wait for every part: beat shares the worker's health check, which may be green before it."""

    def not_ready() -> list[str]:
        checks = client.get("/readyz").json()["checks"]
        return [f"{each['name']}: {each['detail']}" for each in checks if not each["ok"]]

    wait_until(lambda: not not_ready(), "every check to be green", 90)


def test_every_part_is_ready(client: httpx.Client) -> None:
    wait_until_ready(client)


def test_the_pages_have_their_files(client: httpx.Client) -> None:
    for path in ("/console/", "/docs"):
        page = client.get(path, follow_redirects=True)
        assert page.status_code == 200, page.text
        files = [part.split('"')[0] for part in page.text.split('="/')[1:] if "static" in part]
        assert files, path
        assert {client.get(f"/{file}").status_code for file in files} == {200}


@pytest.mark.parametrize("service", ["api", "worker", "beat"])
def test_the_processes_may_do_nothing_else_on_their_host(host: Composed, service: str) -> None:
    process = host.process(service)
    status = Path(f"/proc/{process.pid}/status").read_text().split("\n")
    facts = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    assert set(facts["Uid"].split()) | set(facts["Gid"].split()) == {"10001"}
    assert {facts[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert facts["NoNewPrivs"] == "1"


@pytest.mark.parametrize("place", ["/srv", "/opt/venv", "/var/lib", "/etc"])
def test_nothing_can_be_written_outside_of_tmp(host: Composed, place: str) -> None:
    assert host.run("worker", "sh", "-c", f": > {place}/file").returncode != 0
    assert host.run("worker", "sh", "-c", ": > /tmp/file").returncode == 0


def test_the_image_contains_neither_tools_nor_what_the_build_was_told(
    host: Composed, image: str
) -> None:
    assert config_of(image)["User"] == "10001:10001"
    assert not any("PIP" in variable for variable in config_of(image)["Env"])
    assert host.run("worker", "python", "-c", "import pip").returncode != 0
    assert host.run("worker", "cat", "/etc/pip.conf").stdout == ""
    assert host.run("worker", "find", "/opt/venv/bin", "-name", "pip*").stdout == ""


def test_prometheus_finds_each_of_them_by_its_name(host: Composed) -> None:
    address = f"http://{host.network.addresses['prometheus']}:9090"

    def health() -> dict[str, str]:
        targets = httpx.get(f"{address}/api/v1/targets", timeout=PATIENCE).json()["data"][
            "activeTargets"
        ]
        return {each["labels"]["job"]: each["health"] for each in targets}

    jobs = ("api", "worker", "beat")
    wait_until(lambda: health() == {f"publish-worker-{job}": "up" for job in jobs}, "targets", 90)


def test_a_second_up_changes_nothing(host: Composed, client: httpx.Client) -> None:
    publish(client)
    for service in ("roles", "platform", "migrate", "rights"):
        assert host.run(service).returncode == 0, service
    assert client.get(f"/api/v1/videos/{VIDEO}/").json()["is_draft"] is False


def test_without_beat_the_heartbeat_is_red_and_after_it_green(
    host: Composed, client: httpx.Client
) -> None:
    wait_until_ready(client)
    assert host.stop("beat") == 0
    wait_until(lambda: host.check("worker").returncode == 1, "the worker to be unhealthy", 60)
    assert host.check("api").returncode == 0
    host.start("beat")
    host.wait_until_healthy("beat")
    assert host.check("worker").returncode == 0


def test_each_ends_in_order_within_its_grace_period(host: Composed, client: httpx.Client) -> None:
    wait_until_ready(client)
    for service in [name for name in reversed(order_of_start()) if name in host.running]:
        first = host.process(service)
        family = [first, *first.children(recursive=True)]
        code, log = host.stop(service), host.log(service)
        # uvicorn sends the signal to itself again when it has finished.
        finished = "Application shutdown complete" in log and "exited on terminated" in log
        assert code == 0 or finished, f"{service}: {code}: {log[-2000:]}"
        assert psutil.wait_procs(family, PATIENCE)[1] == []
