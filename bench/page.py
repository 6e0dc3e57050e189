"""The results as a section of a Markdown page, between two markers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.charts import Chart, to_svg
from bench.report import Table, to_markdown

BEGIN = "<!-- Written by `make bench`: begin -->"
END = "<!-- Written by `make bench`: end -->"


def to_section(
    tables: Sequence[Table],
    conditions: Table,
    charts: Mapping[str, Chart],
    failures: Sequence[str],
    folder: str,
) -> str:
    """Write goals, failures, charts, conditions, then the other tables."""
    goals, *others = tables
    parts = [to_markdown(goals)]
    if failures:
        parts.append("Failed:\n\n" + "\n".join(f"- {failure}" for failure in failures) + "\n")
    parts += [f"![{chart.title}]({folder}/{name}.svg)\n" for name, chart in charts.items()]
    parts += [to_markdown(table) for table in (*others, conditions)]
    return "\n".join(parts)


def replace_section(text: str, section: str) -> str:
    """Return the page with this section between its markers. Raises ValueError without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page does not have the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{section}\n{END}{after}"


def write_charts(folder: Path, charts: Mapping[str, Chart]) -> None:
    """Write each chart into a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, chart in charts.items():
        (folder / f"{name}.svg").write_text(to_svg(chart))
