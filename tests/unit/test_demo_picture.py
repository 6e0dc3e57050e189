"""docs/demo.svg shows what the demo has printed, and says what it leaves out."""

from pathlib import Path

from tests.support.demo_picture import draw

PRINTED = "\n".join(
    [
        "Starting …",
        *(f"{number} Scenario {number} ───\nline of {number}" for number in range(1, 6)),
        "╭── Summary ──╮",
        "│ all is well │",
    ]
)
SVG = Path(__file__).parents[2] / "docs" / "demo.svg"


def to_text(svg: str) -> str:
    return svg.replace("&#160;", " ")


def test_scenarios_are_left_out_and_counted() -> None:
    text = to_text(draw(PRINTED))
    assert "line of 3" in text
    assert "line of 4" not in text
    assert "… and 2 more scenarios …" in text
    assert text.index("more scenarios") < text.index("all is well")


def test_the_picture_asks_for_nothing_of_another_host() -> None:
    for svg in (draw(PRINTED), SVG.read_text()):
        assert "@font-face" not in svg
        assert "url(http" not in svg
