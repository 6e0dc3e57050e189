"""Punctuality in SQL: how late commands were carried out, by their stored times."""

from psycopg.rows import dict_row

from db.session import Connection
from schemas.punctuality import Punctuality, Spread

LIMIT = 200_000
"""The maximum number of commands that are read: enough for every percentile."""

_SPREAD = "percentile_cont(ARRAY[0.5, 0.9, 0.95, 0.99, 1]) WITHIN GROUP (ORDER BY {ms})"

# The lateness of the commands that were carried out in the last `seconds`.
MEASURE = f"""
SELECT now() - make_interval(secs => %(seconds)s) AS since, count(*) AS commands,
       {_SPREAD.format(ms="lateness")} AS lateness,
       {_SPREAD.format(ms="waiting")} AS waiting,
       {_SPREAD.format(ms="working")} AS working
FROM (
    SELECT 1000 * extract(epoch FROM finished_at - fell_due_at)::float8 AS lateness,
           1000 * extract(epoch FROM claimed_at - fell_due_at)::float8 AS waiting,
           1000 * extract(epoch FROM finished_at - claimed_at)::float8 AS working
    FROM publisher.publish_command
    WHERE finished_at > now() - make_interval(secs => %(seconds)s)
      AND state IN ('published', 'unpublished', 'unchanged', 'rejected')
      AND claimed_at IS NOT NULL AND fell_due_at IS NOT NULL AND trigger <> 'canary'
      AND (%(workspace_id)s::bigint IS NULL OR workspace_id = %(workspace_id)s)
    LIMIT %(limit)s
) carried_out
"""


def measure(tx: Connection, *, seconds: int, workspace_id: int | None) -> Punctuality:
    """Measure the commands that were carried out within the last `seconds`."""
    values = {"seconds": seconds, "workspace_id": workspace_id, "limit": LIMIT}
    with tx.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(MEASURE, values).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers
    return Punctuality(
        window_seconds=seconds,
        since=row["since"],
        commands=row["commands"],
        lateness=_to_spread(row["lateness"]),
        waiting=_to_spread(row["waiting"]),
        working=_to_spread(row["working"]),
    )


def _to_spread(numbers: list[float] | None) -> Spread:
    median, p90, p95, p99, largest = (
        [round(number, 3) for number in numbers] if numbers else [None] * 5
    )
    return Spread(median=median, p90=p90, p95=p95, p99=p99, max=largest)
