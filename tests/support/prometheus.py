"""A real Prometheus, and what its tool says of rules and metrics."""

import shutil
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.compose import ROOT
from tests.support.free_port import free_port
from tests.support.waiting import PATIENCE, wait_until

FILES = ROOT / "observability"
SCRAPE = "1s"
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus is not installed",
)


def promtool(*arguments: str, text: str | None = None) -> str:
    """Run promtool among our files; return what it said. It fails on an error or a warning."""
    done = subprocess.run(
        ["promtool", *arguments], cwd=FILES, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def read_samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples of a scrape, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value_of(text: str, name: str, **labels: str) -> float | None:
    """A sample of ours in a scrape; None: it is absent."""
    return read_samples(text).get((f"publish_worker_{name}", frozenset(labels.items())))


def alert_names() -> set[str]:
    """Every alert of ours."""
    document = yaml.safe_load((FILES / "alerts.yml").read_text())
    return {rule["alert"] for rule in document["groups"][0]["rules"]}


SHORTER = {"> 30": "> 3", "> 120": "> 3", "> 240": "> 70", "[5m]": "[20s]"}


def hurry(rules: str) -> str:
    """The alerts with seconds in place of their times; the canary comes once a minute."""
    document = yaml.safe_load(rules)
    for rule in document["groups"][0]["rules"]:
        for text, shorter in SHORTER.items():
            rule["expr"] = rule["expr"].replace(text, shorter)
        if "for" in rule:
            rule["for"] = "2s"
    return yaml.safe_dump(document)


class Prometheus:
    """A server that scrapes what it is told to."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=PATIENCE)

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and the value of each series that an expression has now."""
        answer = self.client.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def value(self, expression: str) -> float | None:
        """The value of an expression with one series; None: it has none yet."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def alerts(self, state: str = "") -> set[str]:
        """The alerts that are pending or firing, or in one of these states."""
        found = self.client.get("/api/v1/alerts").json()["data"]["alerts"]
        return {each["labels"]["alertname"] for each in found if state in ("", each["state"])}

    def has_evaluated(self) -> bool:
        """Whether each rule has been evaluated, without an error."""
        groups = self.client.get("/api/v1/rules").json()["data"]["groups"]
        return all(rule["health"] == "ok" for group in groups for rule in group["rules"])

    def targets(self) -> dict[str, str]:
        """The health of each job's target: `up`, `down` or `unknown`."""
        found = self.client.get("/api/v1/targets").json()["data"]["activeTargets"]
        return {each["labels"]["job"]: each["health"] for each in found}


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, int]) -> Generator[Prometheus]:
    """Run Prometheus with our alerts on these jobs and ports, until the block ends."""
    config = {
        "global": {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for job, port in targets.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "alerts.yml").write_text(hurry((FILES / "alerts.yml").read_text()))
    url = f"http://127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={url.removeprefix('http://')}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Prometheus(url)
    try:
        wait_until(lambda: is_ready(server) or process.poll() is not None, "Prometheus", 60)
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        yield server
    finally:
        server.client.close()
        process.terminate()
        process.wait(PATIENCE)


def is_ready(server: Prometheus) -> bool:
    """Whether it serves."""
    try:
        return server.client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
