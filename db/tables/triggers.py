"""The triggers: the end of generation makes waiting commands due, and notifies the schedulers; the
audit log is append-only.

`db.migrate` creates the functions and the trigger on commands with our tables, and the trigger on
videos with the platform's. docs/adopting.md has that one for other platforms.
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
    RETURN NULL;
EXCEPTION WHEN serialization_failure THEN
    -- In a stricter isolation level, another transaction has changed the command since the
    -- snapshot. The platform's transaction must not fail: the command is checked again anyway.
    RETURN NULL;
END
$$
"""

# A transaction that notifies holds a lock of the whole database until its commit is on disk, so
# such commits would follow each other one by one. At most one notifies at a time: the schedulers
# look once more shortly after it (worker/app/due_times.py).
NOTIFY_DUE = """
CREATE OR REPLACE FUNCTION publisher.notify_due() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF pg_try_advisory_xact_lock(7305112027) THEN
        PERFORM pg_notify('publisher_due', '');
    END IF;
    RETURN NULL;
END
$$
"""

# Deferred, so that the advisory lock is held during the commit only, however long the platform's
# transaction is. Only `video_changed` makes a command due that waits.
ON_WAIT_ENDED = """
CREATE CONSTRAINT TRIGGER publisher_wait_ended
AFTER UPDATE OF due_at ON publisher.publish_command
DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW
WHEN (NEW.state = 'waiting' AND NEW.fell_due_at IS NULL)
EXECUTE FUNCTION publisher.notify_due()
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

# Also for the owner of the table. Entries that are younger than 30 days stay, whatever the setting.
KEEP_AUDIT = """
CREATE FUNCTION publisher.keep_audit_entry() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.at < now() - interval '30 days' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only: nothing was changed'
        USING ERRCODE = 'restrict_violation',
              HINT = 'Entries older than AUDIT_KEEP_DAYS are deleted by retention.';
END
$$
"""

ON_AUDIT_CHANGED = """
CREATE TRIGGER publisher_audit_changed
BEFORE UPDATE OR TRUNCATE ON publisher.audit_entry
FOR EACH STATEMENT
EXECUTE FUNCTION publisher.keep_audit_entry()
"""

ON_AUDIT_DELETED = """
CREATE TRIGGER publisher_audit_deleted
BEFORE DELETE ON publisher.audit_entry
FOR EACH ROW
EXECUTE FUNCTION publisher.keep_audit_entry()
"""

# Runs with the rights of the table's owner, so that the worker's role needs none to delete: it can
# delete by age alone.
PRUNE_AUDIT = """
CREATE FUNCTION publisher.prune_audit_log(age interval, at_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH pruned AS (
        DELETE FROM publisher.audit_entry WHERE id IN (
            SELECT id FROM publisher.audit_entry
            WHERE at < now() - greatest(age, interval '30 days') LIMIT at_most
        )
        RETURNING id
    )
    SELECT count(*) FROM pruned
$$
"""

AUDIT = (KEEP_AUDIT, ON_AUDIT_CHANGED, ON_AUDIT_DELETED, PRUNE_AUDIT)
