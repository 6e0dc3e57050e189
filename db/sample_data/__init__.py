"""The sample workspaces that `make demo` and `make up` start with: made-up work of a made-up team.

The rows are in `sample_data/*.json`, one file per table, the videos in several, each with its tags,
sections and engagement inside. For the platform's tables only; ours stay empty.
"""

import json
from importlib.resources import files
from typing import Any

from psycopg.sql import SQL, Identifier, Literal
from psycopg.types.json import Jsonb

from db.commands.canary import VIDEO_ID
from db.session import Connection

CATALOGUE = (
    "workspace",
    "iam_user",
    "iam_user_detail",
    "template",
    "category",
    "subcategory",
    "tag",
)
"""Tables with a file of their own, each after those that it refers to."""

VIDEOS = ("videos-ready", "videos-titles", "videos-unready", "videos-published", "videos-harbour")
"""Files of videos: ready, ready under unusual titles, not ready, already out, second workspace."""

NUMBERED = (*CATALOGUE, "video", "section")
"""Tables whose ids come from an identity sequence."""

# Whether a platform is there already: a workspace comes before anything else; the canary's is ours.
HAS_WORKSPACE = "SELECT EXISTS (SELECT FROM workspace WHERE id < %(canary)s)"

# The rows of one table as they are written; keys without a column (a video's sections) are skipped.
INSERT_ROWS = SQL("""
    INSERT INTO {table}
    SELECT * FROM jsonb_populate_recordset(NULL::{table}, %(rows)s)
""")

# The tags of all videos.
INSERT_VIDEO_TAGS = """
    INSERT INTO video_tag (video_id, tag_id)
    SELECT video.id, tag_id::bigint
    FROM jsonb_to_recordset(%(rows)s) AS video (id bigint, tags jsonb),
         jsonb_array_elements(video.tags) AS tag_id
"""

# The sections of all videos, numbered in the order in which they are written.
INSERT_SECTIONS = """
    INSERT INTO section
    SELECT section.*
    FROM jsonb_to_recordset(%(rows)s) AS video (id bigint, sections jsonb),
         jsonb_array_elements(video.sections) WITH ORDINALITY AS listed (fields, place),
         jsonb_populate_record(
             NULL::section,
             fields || jsonb_build_object('video_id', video.id, 'order', place, 'is_active', true)
         ) AS section
"""

# The daily sums of videos that were watched.
INSERT_ENGAGEMENT = """
    INSERT INTO video_engagement
    SELECT engagement.*
    FROM jsonb_to_recordset(%(rows)s) AS video (id bigint, engagement jsonb),
         jsonb_array_elements(video.engagement) AS listed (fields),
         jsonb_populate_record(
             NULL::video_engagement, fields || jsonb_build_object('video_id', video.id)
         ) AS engagement
"""

# Let the next insert count on from the explicit ids; put together with one such query per table.
ADVANCE_SEQUENCE = SQL(
    "SELECT setval(pg_get_serial_sequence({name}, 'id'), max(id)) FROM {table} WHERE id < {canary}"
)

# Copies of a workspace's ready videos, in turn, each with its own tags and sections: the first
# round is take 2. A later call goes on where the last one stopped, and copies no copy.
MULTIPLY_READY = r"""
    WITH ready AS (
        SELECT id, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS total
        FROM video
        WHERE workspace_id = %(workspace_id)s
          AND status = 'completed' AND internal_status = 'completed' AND NOT is_regenerating
          AND is_active AND deleted_at IS NULL AND video <> ''
          AND title !~ ' · take \d+$'
    ), made_before AS (
        SELECT count(*) AS copies
        FROM video
        WHERE workspace_id = %(workspace_id)s AND title ~ ' · take \d+$'
    ), copy AS MATERIALIZED (
        SELECT nextval(pg_get_serial_sequence('video', 'id')) AS id,
               ready.id AS source_id,
               format(' · take %%s', 2 + number / ready.total) AS suffix
        FROM made_before, generate_series(copies, copies + %(count)s - 1) AS number, ready
        WHERE ready.place = number %% ready.total
        ORDER BY number
    ), copied_video AS (
        INSERT INTO video
        SELECT changed.*
        FROM copy
        JOIN video AS source ON source.id = copy.source_id,
        jsonb_populate_record(source, jsonb_build_object(
            'id', copy.id,
            'uid', gen_random_uuid(),
            'title', left(source.title, 255 - length(copy.suffix)) || copy.suffix,
            'is_draft', true
        )) AS changed
    ), copied_tags AS (
        INSERT INTO video_tag (video_id, tag_id)
        SELECT copy.id, source.tag_id
        FROM copy
        JOIN video_tag AS source ON source.video_id = copy.source_id
    ), copied_sections AS (
        INSERT INTO section
        SELECT changed.*
        FROM copy
        JOIN section AS source ON source.video_id = copy.source_id,
        jsonb_populate_record(source, jsonb_build_object(
            'id', nextval(pg_get_serial_sequence('section', 'id')),
            'uid', gen_random_uuid(),
            'video_id', copy.id
        )) AS changed
    )
    SELECT id FROM copy ORDER BY id
"""


def load_sample(connection: Connection) -> int:
    """Load all of it, and answer how many videos that was; 0 where a platform is there already.

    The caller commits.
    """
    if connection.execute(HAS_WORKSPACE, {"canary": VIDEO_ID}).fetchone() == (True,):
        return 0
    for table in CATALOGUE:
        _insert(connection, table, _read(table))
    videos = [video for name in VIDEOS for video in _read(name)]
    _insert(connection, "video", videos)
    rows = {"rows": Jsonb(videos)}
    connection.execute(INSERT_VIDEO_TAGS, rows)
    connection.execute(INSERT_SECTIONS, rows)
    connection.execute(INSERT_ENGAGEMENT, rows)
    _advance_sequences(connection)
    return len(videos)


def multiply_ready(connection: Connection, *, workspace_id: int, count: int) -> list[int]:
    """Make `count` further ready drafts out of the workspace's ready videos; answer their ids.

    One statement whatever the count; none is made where nothing is ready. The caller commits.
    """
    made = connection.execute(MULTIPLY_READY, {"workspace_id": workspace_id, "count": count})
    return [video_id for (video_id,) in made]


def _read(name: str) -> list[dict[str, Any]]:
    return json.loads(files("db").joinpath("sample_data", f"{name}.json").read_text("utf-8"))


def _insert(connection: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    connection.execute(INSERT_ROWS.format(table=Identifier(table)), {"rows": Jsonb(rows)})


def _advance_sequences(connection: Connection) -> None:
    each = (
        ADVANCE_SEQUENCE.format(name=name, table=Identifier(name), canary=Literal(VIDEO_ID))
        for name in NUMBERED
    )
    connection.execute(SQL(" UNION ALL ").join(each))
