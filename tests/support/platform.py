"""A small platform to publish on: one workspace, and as many videos as a test asks for."""

from collections.abc import Sequence
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import Engine

from db.session import Connection, transaction

SETUP = """
INSERT INTO workspace (id, name, custom_url) VALUES (1, 'Research', 'research'),
    (2, 'Elsewhere', 'elsewhere');
INSERT INTO iam_user (id, email, full_name, username) VALUES (1, 'ada@example.com', 'Ada B', 'ada');
INSERT INTO template (id, name) VALUES (1, 'Explainer');
INSERT INTO category (id, name) VALUES (1, 'Science'), (2, 'History');
INSERT INTO subcategory (id, category_id, name) VALUES (1, 1, 'Physics'), (2, 2, 'Antiquity');
INSERT INTO tag (id, name) VALUES (1, 'light'), (2, 'waves'), (3, 'rome');
"""

READY: dict[str, Any] = {
    "title": "What is light?",
    "status": "completed",
    "internal_status": "completed",
    "generation_progress": 100,
    "video": "https://cdn.example.com/light.mp4",
    "template_id": 1,
    "owner_id": 1,
    "workspace_id": 1,
}


def set_up(engine: Engine) -> None:
    """Make two workspaces, a user, a template, categories and tags."""
    with transaction(engine) as tx:
        tx.execute(SETUP)  # pyright: ignore[reportArgumentType, reportCallIssue]


def make_video(tx: Connection, **columns: Any) -> int:
    """Make one video, ready unless the columns say otherwise; return its id."""
    return make_videos(tx, [columns])[0]


def make_videos(tx: Connection, videos: Sequence[dict[str, Any]]) -> list[int]:
    """Make videos, ready unless their columns say otherwise; return their ids in order."""
    ids: list[int] = []
    for columns in videos:
        row = {**READY, **columns}
        if "plan" in row:
            row["plan"] = Jsonb(row["plan"])
        statement = sql.SQL("INSERT INTO video ({}) VALUES ({}) RETURNING id").format(
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        )
        returned = tx.execute(statement, list(row.values())).fetchone()
        assert returned is not None
        ids.append(returned[0])
    return ids


def make_ready_videos(tx: Connection, count: int) -> list[int]:
    """Make many ready videos in one statement; return their ids."""
    statement = """
    INSERT INTO video (title, status, internal_status, video, template_id, owner_id, workspace_id)
    SELECT 'Lecture ' || n, 'completed', 'completed', 'https://cdn.example.com/' || n || '.mp4',
           1, 1, 1
    FROM generate_series(1, %s) n RETURNING id
    """
    return [row[0] for row in tx.execute(statement, (count,))]


def column(engine: Engine, video_id: int, name: str) -> Any:
    """Read one column of a video."""
    with transaction(engine) as tx:
        statement = sql.SQL("SELECT {} FROM video WHERE id = %s").format(sql.Identifier(name))
        row = tx.execute(statement, (video_id,)).fetchone()
    assert row is not None
    return row[0]
