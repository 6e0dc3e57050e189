"""The trigger on videos: the end of generation makes waiting commands due.

`db.migrate` creates the function with our tables, and the trigger with the platform's.
docs/adopting.md has the trigger for other platforms.
"""

# Runs with the rights of our role, whichever role changes the video. Commands that a batch has
# locked are skipped: the batch has either locked the video too, so that no other transaction can
# have changed it, or postpones the command briefly.
VIDEO_CHANGED = """
CREATE OR REPLACE FUNCTION publisher.video_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, publisher AS $$
DECLARE
    changed_at timestamptz := clock_timestamp();
BEGIN
    UPDATE publisher.publish_command SET due_at = changed_at, fell_due_at = NULL
    WHERE id IN (
        SELECT id FROM publisher.publish_command
        WHERE video_id = NEW.id AND state = 'waiting'
        FOR UPDATE SKIP LOCKED
    );
    IF FOUND THEN
        PERFORM pg_notify('publisher_due', '');
    END IF;
    RETURN NULL;
EXCEPTION WHEN serialization_failure THEN
    -- In a stricter isolation level, another transaction has changed the command since the
    -- snapshot. The platform's transaction must not fail: the command is checked again anyway.
    RETURN NULL;
END
$$
"""

ON_VIDEO_CHANGED = """
CREATE TRIGGER publisher_video_changed
AFTER UPDATE OF status, internal_status, is_regenerating, is_active, deleted_at, video ON video
FOR EACH ROW
WHEN (
    (OLD.status, OLD.internal_status, OLD.is_regenerating, OLD.is_active, OLD.deleted_at, OLD.video)
    IS DISTINCT FROM
    (NEW.status, NEW.internal_status, NEW.is_regenerating, NEW.is_active, NEW.deleted_at, NEW.video)
    AND (
        (NEW.status = 'completed' AND NEW.internal_status = 'completed' AND NOT NEW.is_regenerating)
        OR NEW.status = 'failed' OR NEW.internal_status = 'failed'
        OR NOT NEW.is_active OR NEW.deleted_at IS NOT NULL
    )
)
EXECUTE FUNCTION publisher.video_changed()
"""
