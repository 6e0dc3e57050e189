"""publish-worker-client alone, in an empty environment, beside Django and a foreign Celery app."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.pipeline import Pipeline
from tests.support.processes import ROOT

INSTALL_SECONDS = 300
PROGRAM = """
import importlib.util, os, sys

import django
from celery import Celery
from django.conf import settings
from django.db import connection, transaction

foreign = Celery("platform", broker=os.environ["REDIS_URL"])
host, port, name = (os.environ[key] for key in ("PGHOST", "PGPORT", "PGDATABASE"))
engine = {"ENGINE": "django.db.backends.postgresql", "HOST": host, "PORT": port, "NAME": name}
engine |= {"USER": os.environ["PGUSER"], "PASSWORD": os.environ["PGPASSWORD"]}
settings.configure(DATABASES={"default": engine}, USE_TZ=True)
django.setup()
before = set(sys.modules)

from publish_worker_client import Publisher, Subscriber, UnknownVideo

kept, undone = map(int, sys.argv[1:])
with transaction.atomic():
    print("kept", Publisher(connection).publish(kept))
try:
    with transaction.atomic():
        Publisher(connection).publish(undone)
        Publisher(connection).publish(999_999)
except UnknownVideo as refusal:
    print("refused", refusal)

added = {module.partition(".")[0] for module in set(sys.modules) - before}
print("ours", sorted(name for name in ("worker", "db", "schemas", "fastapi")
                     if importlib.util.find_spec(name)))
print("celery", {"kombu", "celery"} & added, foreign.main)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the client's wheel, Django and Celery."""
    folder = tmp_path_factory.mktemp("client")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    left = shutil.ignore_patterns("*.egg-info", "build")  # a build leaves them in its folder
    source = shutil.copytree(ROOT / "clients" / "python", folder / "source", ignore=left)
    subprocess.run([*build, "-w", folder, source], check=True)
    venv.create(folder / "venv", with_pip=True)
    found = folder / "venv" / "bin" / "python"
    wheels = list(folder.glob("*.whl"))
    install = [found, "-m", "pip", "install", "-q", *wheels, "django", "celery[redis]"]
    subprocess.run(install, check=True, timeout=INSTALL_SECONDS)
    return found


@pytest.mark.slow
@pytest.mark.processes
def test_it_works_beside_django_and_a_foreign_celery_app(
    python: Path, pipeline: Pipeline, redis_url: str, tmp_path: Path
) -> None:
    kept, undone = pipeline.video(), pipeline.video()
    url = pipeline.engine.url
    place = {"PGHOST": url.host or url.query["host"], "PGPORT": url.port or 5432}
    login = {"PGUSER": url.username, "PGPASSWORD": url.password or "", "PGDATABASE": url.database}
    environment = {name: str(value) for name, value in (place | login).items()}
    done = subprocess.run(
        [python, "-c", PROGRAM, str(kept), str(undone)],
        cwd=tmp_path,
        env=environment | {"REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert "999999" in said["refused"]
    assert said["ours"] == "[]"
    assert said["celery"] == "set() platform"
    [command_id] = pipeline.rows("SELECT id, video_id FROM publisher.publish_command")
    assert (str(command_id[0]), command_id[1]) == (said["kept"], kept)
