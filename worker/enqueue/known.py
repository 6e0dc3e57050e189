"""What the database knows about a group of submissions, read in one round trip."""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from db.commands import idempotency
from db.commands.idempotency import FirstRequest, Key
from db.session import Connection, wait_briefly
from db.videos import lookup
from db.videos.identities import VideoIdentity, read_identities
from db.videos.lookup import References
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
    open_of_video: Counter[int]
    """How many commands are open, by the id of the video."""
    open_of_workspace: Counter[int]
    keys: dict[Key, FirstRequest]
    contradictions: Contradictions = field(default_factory=Contradictions)


def read_known(tx: Connection, submissions: Sequence[Submission]) -> Known:
    """Read what the checks of these submissions need."""
    requests = [request for each in submissions for request in each.requests]
    bodies = [request.video for request in requests if request.video]
    keys = {each.key for each in submissions if each.key}
    is_brief = len(submissions) > 1 and any(each.may_wait for each in submissions)
    # A single statement has its round trip without a pipeline.
    with tx.pipeline() if bodies or keys or is_brief else nullcontext():
        if is_brief:
            wait_briefly(tx, LOCK_SECONDS)
        identities = read_identities(tx, {request.video_id for request in requests})
        references = lookup.read_references(tx, bodies) if bodies else _no_references
        first_requests = idempotency.recall(tx, keys) if keys else _no_keys
    videos = identities()
    return Known(
        videos=videos,
        references=references(),
        open_of_video=Counter({each.id: each.open_commands for each in videos.values()}),
        open_of_workspace=Counter(
            {each.workspace_id: each.workspace_open_commands for each in videos.values()}
        ),
        keys=first_requests(),
    )


def _no_references() -> References:
    return References(categories=set(), subcategories={}, tags=set())


def _no_keys() -> dict[Key, FirstRequest]:
    return {}
