"""A platform's process that enqueues in its own transactions, until it is killed.

Its arguments: the database's URL, and a seed. Each transaction enqueues a few videos, and is
committed or rolled back at random. It notes in its own table, in the same transaction, what it
enqueued: after a kill, that table says what was committed.
"""

import random
import sys

import psycopg

TAKE = "SELECT id FROM video WHERE id BETWEEN %s AND %s ORDER BY id"
ENQUEUE = """
WITH wanted AS (SELECT unnest(%s::bigint[]) AS id)
INSERT INTO committed (video_id, command_id)
SELECT id, CASE
    WHEN id %% 10 = 0
        THEN publisher.enqueue_publish(id, publish_at => clock_timestamp() + interval '1 s')
    ELSE publisher.enqueue_publish(id)
END FROM wanted
"""


def main() -> None:
    """Enqueue the videos from one id to another, in transactions of one to nine."""
    url, seed, first, last = sys.argv[1:]
    whims = random.Random(int(seed))  # noqa: S311 - the test's whims are not a secret
    with psycopg.connect(url) as connection:
        videos = [row[0] for row in connection.execute(TAKE, (first, last))]
        connection.commit()
        while videos:
            size = whims.randint(1, 9)
            now, videos = videos[:size], videos[size:]
            connection.execute(ENQUEUE, (now,))
            if whims.random() < 0.3:
                connection.rollback()
            else:
                connection.commit()
