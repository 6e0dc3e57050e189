"""The states of a command as a picture: docs/command-states.svg, in the colours of the page.

`python -m website.state_diagram` writes it. Boxes are the states that the code has.
"""

from pathlib import Path

from publish_worker_client.events.names import EventType
from schemas.command import CommandState

PICTURE = Path(__file__).parents[1] / "docs" / "command-states.svg"
PICTURE_LINK = "![The states of a command](command-states.svg)"
WIDTH, HEIGHT = 930, 478
BOX_WIDTH, BOX_HEIGHT = 124, 38
OUTCOMES_X = 600
PLACES = {
    CommandState.SCHEDULED: (60, 156),
    CommandState.WAITING: (270, 300),
    CommandState.CANCELLED: (60, 410),
    CommandState.PUBLISHED: (OUTCOMES_X, 16),
    CommandState.UNPUBLISHED: (OUTCOMES_X, 72),
    CommandState.UNCHANGED: (OUTCOMES_X, 128),
    CommandState.REJECTED: (OUTCOMES_X, 184),
    CommandState.EXPIRED: (OUTCOMES_X, 240),
    CommandState.FAILED: (OUTCOMES_X, 296),
}
"""The upper left corner of each state's box."""
NOTES = {
    CommandState.PUBLISHED: (EventType.PUBLISHED, ""),
    CommandState.UNPUBLISHED: (EventType.UNPUBLISHED, ""),
    CommandState.UNCHANGED: ("", "it was so already: no event"),
    CommandState.REJECTED: (EventType.REJECTED, "it can never be published"),
    CommandState.EXPIRED: (EventType.EXPIRED, "its deadline passed"),
    CommandState.FAILED: (EventType.FAILED, "five attempts failed"),
    CommandState.CANCELLED: (EventType.CANCELLED, "a caller cancelled it"),
}
"""The event of each outcome, and when it is the outcome."""
TRANSACTION = (270, 156)
STYLE = """
svg{--ink:#1f2328;--soft:#59636e;--line:#8c959f;--open:#ddf4ff;--good:#dafbe1;--bad:#ffebe9;--rest:#f6f8fa}
@media (prefers-color-scheme:dark){svg{--ink:#f0f6fc;--soft:#9198a1;--line:#656c76;--open:#122d42;--good:#12301d;--bad:#3c1618;--rest:#21262d}}
svg text{fill:var(--ink);font:15px system-ui,sans-serif}svg .note{fill:var(--soft);font-size:13px}svg .event{font:13px ui-monospace,monospace}
svg .box{stroke:var(--line);stroke-width:1.2}svg .line{fill:none;stroke:var(--line);stroke-width:1.4;marker-end:url(#to)}
svg .open{fill:var(--open)}svg .good{fill:var(--good)}svg .bad{fill:var(--bad)}svg .rest{fill:var(--rest)}svg .head{fill:var(--line)}
"""


def draw() -> str:
    """Return the picture: an SVG that needs nothing else."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="The states of a command">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>',
        *_draw_lines(),
        *(_draw_state(state) for state in CommandState),
        _draw_box(*TRANSACTION, "claimed", "rest", radius=19),
        '<circle class="head" cx="18" cy="175" r="7"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def to_figure() -> str:
    """Return the picture as HTML for a page of the site, whose stylesheet sets its colours."""
    return f'<figure class="states">\n{PICTURE.read_text()}</figure>'


def _draw_state(state: CommandState) -> str:
    x, y = PLACES[state]
    event, note = NOTES.get(state, ("", ""))
    drawn = _draw_box(x, y, state, _colour(state))
    left, middle = x + BOX_WIDTH + 14, y + BOX_HEIGHT / 2
    if event and note:
        return (
            f"{drawn}{_draw_text(left, middle - 4, event, 'event')}"
            f"{_draw_text(left, middle + 14, note, 'note')}"
        )
    text = event or note
    return drawn + (
        _draw_text(left, middle + 5, text, "event" if event else "note") if text else ""
    )


def _colour(state: CommandState) -> str:
    if not state.is_outcome:
        return "open"
    if state in (CommandState.PUBLISHED, CommandState.UNPUBLISHED):
        return "good"
    return "rest" if state in (CommandState.UNCHANGED, CommandState.CANCELLED) else "bad"


def _draw_box(x: int, y: int, text: str, colour: str, radius: int = 6) -> str:
    return (
        f'<rect class="box {colour}" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="{radius}"/>'
        f'<text x="{x + BOX_WIDTH / 2:g}" y="{y + 24}" text-anchor="middle">{text}</text>'
    )


def _draw_text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{text}</text>'


def _draw_lines() -> list[str]:
    right, middle = TRANSACTION[0] + BOX_WIDTH, TRANSACTION[1] + BOX_HEIGHT // 2
    ended = [y + BOX_HEIGHT // 2 for x, y in PLACES.values() if x == OUTCOMES_X]
    paths = [
        "M26 175H54",
        "M184 175H264",
        *(
            f"M{right} {middle}C{right + 60} {middle} {OUTCOMES_X - 60} {y} {OUTCOMES_X - 6} {y}"
            for y in ended
        ),
        "M312 194V294",
        "M352 300V200",
        "M122 194V404",
        "M270 325C200 330 160 360 140 404",
        f"M{OUTCOMES_X + 62} 334V468H30V260C30 220 60 215 84 200",
    ]
    notes = [
        ("224", "166", "due", "middle"),
        ("302", "240", "not ready yet", "end"),
        ("362", "234", "generation ends,", "start"),
        ("362", "252", "or a check after", "start"),
        ("362", "270", "1, 2, 4 … 60 s", "start"),
        ("246", "356", "DELETE", "middle"),
        (str(OUTCOMES_X + 72), "380", "retry", "start"),
    ]
    return [
        *(f'<path class="line" d="{path}"/>' for path in paths),
        *(_draw_text(float(x), float(y), text, "note", anchor) for x, y, text, anchor in notes),
    ]


if __name__ == "__main__":
    PICTURE.write_text(draw())
