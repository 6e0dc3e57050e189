"""Reading the platform's videos: whose they are, what edits may refer to, the whole resource."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, dict_row

from db.session import Connection, array_of
from schemas.video import VideoInput

# Whose videos these are, and in which version.
READ_IDENTITIES = """
SELECT v.id, v.workspace_id, v.owner_id, u.username AS owner_username, u.email AS owner_email,
       v.updated_at, coalesce(r.revision, 0) AS revision
FROM video v
JOIN iam_user u ON u.id = v.owner_id
LEFT JOIN publisher.video_release r ON r.video_id = v.id
WHERE v.id = ANY(%(ids)s::bigint[])
"""

# What there is of the categories, subcategories (with their category) and tags asked about.
READ_REFERENCES = """
SELECT 'category', id, NULL::bigint FROM category WHERE id = ANY(%(categories)s::bigint[])
UNION ALL
SELECT 'subcategory', id, category_id FROM subcategory
WHERE id = ANY(%(subcategories)s::bigint[])
UNION ALL
SELECT 'tag', id, NULL FROM tag WHERE id = ANY(%(tags)s::bigint[])
"""

# The whole resource, field by field as documented; the team's internal notes are not read.
READ_RESOURCE = """
SELECT v.id, v.uid, v.created_at, v.updated_at, v.deleted_at, v.is_active,
       v.created_by, v.updated_by, v.deleted_by, v.title, v.description, v.cover_image,
       v.thumbnail, v.generated_script, v.generation_progress, v.status, v.internal_status,
       v.is_regenerating, v.duration, v.visibility, v.is_draft, v.plan,
       coalesce(v.video, '') AS video,
       v.source_experience_id AS source_experience,
       v.workspace_id AS workspace,
       v.category_id AS category, coalesce(c.name, '') AS category_name,
       v.subcategory_id AS subcategory, coalesce(sc.name, '') AS subcategory_name,
       jsonb_build_object('id', t.id, 'name', t.name, 'description', t.description,
                          'thumbnail', t.thumbnail) AS template,
       jsonb_build_object('id', u.id, 'email', u.email, 'full_name', u.full_name,
                          'username', u.username, 'is_verified', u.is_verified,
                          'profile_picture', (
                              SELECT d.profile_picture FROM iam_user_detail d
                              WHERE d.user_id = u.id ORDER BY d.id LIMIT 1
                          )) AS owner,
       u.username AS owner_username,
       coalesce(r.custom_url, '') AS custom_url,
       r.metrics AS metrics,
       coalesce(r.revision, 0) AS revision,
       coalesce((
           SELECT jsonb_agg(jsonb_build_object('id', tag.id, 'name', tag.name) ORDER BY tag.id)
           FROM video_tag vt JOIN tag ON tag.id = vt.tag_id WHERE vt.video_id = v.id
       ), '[]') AS tag_list,
       coalesce((
           SELECT jsonb_agg(jsonb_build_object(
               'id', s.id, 'uid', s.uid, 'created_at', s.created_at, 'updated_at', s.updated_at,
               'deleted_at', s.deleted_at, 'is_active', s.is_active,
               'created_by', s.created_by, 'updated_by', s.updated_by,
               'deleted_by', s.deleted_by, 'alignment_data', s.alignment_data,
               'audio_ready', s.audio_ready, 'visuals_ready', s.visuals_ready,
               'is_assembling', s.is_assembling, 'order', s."order", 'title', s.title,
               'content', s.content, 'duration', s.duration, 'video_file', s.video_file,
               'audio_file', s.audio_file, 'thumbnail', s.thumbnail,
               'section_summary', s.section_summary
           ) ORDER BY s."order", s.id)
           FROM section s WHERE s.video_id = v.id AND s.deleted_at IS NULL
       ), '[]') AS sections
FROM video v
JOIN template t ON t.id = v.template_id
JOIN iam_user u ON u.id = v.owner_id
LEFT JOIN category c ON c.id = v.category_id
LEFT JOIN subcategory sc ON sc.id = v.subcategory_id
LEFT JOIN publisher.video_release r ON r.video_id = v.id
WHERE v.id = %(id)s
  AND (%(workspace_id)s::bigint IS NULL OR v.workspace_id = %(workspace_id)s)
"""

# The path at which a video is to be found now, given the short id of any of its URLs.
FIND_RELEASE = """
SELECT r.custom_url FROM publisher.video_release r JOIN video v ON v.id = r.video_id
WHERE r.short_id = %(short_id)s AND r.withdrawn_at IS NULL
  AND NOT v.is_draft AND v.is_active AND v.deleted_at IS NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoIdentity:
    """Whose a video is."""

    id: int
    workspace_id: int
    owner_id: int
    owner_username: str
    owner_email: str
    updated_at: datetime
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What exists of the things that edits refer to."""

    categories: set[int]
    subcategories: dict[int, int]
    """Each with its category."""
    tags: set[int]


def read_identities(tx: Connection, video_ids: Iterable[int]) -> dict[int, VideoIdentity]:
    """Read whose videos these are, by id; unknown ones are left out."""
    with tx.cursor(row_factory=class_row(VideoIdentity)) as cursor:
        rows = cursor.execute(READ_IDENTITIES, {"ids": array_of(video_ids)}).fetchall()
    return {video.id: video for video in rows}


def read_references(tx: Connection, bodies: Iterable[VideoInput]) -> References:
    """Read which of the categories, subcategories and tags in these bodies exist."""
    bodies = list(bodies)
    found = References(categories=set(), subcategories={}, tags=set())
    asked = {
        "categories": array_of({body.category for body in bodies if body.category}),
        "subcategories": array_of({body.subcategory for body in bodies if body.subcategory}),
        "tags": array_of({tag for body in bodies for tag in body.tags}),
    }
    for kind, key, parent in tx.execute(READ_REFERENCES, asked):
        match kind:
            case "category":
                found.categories.add(key)
            case "subcategory":
                found.subcategories[key] = parent
            case _:
                found.tags.add(key)
    return found


def read_resource(tx: Connection, video_id: int, workspace_id: int | None) -> dict[str, Any] | None:
    """Read the whole resource as a row; None if there is none in the caller's workspace."""
    with tx.cursor(row_factory=dict_row) as cursor:
        values = {"id": video_id, "workspace_id": workspace_id}
        return cursor.execute(READ_RESOURCE, values).fetchone()


def find_release(tx: Connection, short_id: str) -> str | None:
    """Find the path at which a published video is now; None if it is not out."""
    row = tx.execute(FIND_RELEASE, {"short_id": short_id}).fetchone()
    return row[0] if row else None
