"""The list of decisions: number, title and date of each record in docs/adr/."""

import re
from pathlib import Path

RECORDS = Path(__file__).parents[1] / "docs" / "adr"


def list_decisions() -> str:
    """Return a table of all decision records, newest first."""
    rows = [_to_row(path) for path in sorted(RECORDS.glob("*.md"), reverse=True)]
    return "\n".join(["| | decision | date |", "|---:|---|---|", *rows])


def _to_row(path: Path) -> str:
    text = path.read_text()
    title = re.sub(r"^#\s*(?:ADR )?\d+[:.]?\s*", "", text.splitlines()[0])
    date = re.search(r"\d{4}-\d\d-\d\d|\d{1,2} \w+ \d{4}", text)
    return f"| {int(path.name[:4])} | [{title}](adr/{path.name}) | {date[0] if date else ''} |"
