"""The tables and charts of the throughput."""

from bench import throughput
from bench.charts import Bar, Chart
from bench.contenders import LIMIT, OURS
from bench.part import Work
from bench.report import Report, Table, spread
from bench.setup import Setup
from bench.throughput import Result, Throughput

KINDS = ("worker", "postgres", "producer", "valkey", "beat")
KIND_TITLES = ("workers", "PostgreSQL", "producer", "Valkey", "beat")
OURS_COLOUR, PEER_COLOUR, REFERENCE_COLOUR = 0, 1, 4


def part(setup: Setup, work: Work) -> Report:
    """Measure as a part of `make bench`."""
    videos = work.choose(quick=2_000, whole=20_000)
    result = throughput.measure(
        setup, work.progress, runs=work.runs, videos=videos, names=work.contenders
    )
    return Report(
        goals=throughput.goals(result),
        tables=throughput_tables(result),
        charts=throughput_charts(result),
        numbers=result.to_json(),
        failures=result.failures,
    )


def throughput_tables(measured: Throughput) -> list[Table]:
    """Rates with ratios, CPU time by kind of process, and what the database does."""
    results = _by_rate(measured)
    counted = [each for each in results if not each.failure]
    mine = measured.results[OURS].rate if OURS in measured.results else None
    rates = Table(
        title="Throughput",
        note="From the first enqueue to the last event on the stream.",
        head=("contender", "publishes a second", "spread", "videos", "ours over it"),
        rows=[
            (_title(each), _rate(each), _spread(each), f"{each.videos:,}", _ratio(mine, each))
            for each in results
        ],
    )
    cpu = Table(
        title="CPU time per publish, µs",
        head=("contender", *KIND_TITLES, "all"),
        rows=[
            (_title(each), *(_number(each.of_kind("cpu", kind)) for kind in (*KINDS, "all")))
            for each in counted
        ],
    )
    rows = Table(
        title="Database and memory",
        note="Per publish; memory is that of the largest process, in MiB.",
        head=(
            *("contender", "WAL, bytes", "without page images", "commits", "dead rows"),
            *("HOT updates", "worker, MiB", "producer, MiB"),
        ),
        rows=[
            (
                _title(each),
                _number(each.cost("wal")),
                _number(each.cost("wal_records")),
                _number(each.cost("commits"), 2),
                _number(each.cost("dead_rows"), 2),
                _number(each.cost("hot_updates"), 2),
                _number(each.of_kind("peak_mib", "worker")),
                _number(each.of_kind("peak_mib", "producer")),
            )
            for each in counted
        ],
    )
    return [rates, cpu, rows]


def throughput_charts(measured: Throughput) -> dict[str, Chart]:
    """The rates and the CPU time, by the name of the file."""
    counted = [each for each in _by_rate(measured) if each.rate]
    rates = Chart(
        title="Publishes a second, in bulk",
        units="From the first enqueue to the last event; median and spread. Longer is better.",
        axis="publishes a second",
        bars=[
            Bar(
                label=each.title,
                note="" if each.same_work else "not the same work",
                parts=[each.rate or 0],
                figure=f"{each.rate or 0:,.0f}",
                spread=(min(each.rates), max(each.rates)) if len(each.rates) > 1 else None,
                colour=_colour(each),
                strong=each.contender == OURS,
            )
            for each in counted
        ],
    )
    cpu = Chart(
        title="CPU time per publish",
        units="In all processes and engines. Shorter is better.",
        axis="microseconds of CPU per publish",
        legend=KIND_TITLES,
        bars=[
            Bar(
                label=each.title,
                note="" if each.same_work else "not the same work",
                parts=[each.of_kind("cpu", kind) or 0 for kind in KINDS],
                figure=_number(each.of_kind("cpu", "all")),
                strong=each.contender == OURS,
            )
            for each in sorted(counted, key=lambda each: each.of_kind("cpu", "all") or 0)
        ],
    )
    return {"throughput": rates, "cpu-per-publish": cpu}


def _by_rate(measured: Throughput) -> list[Result]:
    """The fastest first; the last are those without a figure."""
    return sorted(measured.results.values(), key=lambda each: -(each.rate or 0))


def _colour(result: Result) -> int:
    if result.contender.startswith(OURS):
        return OURS_COLOUR
    return REFERENCE_COLOUR if result.contender == LIMIT or not result.same_work else PEER_COLOUR


def _title(result: Result) -> str:
    title = result.title if result.same_work else f"{result.title} (not the same work)"
    return f"**{title}**" if result.contender == OURS else title


def _rate(result: Result) -> str:
    if result.failure:
        return "not installed" if result.missing else "does not count"
    return f"{result.rate:,.0f}"


def _spread(result: Result) -> str:
    return "" if result.failure else spread(result.rates)


def _ratio(mine: float | None, other: Result) -> str:
    if other.contender == OURS or not mine or not other.rate:
        return ""
    ratio = mine / other.rate
    return f"{ratio:.2f}-fold" if ratio < 10 else f"{ratio:.1f}-fold"


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
