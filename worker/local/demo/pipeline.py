"""The demo's render pipeline: plays the platform's part, which finishes a video some day."""

from sqlalchemy import Engine

from db.session import transaction

# What the platform's pipeline writes once rendering is through.
COMPLETE = """
UPDATE video SET status = 'completed', internal_status = 'completed', generation_progress = 100,
       is_regenerating = false, updated_at = now(),
       duration = coalesce(duration, (
           SELECT sum(section.duration) FROM section WHERE section.video_id = video.id
       )),
       video = 'https://cdn.example.com/videos/' || uid || '.mp4'
WHERE id = %(id)s
"""


def complete(engine: Engine, video_id: int) -> None:
    """Complete a video's generation, in the database that it shares with the worker."""
    with transaction(engine) as tx:
        tx.execute(COMPLETE, {"id": video_id})
