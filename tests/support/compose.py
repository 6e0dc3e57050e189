"""docker-compose.yml, as the tests read it."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def in_shell(argument: str) -> str:
    """What the container gets: compose's `$$` is `$`, and its variables have their defaults."""
    return re.sub(r"\$\{\w+:-([^}]*)}", r"\1", argument).replace("$$", "$")
