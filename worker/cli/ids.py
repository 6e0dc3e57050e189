"""Ids on the command line: whole, by their beginning, or short as tables show them."""

import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import typer

from db import ids
from db.ids import IdOf
from worker.cli.late_imports import late_imports
from worker.runtime.refused import Refused

with late_imports():
    from db import session

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["AmbiguousId", "GivenId", "IdOf", "IdRefused", "find_id", "parse_id", "to_short_ids"]

CANDIDATES = 5
"""Ids that the refusal of an ambiguous one lists."""
SHORT = re.compile(r"([0-9a-f-]+)(?:(?:\.\.|…)([0-9a-f]{1,12}))?", re.IGNORECASE)
WHOLE = 32
"""Hexadecimal digits of a whole id."""
MIN_DIGITS = 4
"""Of a beginning. With an end it needs eight, a minute of a UUIDv7: the index has such a range."""
DIGITS = 8
"""Of each part of a short id: the last ones are random."""
NAMES = {
    IdOf.COMMAND: "command",
    IdOf.ENDPOINT: "webhook endpoint",
    IdOf.DELIVERY: "delivery",
    IdOf.KEY: "key",
    IdOf.SESSION: "session, person or key",
}


class IdRefused(Refused):
    """No id was found, or several; the text may have several lines."""


class AmbiguousId(IdRefused):
    """Several ids match what was given."""


@dataclass(frozen=True, slots=True)
class GivenId:
    """An id as it was typed."""

    text: str
    begin: str
    """Its first hexadecimal digits: 32 of a whole id."""
    end: str = ""
    """Its last ones."""


def parse_id(text: str) -> GivenId:
    """Read an id, its beginning, or both its ends; a usage error for anything else."""
    with suppress(ValueError):
        return GivenId(text, UUID(text).hex)
    if found := SHORT.fullmatch(text.strip()):
        begin, end = found[1].replace("-", "").lower(), (found[2] or "").lower()
        if (2 * MIN_DIGITS if end else MIN_DIGITS) <= len(begin) < WHOLE:
            return GivenId(text.strip(), begin, end)
    raise typer.BadParameter(
        f"'{text}' is not an id. Give a whole one, its beginning ({MIN_DIGITS} digits or more), or "
        "its two ends as tables show them: 0192f3a1..8c4d2e1f."
    )


def find_id(engine: "Engine", kind: IdOf, given: GivenId) -> UUID:
    """Return the id that was meant. A whole one is returned without a look-up.

    Raises IdRefused if none begins so, and AmbiguousId with the candidates if several do.
    """
    if len(given.begin) == WHOLE:
        return UUID(given.begin)
    with session.transaction(engine) as tx:
        found = ids.find(tx, kind, given.begin, given.end, CANDIDATES + 1)
    if not found:
        raise IdRefused(f"There is no {NAMES[kind]} whose id is {given.text}, or begins so.")
    if len(found) > 1:
        raise AmbiguousId(_list_candidates(kind, given, found))
    return found[0]


def to_short_ids(found: Iterable[UUID]) -> dict[UUID, str]:
    """Return the short form of each id, with both its ends; whole ids where two have the same."""
    short = {each: f"{each.hex[:DIGITS]}..{each.hex[-DIGITS:]}" for each in found}
    count = Counter(short.values())
    return {each: text if count[text] == 1 else str(each) for each, text in short.items()}


def _list_candidates(kind: IdOf, given: GivenId, found: list[UUID]) -> str:
    more = ["  …"] if len(found) > CANDIDATES else []
    lines = [f"  {each}" for each in found[:CANDIDATES]]
    return "\n".join(
        [f"{given.text} is the beginning of several ids ({NAMES[kind]}):", *lines, *more]
    )
