"""The publish transaction in SQL: read the facts, then write all decisions at once."""

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

from pydantic_core import to_json

from db.commands import due_times
from db.commands.failures import to_cause
from db.events import outbox
from db.events.outbox import Recorded
from db.session import Connection, to_array
from publish_worker_client.rows import to_values
from schemas.command import CommandState
from schemas.values.decision import ALREADY_PUBLISHED, FOLLOWS_AFTER, Decision, NewEvent
from schemas.values.video_facts import Names, VideoFacts

# Everything that publishing depends on, of many videos. Run it after their rows are locked: its
# snapshot then includes the writes of earlier commands. The platform's columns are cast: a prepared
# statement fails if the type of its result changes, and the platform's migrations may change one.
# Tags and engagement are grouped for all videos together: for each video alone takes twice as long.
READ_FACTS = """
SELECT v.id::bigint, v.uid::uuid, v.workspace_id::bigint, w.custom_url::text AS workspace_url,
       v.owner_id::bigint, u.username::text AS owner_username,
       u.full_name::text AS owner_full_name, v.status::text, v.internal_status::text,
       v.is_regenerating::boolean, v.is_active::boolean, v.deleted_at::timestamptz, v.video::text,
       g.detail AS failure, v.is_draft::boolean, v.updated_at::timestamptz, v.title::text,
       left(v.description::text, 65536) AS description,  -- more is in no event, nor in a request
       v.visibility::text, v.category_id::bigint, c.name::text AS category,
       v.subcategory_id::bigint, sc.name::text AS subcategory,
       coalesce(tags.ids, '{}') AS tag_ids, coalesce(tags.names, '{}') AS tags,
       v.cover_image::text, v.thumbnail::text, v.duration::int, v.generated_script::text,
       sections.contents, sections.count AS section_count, sections.seconds AS sections_seconds,
       sections.first_at AS first_section_at, sections.last_at AS last_section_at,
       coalesce(engagement.views, 0) AS views,
       coalesce(engagement.unique_viewers, 0) AS unique_viewers,
       coalesce(engagement.plays, 0) AS plays,
       coalesce(engagement.completed_plays, 0) AS completed_plays,
       coalesce(engagement.watch_seconds, 0) AS watch_seconds,
       coalesce(engagement.likes, 0) AS likes,
       coalesce(engagement.bookmarks, 0) AS bookmarks,
       coalesce(engagement.shares, 0) AS shares,
       coalesce(engagement.comments, 0) AS comments,
       coalesce(r.revision, 0) AS revision, r.custom_url, r.first_published_at, r.published_at,
       clock_timestamp() AS now
FROM video v
JOIN workspace w ON w.id = v.workspace_id
JOIN iam_user u ON u.id = v.owner_id
LEFT JOIN category c ON c.id = v.category_id
LEFT JOIN subcategory sc ON sc.id = v.subcategory_id
LEFT JOIN publisher.video_release r ON r.video_id = v.id
LEFT JOIN publisher.video_generation g ON g.video_id = v.id
LEFT JOIN (
    SELECT vt.video_id, array_agg(t.id::bigint ORDER BY t.id) AS ids,
           array_agg(t.name::text ORDER BY t.id) AS names
    FROM video_tag vt JOIN tag t ON t.id = vt.tag_id
    WHERE vt.video_id = ANY(%(ids)s::bigint[])
    GROUP BY vt.video_id
) tags ON tags.video_id = v.id
CROSS JOIN LATERAL (
    SELECT count(*) AS count, coalesce(sum(s.duration), 0)::bigint AS seconds,
           min(s.created_at)::timestamptz AS first_at, max(s.updated_at)::timestamptz AS last_at,
           jsonb_agg(s.content ORDER BY s."order")
               FILTER (WHERE v.generated_script IS NULL) AS contents
    FROM section s
    WHERE s.video_id = v.id AND s.is_active AND s.deleted_at IS NULL
) sections
LEFT JOIN (
    SELECT e.video_id,
           sum(e.views)::bigint AS views,
           sum(e.unique_viewers)::bigint AS unique_viewers,
           sum(e.plays)::bigint AS plays,
           sum(e.completed_plays)::bigint AS completed_plays,
           sum(e.watch_seconds)::bigint AS watch_seconds,
           sum(e.likes)::bigint AS likes,
           sum(e.bookmarks)::bigint AS bookmarks,
           sum(e.shares)::bigint AS shares,
           sum(e.comments)::bigint AS comments
    FROM video_engagement e
    WHERE e.video_id = ANY(%(ids)s::bigint[])
    GROUP BY e.video_id
) engagement ON engagement.video_id = v.id
WHERE v.id = ANY(%(ids)s::bigint[])
"""

# The same without what only metrics are computed from, which takes most of the time: for lists.
READ_FACTS_FOR_PLANS = """
SELECT v.id::bigint, v.uid::uuid, v.workspace_id::bigint, w.custom_url::text AS workspace_url,
       v.owner_id::bigint, u.username::text AS owner_username,
       u.full_name::text AS owner_full_name, v.status::text, v.internal_status::text,
       v.is_regenerating::boolean, v.is_active::boolean, v.deleted_at::timestamptz, v.video::text,
       g.detail AS failure, v.is_draft::boolean, v.updated_at::timestamptz, v.title::text,
       NULL AS description, v.visibility::text, NULL::bigint AS category_id, NULL AS category,
       NULL::bigint AS subcategory_id, NULL AS subcategory,
       coalesce(tags.ids, '{}') AS tag_ids, coalesce(tags.names, '{}') AS tags,
       NULL AS cover_image, NULL AS thumbnail, 0 AS duration, NULL AS generated_script,
       NULL::jsonb AS contents, 0 AS section_count, 0 AS sections_seconds,
       NULL::timestamptz AS first_section_at, NULL::timestamptz AS last_section_at,
       0 AS views, 0 AS unique_viewers, 0 AS plays, 0 AS completed_plays, 0 AS watch_seconds,
       0 AS likes, 0 AS bookmarks, 0 AS shares, 0 AS comments,
       coalesce(r.revision, 0) AS revision, r.custom_url, r.first_published_at, r.published_at,
       clock_timestamp() AS now
FROM video v
JOIN workspace w ON w.id = v.workspace_id
JOIN iam_user u ON u.id = v.owner_id
LEFT JOIN publisher.video_release r ON r.video_id = v.id
LEFT JOIN publisher.video_generation g ON g.video_id = v.id
LEFT JOIN LATERAL (
    SELECT array_agg(t.id::bigint ORDER BY t.id) AS ids,
           array_agg(t.name::text ORDER BY t.id) AS names
    FROM video_tag vt JOIN tag t ON t.id = vt.tag_id WHERE vt.video_id = v.id
) tags ON true
WHERE v.id = ANY(%(ids)s::bigint[])
"""

# Use generic plans in this transaction.
KEEP_PLANS = "SET LOCAL plan_cache_mode = force_generic_plan"

# Look up each row of a batch in an index from here on. A plan that was made while the inbox was
# small would read all of it for each batch, as long as the session keeps it.
LOOK_UP = """
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true)
"""

# The names of the ids that a batch's edits refer to.
READ_NAMES = """
SELECT 'category', id::bigint, name::text FROM category WHERE id = ANY(%(categories)s::bigint[])
UNION ALL
SELECT 'subcategory', id::bigint, name::text FROM subcategory
WHERE id = ANY(%(subcategories)s::bigint[])
UNION ALL
SELECT 'tag', id::bigint, name::text FROM tag WHERE id = ANY(%(tags)s::bigint[])
"""

# Apply edits: only the columns that a command changes.
EDIT_VIDEOS = """
UPDATE video v SET
    title = CASE WHEN e.new ? 'title' THEN e.new->>'title' ELSE v.title END,
    description = CASE WHEN e.new ? 'description' THEN e.new->>'description'
                       ELSE v.description END,
    visibility = CASE WHEN e.new ? 'visibility' THEN e.new->>'visibility' ELSE v.visibility END,
    category_id = CASE WHEN e.new ? 'category_id' THEN (e.new->>'category_id')::bigint
                       ELSE v.category_id END,
    subcategory_id = CASE WHEN e.new ? 'subcategory_id' THEN (e.new->>'subcategory_id')::bigint
                          ELSE v.subcategory_id END,
    cover_image = CASE WHEN e.new ? 'cover_image' THEN e.new->>'cover_image'
                       ELSE v.cover_image END,
    thumbnail = CASE WHEN e.new ? 'thumbnail' THEN e.new->>'thumbnail' ELSE v.thumbnail END
FROM jsonb_to_recordset(%(edits)s::jsonb) AS e(video_id bigint, new jsonb)
WHERE v.id = e.video_id
"""

# Remove the tags that are not in the command's list.
REMOVE_TAGS = """
DELETE FROM video_tag vt
USING jsonb_to_recordset(%(tags)s::jsonb) AS e(video_id bigint, tags jsonb)
WHERE vt.video_id = e.video_id AND NOT e.tags @> to_jsonb(vt.tag_id)
"""

# Add the tags of the command's list that the video does not have.
ADD_TAGS = """
INSERT INTO video_tag (video_id, tag_id)
SELECT e.video_id, tag.id::bigint
FROM jsonb_to_recordset(%(tags)s::jsonb) AS e(video_id bigint, tags jsonb),
     jsonb_array_elements_text(e.tags) AS tag(id)
WHERE NOT EXISTS (
    SELECT FROM video_tag vt WHERE vt.video_id = e.video_id AND vt.tag_id = tag.id::bigint
)
"""

# Update `is_draft`, the releases, and each command's outcome or due time. Of a command that is
# published only the id is sent: the rest follows from its row. A publication also ends later
# scheduled publish commands without edits as `unchanged`, unless an unpublish command is due before
# them. Commands that other transactions have locked end as `unchanged` when they are due.
WRITE = f"""
WITH changed AS (
    SELECT * FROM jsonb_to_recordset(%(releases)s::jsonb) AS (
        video_id bigint, short_id text, custom_url text, metrics jsonb, revision int,
        first_published_at timestamptz, published_at timestamptz, withdrawn_at timestamptz
    )
),
decided AS (
    SELECT *, false AS is_published FROM jsonb_to_recordset(%(commands)s::jsonb) AS (
        id uuid, state text, reason text, detail text, due_at timestamptz,
        checks int, attempts int, fell_due_at timestamptz, claimed_at timestamptz, ended boolean
    )
    UNION ALL
    SELECT id, 'published', NULL, NULL, NULL, NULL, NULL, NULL, %(claimed_at)s, true, true
    FROM unnest(%(published)s::uuid[]) AS published (id)
),
flipped AS (
    UPDATE video v SET is_draft = changed.withdrawn_at IS NOT NULL,
                       updated_at = coalesce(changed.withdrawn_at, changed.published_at)
    FROM changed WHERE v.id = changed.video_id
),
released AS (
    INSERT INTO publisher.video_release AS r
        (video_id, short_id, custom_url, metrics, revision, first_published_at, published_at,
         withdrawn_at)
    SELECT video_id, short_id, custom_url, metrics, revision, first_published_at, published_at,
           withdrawn_at
    FROM changed
    ON CONFLICT (video_id) DO UPDATE SET
        custom_url = excluded.custom_url, metrics = excluded.metrics,
        revision = excluded.revision, published_at = excluded.published_at,
        withdrawn_at = excluded.withdrawn_at
),
pointless AS (
    SELECT later.id FROM changed CROSS JOIN LATERAL (
        SELECT c.id FROM publisher.publish_command c
        -- As a pair, so that no plan reads all scheduled commands and filters.
        WHERE c.video_id = changed.video_id AND (c.video_id, c.due_at) > (changed.video_id, now())
          AND c.state = 'scheduled' AND c.action = 'publish' AND c.is_announced
          AND c.edits IS NULL AND c.expected_revision IS NULL AND c.expected_etag IS NULL
          AND c.id NOT IN (SELECT id FROM decided)
          AND NOT EXISTS (
              SELECT FROM publisher.publish_command u
              WHERE u.video_id = c.video_id AND u.action = 'unpublish'
                AND (u.video_id, u.due_at) <= (c.video_id, c.due_at)
                AND u.state IN ('scheduled', 'waiting')
                AND u.id NOT IN (SELECT id FROM decided WHERE ended)
          )
        FOR UPDATE SKIP LOCKED
    ) later
    WHERE changed.withdrawn_at IS NULL
),
spared AS (
    UPDATE publisher.publish_command c SET
        state = 'unchanged', reason = %(unchanged_reason)s, detail = %(unchanged_detail)s,
        finished_at = clock_timestamp()
    FROM pointless WHERE c.id = pointless.id
)
UPDATE publisher.publish_command c SET
    state = d.state, reason = d.reason, detail = d.detail,
    cause = CASE WHEN d.state = 'failed' THEN {to_cause("d.detail")} END,
    due_at = coalesce(d.due_at, c.due_at),
    checks = coalesce(d.checks, c.checks), attempts = coalesce(d.attempts, c.attempts),
    fell_due_at = CASE WHEN d.is_published THEN coalesce(c.fell_due_at, c.due_at)
                       ELSE d.fell_due_at END,
    claimed_at = d.claimed_at, finished_at = CASE WHEN d.ended THEN clock_timestamp() END,
    is_announced = true
FROM decided d
WHERE c.id = d.id
"""

# A video that is not ready is asked once for all of its commands: what waits for it, and would be
# due before it is asked again, is postponed until after that; but not beyond its own deadline.
POSTPONE_FOLLOWERS = """
WITH asked AS (
    SELECT video_id, min(due_at) AS due_at, array_agg(id) AS ids
    FROM jsonb_to_recordset(%(waiting)s::jsonb) AS (id uuid, video_id bigint, due_at timestamptz)
    GROUP BY video_id
),
follower AS (
    SELECT c.id, least(asked.due_at + %(after)s, coalesce(
        least(c.publish_before, (
            SELECT other.asked_for FROM publisher.publish_command other
            WHERE other.id = c.counterpart_id
        )),
        c.patient_until
    )) AS due_at
    FROM asked JOIN publisher.publish_command c
      ON c.video_id = asked.video_id AND (c.video_id, c.due_at) < (asked.video_id, asked.due_at)
     AND c.state = 'waiting'
    WHERE c.id <> ALL(asked.ids)
    LIMIT %(limit)s
    FOR UPDATE OF c SKIP LOCKED
)
UPDATE publisher.publish_command c SET due_at = follower.due_at
FROM follower WHERE c.id = follower.id AND c.due_at < follower.due_at
"""

MOST_FOLLOWERS = 1000
"""How many one batch postpones; others are asked themselves."""


def read_facts(tx: Connection, video_ids: Iterable[int]) -> dict[int, VideoFacts]:
    """Read the facts of many videos in one statement, by id.

    Planning these joins takes longer than reading a video, so the generic plan is reused.
    """
    return _read(tx, READ_FACTS, video_ids)


def read_facts_for_plans(tx: Connection, video_ids: Iterable[int]) -> dict[int, VideoFacts]:
    """Read what decides a publish without a body. Metrics of these facts would be 0."""
    return _read(tx, READ_FACTS_FOR_PLANS, video_ids)


def _read(
    tx: Connection, statement: LiteralString, video_ids: Iterable[int]
) -> dict[int, VideoFacts]:
    with tx.cursor(row_factory=to_values(VideoFacts), binary=True) as cursor:
        with tx.pipeline():
            tx.execute(KEEP_PLANS)
            cursor.execute(statement, {"ids": to_array(video_ids)})
        rows = cursor.fetchall()
    return {facts.id: facts for facts in rows}


def read_names(
    tx: Connection, *, categories: set[int], subcategories: set[int], tags: set[int]
) -> Names:
    """Read the names of these ids. Without ids, no statement is sent."""
    names = Names(categories={}, subcategories={}, tags={})
    if not categories and not subcategories and not tags:
        return names
    asked = {
        "categories": to_array(categories),
        "subcategories": to_array(subcategories),
        "tags": to_array(tags),
    }
    found = {"category": names.categories, "subcategory": names.subcategories, "tag": names.tags}
    for kind, key, name in tx.execute(READ_NAMES, asked):
        found[kind][key] = name
    return names


def write(
    tx: Connection, decisions: Sequence[Decision], announcements: Sequence[NewEvent] = ()
) -> Recorded | None:
    """Write all decisions in one round trip, then record their events and commit in another.

    `announcements` are recorded before: of commands of which no event was recorded yet.
    """
    events = [*announcements, *(decision.event for decision in decisions if decision.event)]
    releases = {d.video_id: d.release for d in decisions if d.release}
    edits = _merge_edits(decisions)
    published = [d for d in decisions if d.state is CommandState.PUBLISHED]
    others = [_to_command(d) for d in decisions if d.state is not CommandState.PUBLISHED]
    reason, detail = ALREADY_PUBLISHED
    document = {
        "releases": to_json(list(releases.values())).decode(),
        "commands": to_json(others).decode(),
        "published": to_array(d.command_id for d in published),
        "claimed_at": published[0].claimed_at if published else None,
        "unchanged_reason": reason,
        "unchanged_detail": detail,
    }
    with tx.pipeline():
        tx.execute(LOOK_UP)
        if edits:
            tx.execute(EDIT_VIDEOS, {"edits": to_json(edits).decode()})
            tags = to_json([_to_tags(edit) for edit in edits if "tags" in edit["new"]]).decode()
            for statement in (REMOVE_TAGS, ADD_TAGS):
                tx.execute(statement, {"tags": tags})
        tx.execute(WRITE, document)
        _postpone_followers(tx, [d for d in decisions if d.waits_until])
        due_times.notify_due(tx, [d.due_at for d in decisions if d.finished_at is None])
        texts = outbox.hand_over(tx, events)
    return outbox.append(tx, events, texts)


def _postpone_followers(tx: Connection, waiting: Sequence[Decision]) -> None:
    if waiting:
        rows = [{"id": d.command_id, "video_id": d.video_id, "due_at": d.due_at} for d in waiting]
        values = {"waiting": to_json(rows).decode(), "after": FOLLOWS_AFTER}
        tx.execute(POSTPONE_FOLLOWERS, values | {"limit": MOST_FOLLOWERS})


def _merge_edits(decisions: Iterable[Decision]) -> list[dict[str, Any]]:
    """Merge the edits by video; a later command overwrites an earlier one."""
    merged: dict[int, dict[str, object]] = {}
    for decision in decisions:
        if decision.changes:
            merged.setdefault(decision.video_id, {}).update(decision.changes)
    return [{"video_id": video_id, "new": new} for video_id, new in merged.items()]


def _to_tags(edit: dict[str, Any]) -> dict[str, Any]:
    return {"video_id": edit["video_id"], "tags": edit["new"]["tags"]}


def _to_command(decision: Decision) -> dict[str, object]:
    return {
        "id": decision.command_id,
        "state": decision.state,
        "reason": decision.reason,
        "detail": decision.detail,
        "due_at": decision.due_at,
        "checks": decision.checks,
        "attempts": decision.attempts,
        "fell_due_at": decision.fell_due_at,
        "claimed_at": decision.claimed_at,
        "ended": decision.finished_at is not None,
    }
