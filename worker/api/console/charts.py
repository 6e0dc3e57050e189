"""Charts: geometry of bars, computed here and drawn as SVG by a template. No script takes part."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, HEIGHT = 720, 150
LEFT, TOP, BOTTOM = 44, 8, 20
"""Room for the labels of the axes."""
LABELS = 6
"""Labels of the time axis."""


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of bar: its name, its class in the style sheet, and a number for each span."""

    name: str
    style: str
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, and the text that describes it. None of it comes from a user."""

    x: float
    y: float
    width: float
    height: float
    style: str
    title: str

    def __html__(self) -> str:
        """Return the SVG element: a page may have 300 of them, too many for a template's loop."""
        place = f'x="{self.x:.1f}" y="{self.y:.1f}" width="{self.width:.1f}"'
        shape = f'class="bar-{self.style}" {place} height="{self.height:.1f}"'
        return f"<rect {shape}><title>{self.title}</title></rect>"


@dataclass(frozen=True, slots=True)
class Label:
    """A text on an axis, and where the axis has it."""

    at: float
    text: str
    moment: datetime | None = None
    """For a label of the time axis."""


@dataclass(frozen=True, slots=True)
class BarChart:
    """Stacked bars over time."""

    title: str
    summary: str
    """What the chart shows, in words: for readers who do not see it."""
    bars: list[Bar]
    times: list[Label]
    numbers: list[Label]
    legend: list[Series]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT


def draw(title: str, began_at: datetime, span: timedelta, series: Sequence[Series]) -> BarChart:
    """Stack the series' numbers, one bar for each span from `began_at` on."""
    spans = max((len(each.values) for each in series), default=0) or 1
    totals = [sum(each.values[i] for each in series if each.values) for i in range(spans)]
    top = to_round_number(max(totals, default=0))
    step = (WIDTH - LEFT) / spans
    scale = (HEIGHT - TOP - BOTTOM) / top
    bars: list[Bar] = []
    for place in range(spans):
        y = float(HEIGHT - BOTTOM)
        moment = began_at + place * span
        for each in series:
            count = each.values[place] if each.values else 0
            if count:
                y -= count * scale
                text = f"{moment:%H:%M} UTC: {count:,} {each.name}"
                x, width = LEFT + place * step, max(step - 1, 1)
                bars.append(Bar(x, y, width, count * scale, each.style, text))
    every = max(math.ceil(spans / LABELS), 1)
    return BarChart(
        title=title,
        summary=_describe(series),
        bars=bars,
        times=[
            Label(LEFT + place * step, f"{moment:%H:%M}", moment)
            for place in range(0, spans, every)
            for moment in [began_at + place * span]
        ],
        numbers=[
            Label(HEIGHT - BOTTOM - number * scale, f"{number:,}") for number in (0, top // 2, top)
        ]
        if top > 1
        else [Label(HEIGHT - BOTTOM, "0"), Label(TOP, "1")],
        legend=[each for each in series if any(each.values)],
    )


def to_round_number(largest: int) -> int:
    """Return the top of an axis: 1, 2, 4, 6, 10, 20, 40 … at least `largest`."""
    if largest <= 1:
        return 1
    power = 10 ** int(math.log10(largest))
    return next(int(factor * power) for factor in (1, 2, 4, 6, 10) if factor * power >= largest)


def _describe(series: Sequence[Series]) -> str:
    counted = [f"{sum(each.values):,} {each.name}" for each in series if any(each.values)]
    return ", ".join(counted) if counted else "nothing"
