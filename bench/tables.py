"""The tables and charts of docs/benchmarks.md, from the numbers of a run."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

from bench import charts
from bench.charts import Bar, Chart
from bench.contenders import LIMIT, OURS
from bench.growth import Growth
from bench.throughput import Result, Throughput

KINDS = ("worker", "postgres", "producer", "valkey", "beat")
KIND_TITLES = ("workers", "PostgreSQL", "producer", "Valkey", "beat")
OURS_COLOUR, PEER_COLOUR, REFERENCE_COLOUR = 0, 1, 4


def throughput_tables(measured: Throughput) -> str:
    """Rates with ratios, CPU time by kind of process, and what the database does."""
    results = _by_rate(measured)
    mine = measured.results[OURS].rate if OURS in measured.results else None
    rates = _table(
        ("contender", "publishes a second", "spread", "we are"),
        ((_title(each), _rate(each), _spread(each), _ratio(mine, each)) for each in results),
    )
    cpu = _table(
        ("CPU time per publish, µs", *KIND_TITLES, "all"),
        (
            (_title(each), *(_number(each.of_kind("cpu", kind)) for kind in (*KINDS, "all")))
            for each in results
            if not each.failure
        ),
    )
    rows = _table(
        (
            *("per publish", "WAL, bytes", "… without page images", "commits", "dead rows"),
            *("HOT updates", "largest worker process", "producer"),
        ),
        (
            (
                _title(each),
                _number(each.cost("wal")),
                _number(each.cost("wal_records")),
                _number(each.cost("commits"), 2),
                _number(each.cost("dead_rows"), 2),
                _number(each.cost("hot_updates"), 2),
                _mib(each.of_kind("peak_mib", "worker")),
                _mib(each.of_kind("peak_mib", "producer")),
            )
            for each in results
            if not each.failure
        ),
    )
    return f"### Throughput\n\n{rates}\n### CPU time\n\n{cpu}\n### Database and memory\n\n{rows}"


def growth_table(measured: Growth) -> str:
    """The drain rate by backlog and by videos."""
    head = (
        "videos",
        "backlog",
        "publishes a second",
        "ratio to the first",
        "CPU, µs",
        "enqueued/s",
    )
    rows = _table(head, (_growth_row(measured, *size) for size in measured.sizes))
    return f"### Growth\n\n{rows}"


def _growth_row(measured: Growth, videos: int, commands: int) -> Sequence[str]:
    rate = measured.rate(videos=videos, commands=commands)
    first = measured.rate(videos=measured.smallest[0], commands=measured.smallest[1])
    drains = [
        each for each in measured.drains if (each.videos, each.commands) == (videos, commands)
    ]
    return (
        f"{videos:,}",
        f"{commands:,}",
        f"{rate:,.0f}",
        f"{rate / first:.2f}",
        f"{mean(each.cpu for each in drains):,.0f}",
        f"{mean(each.enqueue_rate for each in drains):,.0f}",
    )


def throughput_charts(measured: Throughput, folder: Path) -> list[Path]:
    """Write the charts of the rates and of the CPU time."""
    counted = [each for each in _by_rate(measured) if each.rate]
    rates = Chart(
        title="Publishes a second, in bulk",
        units="From the first enqueue to the last event; median and spread. Longer is better.",
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
        units="Microseconds in all processes and engines; shorter is better.",
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
    return [
        charts.write(folder, "throughput", rates),
        charts.write(folder, "cpu-per-publish", cpu),
    ]


def growth_chart(measured: Growth, folder: Path) -> Path:
    """Write the chart of the drain rates."""
    rates = {size: measured.rate(videos=size[0], commands=size[1]) for size in measured.sizes}
    chart = Chart(
        title="How fast a backlog drains",
        units="Publishes a second, by the size of the backlog and the number of videos.",
        bars=[
            Bar(
                label=f"{commands:,} commands",
                note=f"{videos:,} videos",
                parts=[rate],
                figure=f"{rate:,.0f}",
            )
            for (videos, commands), rate in rates.items()
        ],
    )
    return charts.write(folder, "growth", chart)


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
    if result.failure:
        return "" if result.missing else result.failure.splitlines()[0].replace("|", "/")
    low, high, runs = min(result.rates), max(result.rates), len(result.rates)
    return f"{low:,.0f} to {high:,.0f} in {runs} run{'s'[: runs > 1]} of {result.videos:,} videos"


def _ratio(mine: float | None, other: Result) -> str:
    if other.contender == OURS or not mine or not other.rate:
        return ""
    ratio = mine / other.rate
    return f"{ratio:.2f}-fold" if ratio < 10 else f"{ratio:.1f}-fold"


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _mib(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} MiB"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|---{'|---:' * (len(head) - 1)}|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
