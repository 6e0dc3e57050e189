"""Look-ups in SQL: references of edits, the Video resource, the paths of releases."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from db.session import Answer, Connection, to_array
from schemas.values.caller import Caller
from schemas.video import VideoInput

# The categories, subcategories (with their category) and tags among these that exist.
READ_REFERENCES = """
SELECT 'category', id::bigint, NULL::bigint FROM category WHERE id = ANY(%(categories)s::bigint[])
UNION ALL
SELECT 'subcategory', id::bigint, category_id::bigint FROM subcategory
WHERE id = ANY(%(subcategories)s::bigint[])
UNION ALL
SELECT 'tag', id::bigint, NULL FROM tag WHERE id = ANY(%(tags)s::bigint[])
"""

# The Video resource as documented, without the team's internal notes. It is never prepared: the
# platform's migrations may change the types of its columns.
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

# The current path of a published video that the caller may see, by the short id in its URLs.
FIND_RELEASE = """
SELECT r.custom_url FROM publisher.video_release r JOIN video v ON v.id = r.video_id
WHERE r.short_id = %(short_id)s AND r.withdrawn_at IS NULL
  AND NOT v.is_draft AND v.is_active AND v.deleted_at IS NULL
  AND (v.visibility = 'public' OR %(is_member)s
       AND (%(workspace_id)s::bigint IS NULL OR v.workspace_id = %(workspace_id)s))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """The existing categories, subcategories and tags that edits refer to."""

    categories: set[int]
    subcategories: dict[int, int]
    """Subcategory id to category id."""
    tags: set[int]


def read_references(tx: Connection, bodies: Iterable[VideoInput]) -> Answer[References]:
    """Read the categories, subcategories and tags in these bodies that exist."""
    bodies = list(bodies)
    asked = {
        "categories": to_array({body.category for body in bodies if body.category}),
        "subcategories": to_array({body.subcategory for body in bodies if body.subcategory}),
        "tags": to_array({tag for body in bodies for tag in body.tags or ()}),
    }
    cursor = tx.execute(READ_REFERENCES, asked)

    def read_answer() -> References:
        found = References(categories=set(), subcategories={}, tags=set())
        for kind, key, parent in cursor:
            match kind:
                case "category":
                    found.categories.add(key)
                case "subcategory":
                    found.subcategories[key] = parent
                case _:
                    found.tags.add(key)
        return found

    return read_answer


def read_resource(tx: Connection, video_id: int, workspace_id: int | None) -> dict[str, Any] | None:
    """Read the Video resource as a row. None: not in the workspace (None: any workspace)."""
    with tx.cursor(row_factory=dict_row) as cursor:
        values = {"id": video_id, "workspace_id": workspace_id}
        return cursor.execute(READ_RESOURCE, values, prepare=False).fetchone()


def find_release(tx: Connection, short_id: str, member: Caller | None) -> str | None:
    """Find the current path of a published video, a public one or one of the `member`'s workspace.

    None: unknown, not published, or not for this caller.
    """
    values = {
        "short_id": short_id,
        "is_member": member is not None,
        "workspace_id": member and member.workspace_id,
    }
    row = tx.execute(FIND_RELEASE, values).fetchone()
    return row[0] if row else None
