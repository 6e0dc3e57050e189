"""A rehearsal: the checks of enqueue, without writing anything."""

from sqlalchemy import Engine

from db.session import transaction
from schemas.command import PublishRequest
from worker.enqueue.checks import check, find_contradictions
from worker.enqueue.known import read_known
from worker.enqueue.new_commands import PlannedCommand
from worker.enqueue.origin import Origin
from worker.enqueue.submission import Submission


def rehearse(engine: Engine, request: PublishRequest, origin: Origin) -> list[PlannedCommand]:
    """Return the commands that the request would become.

    Raises the refusal that `enqueue` would raise now (worker.enqueue.refusals).
    """
    submission = Submission(requests=[request], origin=origin)
    with transaction(engine) as tx:
        known = read_known(tx, [submission])
        known.contradictions = find_contradictions(tx, [submission], known)
        check(submission, known)
    return submission.planned
