"""What the database knows about a group of submissions, read in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from db.commands import idempotency, limits
from db.commands.idempotency import FirstRequest, Key
from db.commands.limits import OpenCommands
from db.session import Connection, wait_briefly
from db.videos import lookup
from db.videos.lookup import References, VideoIdentity
from schemas.problem import FieldError
from worker.enqueue.submission import Submission

LOCK_SECONDS = 0.2
"""The longest wait of a group for a lock, such as that of a key that another transaction stores:
one submission must not hold up the others."""

Contradictions = dict[Submission, list[tuple[int, FieldError]]]
"""What does not fit the video, with the index of the request."""


@dataclass(kw_only=True)
class Known:
    """What the checks read. It includes what the group itself has added."""

    videos: dict[int, VideoIdentity]
    references: References
    open_commands: OpenCommands
    keys: dict[Key, FirstRequest]
    contradictions: Contradictions = field(default_factory=Contradictions)


def read_known(tx: Connection, submissions: Sequence[Submission]) -> Known:
    """Read what the checks of these submissions need."""
    requests = [request for each in submissions for request in each.requests]
    videos = {request.video_id for request in requests}
    bodies = [request.video for request in requests if request.video]
    keys = {each.key for each in submissions if each.key}
    with tx.pipeline():
        if len(submissions) > 1 and any(each.may_wait for each in submissions):
            wait_briefly(tx, LOCK_SECONDS)
        identities = lookup.read_identities(tx, videos)
        open_commands = limits.count_open(tx, videos)
        references = lookup.read_references(tx, bodies) if bodies else _no_references
        first_requests = idempotency.recall(tx, keys) if keys else _no_keys
    return Known(
        videos=identities(),
        references=references(),
        open_commands=open_commands(),
        keys=first_requests(),
    )


def _no_references() -> References:
    return References(categories=set(), subcategories={}, tags=set())


def _no_keys() -> dict[Key, FirstRequest]:
    return {}
