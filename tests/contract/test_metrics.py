"""Metrics, alerts, dashboard, docs/monitoring.md and docs/alerts.md agree; promtool takes them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.api import Api
from tests.support.compose import ROOT
from tests.support.prometheus import FILES, needs_prometheus, promtool

MONITORING = (ROOT / "docs" / "monitoring.md").read_text()
ADVICE = (ROOT / "docs" / "alerts.md").read_text()
RULES: Any = yaml.safe_load((FILES / "alerts.yml").read_text())["groups"][0]["rules"]
RULE_TESTS: Any = yaml.safe_load((FILES / "alerts.test.yml").read_text())["tests"]
DASHBOARD: Any = json.loads((FILES / "grafana/dashboards/publish-worker.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [
    *(rule["expr"] for rule in RULES),
    *(target["expr"] for panel in PANELS for target in panel["targets"]),
]
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \|", re.MULTILINE)
PARTS = ("_bucket", "_sum", "_count")
"""What a histogram's name ends with in an expression."""


@pytest.fixture
def scraped(api: Api) -> str:
    """A scrape of an API that has answered a request before."""
    api.get("/events")
    return api.call("GET", "/metrics", None).text


def families(text: str) -> dict[str, tuple[str, set[str]]]:
    """The kind and the labels of each metric in a scrape; no label if it has no sample."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("publish_worker_") and not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name.removeprefix("publish_worker_")] = (family.type, labels)
    return found


def test_the_page_lists_every_metric_with_its_kind_and_labels(scraped: str) -> None:
    listed = {name: (kind, labels) for name, kind, labels in ROW.findall(MONITORING)}
    found = families(scraped)
    assert listed.keys() == found.keys()
    for name, (kind, labels) in found.items():
        assert listed[name][0] == kind, name
        assert not labels or set(re.findall(r"`(\w+)`", listed[name][1])) == labels, name


def test_every_metric_of_an_alert_or_the_dashboard_exists(scraped: str) -> None:
    named = {name for text in EXPRESSIONS for name in re.findall(r"publish_worker_(\w+)", text)}
    known = families(scraped).keys()
    ended = {name + part for name in known for part in PARTS}
    assert named
    assert named - known - ended == set()


def test_the_dashboard_shows_every_metric(scraped: str) -> None:
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    assert {name for name in families(scraped) if f"publish_worker_{name}" not in shown} == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_the_page_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    said = rule["annotations"]
    assert said["summary"]
    assert said["description"].endswith(".")
    assert said["runbook_url"] == f"docs/alerts.md#{rule['alert'].lower()}"
    advice = re.search(rf"^## {rule['alert']}\n\n(.+)$", ADVICE, re.MULTILINE)
    assert advice
    assert len(advice[1]) > 40


def test_the_page_has_no_alert_that_does_not_exist() -> None:
    described = re.findall(r"^## (PublishWorker\w+)$", ADVICE, re.MULTILINE)
    assert described == [rule["alert"] for rule in RULES]


def test_every_alert_is_tested_to_fire_and_to_resolve() -> None:
    expected = {
        case["alertname"]: [bool(case["exp_alerts"]) for case in test["alert_rule_test"]]
        for test in RULE_TESTS
        for case in test["alert_rule_test"]
    }
    assert expected == {rule["alert"]: [True, False] for rule in RULES}


@needs_prometheus
def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "config", "prometheus.yml")


@needs_prometheus
def test_every_alert_fires_and_resolves_in_promtool() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")


def test_the_dashboard_reads_the_data_source_that_is_provisioned() -> None:
    provisioned = FILES / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioned / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    used = {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}
    assert used == {source["uid"]}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["description"] for panel in PANELS)


@needs_prometheus
def test_a_sweep_of_which_nothing_is_known_is_not_shown_as_decades_ago(tmp_path: Path) -> None:
    [panel] = [panel for panel in PANELS if panel["title"] == "Last sweep"]
    metric = "publish_worker_heartbeat_timestamp_seconds"
    cases = [
        {
            "interval": "1m",
            "input_series": [{"series": metric, "values": f"{left_at}x60"}],
            "promql_expr_test": [
                {
                    "expr": panel["targets"][0]["expr"],
                    "eval_time": "60m",
                    "exp_samples": [{"labels": "{}", "value": shown}],
                }
            ],
        }
        for left_at, shown in ((0, 60), (3_600 - 5, 5))
    ]
    (tmp_path / "panel.yml").write_text(yaml.safe_dump({"tests": cases}))
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "panel.yml"))
    [mapping] = panel["fieldConfig"]["defaults"]["mappings"]
    assert mapping["options"]["60"]["text"] == "over a minute"


def test_what_has_another_unit_than_its_panel_has_an_axis_of_its_own() -> None:
    [panel] = [panel for panel in PANELS if panel["title"] == "Webhook backlog"]
    assert "oldest due" in [target["legendFormat"] for target in panel["targets"]]
    [override] = panel["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byName", "options": "oldest due"}
    assert {"id": "unit", "value": "s"} in override["properties"]


def test_ci_installs_prometheus() -> None:
    assert "need prometheus prometheus\n" in (ROOT / ".ci" / "run").read_text()
