"""The sample data of `make demo` and `make up`: the workspaces of a fictional team.

The rows are in `sample_data/*.json`, one file per table; the videos are in several files, with
their tags, sections and engagement. Only the platform's tables are filled.
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
"""Tables with a file of their own; each comes after the tables that it references."""

VIDEOS = ("videos-ready", "videos-titles", "videos-unready", "videos-published", "videos-harbour")
"""Files of videos: ready, unusual titles, not ready, published, second workspace."""

NUMBERED = (*CATALOGUE, "video", "section")
"""Tables whose ids come from an identity sequence."""

# Whether there is a platform: it has a workspace other than the canary's.
HAS_WORKSPACE = "SELECT EXISTS (SELECT FROM workspace WHERE id < %(canary)s)"

# Insert rows of one table. Keys without a column, such as a video's sections, are ignored.
INSERT_ROWS = SQL("""
    INSERT INTO {table}
    SELECT * FROM jsonb_populate_recordset(NULL::{table}, %(rows)s)
""")

# Insert the tags of all videos.
INSERT_VIDEO_TAGS = """
    INSERT INTO video_tag (video_id, tag_id)
    SELECT video.id, tag_id::bigint
    FROM jsonb_to_recordset(%(rows)s) AS video (id bigint, tags jsonb),
         jsonb_array_elements(video.tags) AS tag_id
"""

# Insert the sections of all videos, numbered in the order of the file.
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

# Insert the daily engagement of all videos.
INSERT_ENGAGEMENT = """
    INSERT INTO video_engagement
    SELECT engagement.*
    FROM jsonb_to_recordset(%(rows)s) AS video (id bigint, engagement jsonb),
         jsonb_array_elements(video.engagement) AS listed (fields),
         jsonb_populate_record(
             NULL::video_engagement, fields || jsonb_build_object('video_id', video.id)
         ) AS engagement
"""

# Set the sequence of one table after its explicit ids.
ADVANCE_SEQUENCE = SQL(
    "SELECT setval(pg_get_serial_sequence({name}, 'id'), max(id)) FROM {table} WHERE id < {canary}"
)

# Copy a workspace's ready videos in turn, with their tags and sections; the first copies are take
# 2. A later call continues where the last one stopped. Copies are not copied.
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
    """Load the sample and return the number of videos; 0 if there is a platform already.

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
    """Make `count` more ready drafts from the workspace's ready videos; return their ids.

    One statement, whatever the count. Without a ready video none is made. The caller commits.
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
