"""docker-compose.yml, as the tests read it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")
"""`$$`, `${NAME}`, `${NAME:-default}` or `${NAME:?message}`."""


def in_shell(argument: str) -> str:
    """What the container gets: compose's `$$` is `$`, and its variables have their defaults."""
    return re.sub(r"\$\{\w+:-([^}]*)}", r"\1", argument).replace("$$", "$")


def resolve(text: str, given: Mapping[str, str]) -> str:
    """What compose makes of a text with `.env`. Raises KeyError for a variable that it needs."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        if name is None:
            return "$"
        return given[name] if kind == "?" else given.get(name) or default or ""

    return VARIABLE.sub(value, text)


def order_of_start() -> list[str]:
    """The services, each after those that it depends on."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        for other in SERVICES[name].get("depends_on", {}):
            visit(other)
        if name not in ordered:
            ordered.append(name)

    for name in SERVICES:
        visit(name)
    return ordered
