"""The benchmark's plan, tables, charts and page, from numbers."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from bench import __main__ as command
from bench import charts, growth, page, report, throughput, throughput_report
from bench.charts import Bar, Chart
from bench.contest import Outcome
from bench.growth import Drain, Growth
from bench.part import Part, Size, Work
from bench.plan import PARTS
from bench.progress import Progress
from bench.report import Report, Table
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


def rates() -> str:
    return report.to_markdown(throughput_report.throughput_tables(measured())[0])


def test_a_contender_with_one_wrong_run_has_no_figure() -> None:
    dramatiq = measured().results["dramatiq"]
    assert dramatiq.rate is None
    assert measured().failures == ["title of dramatiq: 1 event too many"]
    assert "| title of dramatiq | does not count |" in rates()


def test_a_missing_package_is_reported() -> None:
    assert "| title of awa | not installed |" in rates()


def test_ratios_compare_medians_and_the_best_is_one_with_a_figure() -> None:
    assert measured().best == "pgqueuer"
    assert measured().ratio("pgqueuer") == 10
    assert measured().ratio("textbook") == 20
    assert measured().ratio("limit") == 0.8
    assert measured().ratio("awa") is None


def test_charts_are_svg_with_each_counted_contender() -> None:
    for chart in throughput_report.throughput_charts(measured()).values():
        text = charts.to_svg(chart)
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - ours
        assert "prefers-color-scheme: dark" in text
        assert "title of pgqueuer" in text
        assert "title of dramatiq" not in text
        assert chart.axis in text


@pytest.mark.parametrize(
    ("longest", "numbers"),
    [(4_700, "0 1,000 2,000 3,000 4,000"), (90, "0 20 40 60 80"), (1_250, "0 500 1,000")],
)
def test_the_axis_of_a_chart_has_round_numbers(longest: float, numbers: str) -> None:
    bar = Bar(label="one", parts=[longest], figure="")
    drawn = charts.to_svg(Chart(title="title", units="", axis="a second", bars=[bar]))
    texts = [each.text for each in ET.fromstring(drawn).iter() if each.tag.endswith("text")]  # noqa: S314 - ours
    assert " ".join(filter(None, texts)).startswith(f"title {numbers} a second one")


def test_growth_is_compared_at_equal_sizes() -> None:
    def drain(videos: int, commands: int, rate: float) -> Drain:
        return Drain(videos=videos, commands=commands, rate=rate, enqueue_rate=1, cpu=1)

    drains = Growth(drains=[drain(20, 1, 100), drain(800, 1, 90), drain(800, 30, 81)])
    assert drains.by_videos == 0.9
    assert drains.by_backlog == 0.9
    assert "| 800 | 30 | 81 | 0.81 |" in report.to_markdown(growth.growth_table(drains))


def test_plan_is_about_twenty_minutes_and_about_two() -> None:
    assert sum(part.whole for part in PARTS.values()) <= 21 * 60
    assert sum(part.quick for part in PARTS.values()) <= 2.5 * 60


def test_goals_have_a_verdict_and_the_spread_of_paired_runs() -> None:
    goals = report.to_markdown(report.goals_table(throughput.goals(measured())))
    assert "| … beside our SQL without Python | 0.80-fold | 1 run | ≥ 0.7-fold | yes |" in goals
    assert "| CPU per publish | 210 µs | 210 to 210, 2 runs | ≤ 130 µs | **no** |" in goals


def test_a_part_that_fails_is_named_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Report:
        raise ValueError("no videos")

    def succeed(*_: object) -> Report:
        return Report(numbers=1, failures=["PgQueuer: 1 event too many"])

    parts = {"first": Part(fail, "", 1, 1, 1), "second": Part(succeed, "", 1, 1, 1)}
    monkeypatch.setattr(command, "PARTS", parts)
    results = command.Results(conditions=Table(title="", head=(), rows=()), numbers={})
    work = Work(size=Size.QUICK, runs=1, contenders=(), progress=Progress(Console(quiet=True)))
    for name in parts:
        command.run_part(name, Mock(), work, results)
    assert results.failures == [
        "first: ValueError: no videos",
        "second: PgQueuer: 1 event too many",
    ]
    assert results.numbers == {"second": 1}
    assert command.exit_code(results, Size.QUICK) == 2


def test_the_figures_of_a_page_are_replaced_between_its_markers() -> None:
    before = f"# Title\n\n{page.BEGIN}\nold\n{page.END}\n\nThe end.\n"
    after = page.replace_section(before, "new\n")
    assert after == f"# Title\n\n{page.BEGIN}\n\nnew\n\n{page.END}\n\nThe end.\n"
    assert page.replace_section(after, "new\n") == after
    with pytest.raises(ValueError, match="the page does not have the markers"):
        page.replace_section("# Title", "new")


def test_the_page_of_benchmarks_has_the_markers() -> None:
    text = Path(command.__file__).parents[1].joinpath("docs/benchmarks.md").read_text()
    assert page.replace_section(text, "")
