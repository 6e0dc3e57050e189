"""Make hundreds of thousands of ready drafts fast, from those that a run's database has."""

from collections.abc import Sequence

from psycopg import sql
from sqlalchemy import Engine

from bench.setup import unlimited, vacuum
from db.session import to_array

# Foreign keys and triggers are not checked: the rows are copies of valid ones.
UNCHECKED = "SET LOCAL session_replication_role = replica"
COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL(%s)
ORDER BY attnum
"""
# Which video each copy has its rows from; the ids follow the highest one.
PLAN = """
CREATE TEMP TABLE copy ON COMMIT DROP AS
SELECT (SELECT max(id) FROM video WHERE id < 1000000000) + row_number() OVER (ORDER BY n, id) AS id,
       id AS source_id, n
FROM unnest(%s::bigint[]) AS id, generate_series(1, %s) AS n
LIMIT %s
"""
VIDEOS = sql.SQL("""
INSERT INTO video (id, uid, title, is_draft, {columns})
SELECT copy.id, gen_random_uuid(), left(title, 240) || ' · ' || copy.n, true, {columns}
FROM copy JOIN video ON video.id = copy.source_id
""")
SECTIONS = sql.SQL("""
INSERT INTO section (id, uid, video_id, {columns})
SELECT nextval(pg_get_serial_sequence('section', 'id')), gen_random_uuid(), copy.id, {columns}
FROM copy JOIN section ON section.video_id = copy.source_id
WHERE copy.id %% %(each)s = 0
""")
TAGS = """
INSERT INTO video_tag (video_id, tag_id)
SELECT copy.id, tag_id FROM copy JOIN video_tag ON video_tag.video_id = copy.source_id
WHERE copy.id %% %(each)s = 0
"""
IDS = "SELECT id FROM copy WHERE id %% %(each)s = 0 ORDER BY id"
ADVANCE = "SELECT setval(pg_get_serial_sequence('video', 'id'), (SELECT max(id) FROM copy))"


def make_videos(engine: Engine, sources: Sequence[int], count: int, *, each: int = 1) -> list[int]:
    """Copy ready drafts until `count` are made.

    Every `each`-th one gets sections and tags; the ids of these are returned. Ten million need
    30 GB, with sections more than 60.
    """
    with unlimited(engine) as tx:
        tx.execute(UNCHECKED)
        tx.execute(PLAN, (to_array(sources), count // len(sources) + 1, count))
        tx.execute("ANALYZE copy")  # so that no join sorts or hashes the copies
        every = {"each": each}
        for statement, table, own in (
            (VIDEOS, "video", ["id", "uid", "title", "is_draft"]),
            (SECTIONS, "section", ["id", "uid", "video_id"]),
        ):
            names = [sql.Identifier(name) for (name,) in tx.execute(COLUMNS, (table, own))]
            columns = sql.SQL(", ").join(names)
            tx.execute(statement.format(columns=columns), every)
        tx.execute(TAGS, every)
        tx.execute(ADVANCE)
        ids = [video_id for (video_id,) in tx.execute(IDS, every)]
    vacuum(engine, checkpoint=True)
    return ids
