"""Charts: SVG written by hand, readable on a light and on a dark page.

Colours are in a style sheet inside the file, which follows `prefers-color-scheme`; so one file
serves both, on its own and in an <img>.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import floor, log10

WIDTH = 760
LABEL = 250
"""Pixels for the names at the left."""
VALUE = 120
"""Pixels for the figures at the right."""
BAR = 20
ROW = 32
TOP = 66
BOTTOM = 58
"""Pixels for the numbers and the name of the axis."""
COLOURS = (
    *(("#2563a8", "#6ea8e6"), ("#8a94a0", "#7d8794"), ("#c2571a", "#f0945a")),
    *(("#2f7d4f", "#67c08b"), ("#7a4fa3", "#b690dd")),
)
"""Of the parts of a bar, on a light and on a dark page."""

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2933 }
  .title { font-size: 16px; font-weight: 600 }
  .quiet { fill: #5b6672; font-size: 12px }
  .strong { font-weight: 600 }
  .figure { paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
  .page { fill: #ffffff }
  .axis { stroke: #c9d1d9; stroke-width: 1 }
  .spread { stroke: #1f2933; stroke-width: 1.5 }
"""
DARK = """
    text { fill: #e6edf3 }
    .quiet { fill: #9aa5b1 }
    .page { fill: #0d1117 }
    .figure { stroke: #0d1117 }
    .axis { stroke: #3d444d }
    .spread { stroke: #e6edf3 }
"""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One row of a chart."""

    label: str
    parts: Sequence[float]
    """Lengths, one after another; the figure is their sum."""
    figure: str
    """The number as text."""
    note: str = ""
    """Under the label."""
    spread: tuple[float, float] | None = None
    """The lowest and the highest run."""
    colour: int | None = None
    """Of a bar with one part; by default the first."""
    strong: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Horizontal bars."""

    title: str
    units: str
    """A line under the title."""
    axis: str
    """What the axis counts."""
    bars: Sequence[Bar]
    legend: Sequence[str] = field(default_factory=tuple[str, ...])
    """The names of the parts."""


def to_svg(chart: Chart) -> str:
    """Draw a chart."""
    top = TOP + (24 if chart.legend else 0)
    bottom = top + ROW * len(chart.bars)
    height = bottom + BOTTOM
    longest = max((_reach(bar) for bar in chart.bars), default=1) or 1
    scale = (WIDTH - LABEL - VALUE) / longest
    rows = [_row(bar, top + ROW * n, scale) for n, bar in enumerate(chart.bars)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{escape(chart.title)}">'
    )
    style = f"{STYLE}{_colours(0)}  @media (prefers-color-scheme: dark) {{{DARK}{_colours(1)}  }}\n"
    drawn = (
        head,
        f"<style>{style}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
        f'<text class="title" x="20" y="32">{escape(chart.title)}</text>',
        f'<text class="quiet" x="20" y="51">{escape(chart.units)}</text>',
        *_legend(chart.legend),
        *_axis(longest, scale, top, bottom, chart.axis),
        *rows,
        f'<line class="axis" x1="{LABEL}" x2="{LABEL}" y1="{top - 4}" y2="{bottom}"/>',
        "</svg>\n",
    )
    return "\n".join(drawn)


def _colours(page: int) -> str:
    rules = (f".c{n} {{ fill: {colour[page]} }}" for n, colour in enumerate(COLOURS))
    return "  " + " ".join(rules) + "\n"


def _reach(bar: Bar) -> float:
    return max(sum(bar.parts), bar.spread[1] if bar.spread else 0)


def _legend(names: Sequence[str]) -> list[str]:
    drawn: list[str] = []
    x = 20.0
    for n, name in enumerate(names):
        drawn.append(f'<rect class="c{n}" x="{x:.0f}" y="63" width="12" height="12" rx="2"/>')
        drawn.append(f'<text class="quiet" x="{x + 17:.0f}" y="73">{escape(name)}</text>')
        x += 34 + 6.6 * len(name)
    return drawn


def _axis(longest: float, scale: float, top: float, bottom: float, name: str) -> list[str]:
    """Draw a line with its number at each step, and what is counted."""
    step = _step(longest)
    drawn: list[str] = []
    for n in range(int(longest / step) + 1):
        x = LABEL + n * step * scale
        drawn.append(f'<path class="axis" d="M{x:.1f} {top - 4}V{bottom}"/>')
        drawn.append(
            f'<text class="quiet" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">'
            f"{n * step:,g}</text>"
        )
    middle = (LABEL + WIDTH - VALUE) / 2
    drawn.append(
        f'<text class="quiet" x="{middle:.0f}" y="{bottom + 38}" text-anchor="middle">'
        f"{escape(name)}</text>"
    )
    return drawn


def _step(longest: float) -> float:
    """Return a round number that fits three to six times."""
    power = 10 ** floor(log10(longest))
    return next(part * power for part in (0.2, 0.5, 1, 2) if longest / (part * power) <= 6)


def _row(bar: Bar, y: float, scale: float) -> str:
    weight = ' class="strong"' if bar.strong else ""
    middle = y + BAR / 2
    label_y = middle + 4.5 if not bar.note else middle - 1
    place = f'x="{LABEL - 10}" y="{label_y:.1f}" text-anchor="end"'
    drawn = [f"<text{weight} {place}>{escape(bar.label)}</text>"]
    if bar.note:
        drawn.append(
            f'<text class="quiet" x="{LABEL - 10}" y="{middle + 12:.1f}" text-anchor="end" '
            f'style="font-size:10.5px">{escape(bar.note)}</text>'
        )
    x = float(LABEL)
    for n, part in enumerate(bar.parts):
        colour = bar.colour if bar.colour is not None else n
        width = max(part * scale, 1 if part else 0)
        drawn.append(
            f'<rect class="c{colour}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}"/>'
        )
        x += part * scale
    if bar.spread:
        low, high = (LABEL + value * scale for value in bar.spread)
        drawn.append(_whisker(low, high, middle))
        x = max(x, high)
    kind = "figure strong" if bar.strong else "figure"
    place = f'x="{x + 8:.1f}" y="{middle + 4.5}"'
    drawn.append(f'<text class="{kind}" {place}>{escape(bar.figure)}</text>')
    return "\n".join(drawn)


def _whisker(low: float, high: float, y: float) -> str:
    ends = "".join(f"M{x:.1f} {y - 4}V{y + 4}" for x in (low, high))
    return f'<path class="spread" d="M{low:.1f} {y}H{high:.1f}{ends}"/>'
