"""The Lua scripts of lua/: each is one atomic step on Redis, so a consumer may die between any two.

Beside the stream (KEYS[1]) a group has a redelivery stream (KEYS[2]: events filled from the outbox
or redriven), a dead-letter stream (KEYS[3]), and the hash KEYS[4], which outlives the stream:

    at      every event up to this position was delivered to a consumer, or is a dead letter
    id      the ID of that place on the stream
    by      the consumer that joined last
    floor   the high-water mark: every event up to it was acknowledged, or is a dead letter

KEYS[5] counts tries by position: failed ones, and those of an event that an earlier consumer left
unacknowledged, so that an event that kills its consumers becomes a dead letter. KEYS[6]: the lease.
"""

from hashlib import sha1
from importlib.resources import files

_FOLDER = files("publish_worker_client.subscribe") / "lua"

SOURCES: dict[str, str] = {}
"""Each script's source by its SHA-1: commands carry the digest (EVALSHA)."""


def _load(name: str, common: str = "") -> str:
    source = common + (_FOLDER / f"{name}.lua").read_text()
    digest = sha1(source.encode(), usedforsecurity=False).hexdigest()
    SOURCES[digest] = source
    return digest


_COMMON = (_FOLDER / "common.lua").read_text()
CLAIM = _load("claim", _COMMON)
DEAD_LETTER = _load("dead_letter", _COMMON)
FILL = _load("fill", _COMMON)
FLUSH = _load("flush", _COMMON)
LEAVE = _load("leave", _COMMON)
OPEN = _load("open", _COMMON)
READ_REDELIVERIES = _load("read_redeliveries", _COMMON)
REMOVE_CONSUMERS = _load("remove_consumers", _COMMON)
RENEW_LEASE = _load("renew_lease", _COMMON)
REPLACE = _load("replace", _COMMON)
REWIND = _load("rewind", _COMMON)
SKIP_FOREIGN = _load("skip_foreign", _COMMON)
READ_DEAD_LETTERS = _load("read_dead_letters")
REDRIVE = _load("redrive")
