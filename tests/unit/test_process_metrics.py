"""The metrics of a process: many values at once, and one sum over processes that share a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from tests.support.compose import ROOT
from tests.support.free_port import free_port
from worker.runtime.metrics import LATENESS, BulkHistogram

FORKS = """
import os, sys
from prometheus_client import generate_latest
from worker.runtime.metrics import get_metrics, make_registry, name_process, prepare_metrics

prepare_metrics(needs_directory=True)
for place in (0, 1, 1):  # the third one replaces the second
    if os.fork() == 0:
        name_process(f"pool-{place}")
        get_metrics().batch_commands.observe_many([3.0] * 10)
        os._exit(0)
    os.wait()
get_metrics().quarantined.inc()
sys.stdout.write(generate_latest(make_registry()).decode())
files = os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"])
sys.stderr.write(str(len([each for each in files if each.endswith(".db")])))
"""
ENDS_IN_TURN = """
import os, sys
from prometheus_client import generate_latest
from worker.runtime.metrics import get_metrics, make_registry, prepare_metrics

prepare_metrics(role="api")
get_metrics().quarantined.inc()
sys.stdout.write(generate_latest(make_registry()).decode())
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""
LEAVES = """
import os, sys
from worker.runtime.metrics import prepare_metrics
prepare_metrics(needs_directory=True)
sys.stdout.write(os.environ["PROMETHEUS_MULTIPROC_DIR"])
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""
SERVES = """
import os
from urllib.request import urlopen
from worker.runtime.metrics_server import MetricsServer
server = MetricsServer()
server.start(os.environ["ADDRESS"])
server.drop_inherited()  # as Celery's signal of a pool process does, which `-P solo` sends too
print(urlopen(f"http://{os.environ['ADDRESS']}/metrics").read().decode())
"""
IMPORTS = """
import os, sys, worker.enqueue, worker.subscribe, worker.app
from prometheus_client import REGISTRY, generate_latest
assert b"publish_worker" not in generate_latest(REGISTRY)
print(os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
"""


def run_python(
    code: str, *, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if "MULTIPROC" not in name}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=check,
    )


@settings(max_examples=30)
@given(st.lists(st.floats(min_value=0, max_value=2_000) | st.sampled_from(LATENESS)))
def test_many_values_at_once_count_as_one_by_one(amounts: list[float]) -> None:
    one, many = CollectorRegistry(), CollectorRegistry()
    single = Histogram("h", "Single.", buckets=LATENESS, registry=one)
    bulk = BulkHistogram("h", "Bulk.", buckets=LATENESS, registry=many)
    for amount in amounts:
        single.observe(amount)
    bulk.observe_many(amounts)
    for bound in [*map(float, LATENESS), float("inf")]:
        labels = {"le": "+Inf" if bound == float("inf") else str(bound)}
        of_one, of_many = (each.get_sample_value("h_bucket", labels) for each in (one, many))
        assert of_one == of_many
    assert many.get_sample_value("h_sum") == pytest.approx(sum(amounts))


@pytest.mark.processes
def test_processes_are_added_up_and_one_that_replaces_another_adds_no_file() -> None:
    done = run_python(FORKS)
    assert "publish_worker_batch_commands_count 30.0" in done.stdout
    assert "publish_worker_batch_commands_sum 90.0" in done.stdout
    assert "publish_worker_messages_quarantined_total 1.0" in done.stdout
    assert int(done.stderr) == 3 * 2  # the main process and two places: counters and histograms


@pytest.mark.processes
def test_an_api_process_that_replaces_one_that_was_killed_continues_its_files(
    tmp_path: Path,
) -> None:
    for number in (1, 2, 3):
        environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        done = run_python(ENDS_IN_TURN, check=False, **environment)
        assert f"publish_worker_messages_quarantined_total {number}.0" in done.stdout
    assert len([*tmp_path.glob("*.db")]) == 2


@pytest.mark.processes
def test_a_directory_that_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    left = Path(run_python(LEAVES, check=False, TMPDIR=str(tmp_path)).stdout)
    assert left.parent == tmp_path
    os.utime(left, (0, 0))
    run_python(LEAVES.replace("os.kill", "os.getpid() or os.kill"), TMPDIR=str(tmp_path))
    assert not [*tmp_path.iterdir()], "the second one has removed its own at its end"


@pytest.mark.processes
def test_a_worker_without_a_pool_of_processes_goes_on_to_serve_its_metrics() -> None:
    url = f"127.0.0.1:{free_port()}"
    served = run_python(SERVES, ADDRESS=url)
    assert "publish_worker_sweeps" in served.stdout


@pytest.mark.processes
def test_importing_makes_no_metric_in_another_programs_process(tmp_path: Path) -> None:
    assert run_python(IMPORTS, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)).stdout == "[]\n"
