"""The benchmark's report: tables, charts and ratios from numbers."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from bench import tables
from bench.contest import Outcome
from bench.growth import Drain, Growth
from bench.throughput import Result, Throughput

KINDS = {"worker": 100.0, "postgres": 80.0, "producer": 20.0, "valkey": 10.0, "all": 210.0}
RUN = Outcome(published=1_000, seconds=0.5, cpu=KINDS, wal=3_500, wal_records=3_000)


def result(name: str, *runs: Outcome, missing: bool = False) -> Result:
    return Result(
        contender=name,
        title=f"title of {name}",
        same_work=name != "noop",
        videos=1_000,
        runs=list(runs),
        missing=missing,
    )


def measured() -> Throughput:
    slow = replace(RUN, seconds=5)
    listed = (
        result("this-project", RUN, RUN),
        result("limit", replace(RUN, seconds=0.4)),
        result("pgqueuer", slow),
        result("dramatiq", replace(slow, seconds=2), replace(slow, failure="1 event too many")),
        result("awa", missing=True),
        result("textbook", replace(slow, seconds=10)),
        result("noop", replace(slow, seconds=1)),
    )
    return Throughput(results={each.contender: each for each in listed})


def test_a_contender_with_one_wrong_run_has_no_figure() -> None:
    dramatiq = measured().results["dramatiq"]
    assert dramatiq.rate is None
    assert "1 event too many" in tables.throughput_tables(measured())


def test_a_missing_package_is_reported() -> None:
    assert "| title of awa | not installed |" in tables.throughput_tables(measured())


def test_ratios_compare_medians_and_the_best_is_one_with_a_figure() -> None:
    assert measured().best == "pgqueuer"
    assert measured().ratio("pgqueuer") == 10
    assert measured().ratio("textbook") == 20
    assert measured().ratio("limit") == 0.8
    assert measured().ratio("awa") is None


def test_charts_are_svg_with_each_counted_contender(tmp_path: Path) -> None:
    for file in tables.throughput_charts(measured(), tmp_path):
        text = file.read_text()
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - ours
        assert "prefers-color-scheme: dark" in text
        assert "title of pgqueuer" in text
        assert "title of dramatiq" not in text


def test_growth_is_compared_at_equal_sizes() -> None:
    def drain(videos: int, commands: int, rate: float) -> Drain:
        return Drain(videos=videos, commands=commands, rate=rate, enqueue_rate=1, cpu=1)

    growth = Growth(drains=[drain(20, 1, 100), drain(800, 1, 90), drain(800, 30, 81)])
    assert growth.by_videos == 0.9
    assert growth.by_backlog == 0.9
    assert "| 800 | 30 | 81 | 0.81 |" in tables.growth_table(growth)
