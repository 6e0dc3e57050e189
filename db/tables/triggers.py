"""The triggers: the end of generation makes waiting commands due, and notifies the schedulers, as
commands do that were enqueued in SQL; the audit log is append-only.

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
# look once more shortly after it (worker/app/due_times.py). A transaction that is prepared for
# two-phase commit may not notify, and would keep the advisory lock: the sweep finds its commands.
NOTIFY_DUE = """
CREATE OR REPLACE FUNCTION publisher.notify_due() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF left(current_query(), 1000) ~* 'prepare\\s+transaction' THEN
        RETURN NULL;
    ELSIF pg_try_advisory_xact_lock(7305112027) THEN
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

# Runs as a transaction commits that has enqueued a command in SQL, with our role's rights. If the
# transaction was open for a while, its due commands are accepted now: they did not exist before, so
# they are not late. All of them, in their order; but not those of a SERIALIZABLE transaction: of
# two that look commands up, PostgreSQL lets one fail. For a command of a later time, the schedulers
# let a worker announce it; with another lock, so that neither notification suppresses the other.
COMMAND_COMMITTED = """
CREATE OR REPLACE FUNCTION publisher.command_committed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    committed_at timestamptz := clock_timestamp();
BEGIN
    IF NEW.due_at <= committed_at AND transaction_timestamp() < committed_at - interval '100 ms'
        AND current_setting('transaction_isolation') <> 'serializable'
    THEN
        UPDATE publisher.publish_command SET
            accepted_at = committed_at, due_at = committed_at,
            patient_until = committed_at + (patient_until - due_at)
        WHERE id = NEW.id;
    END IF;
    IF left(current_query(), 1000) ~* 'prepare\\s+transaction' THEN
        RETURN NULL;
    ELSIF NEW.due_at > committed_at THEN
        IF pg_try_advisory_xact_lock(7305112028) THEN
            PERFORM pg_notify('publisher_due', 'announce');
        END IF;
    ELSIF pg_try_advisory_xact_lock(7305112027) THEN
        PERFORM pg_notify('publisher_due', '');
    END IF;
    RETURN NULL;
END
$$
"""

ON_COMMAND_COMMITTED = """
CREATE CONSTRAINT TRIGGER publisher_command_committed
AFTER INSERT ON publisher.publish_command
DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW
WHEN (NOT NEW.is_announced)
EXECUTE FUNCTION publisher.command_committed()
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
# delete by age alone. A role that may not even append to the log, such as a platform's, may not.
PRUNE_AUDIT = """
CREATE OR REPLACE FUNCTION publisher.prune_audit_log(age interval, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    pruned bigint;
BEGIN
    IF NOT has_table_privilege(session_user, 'publisher.audit_entry', 'INSERT') THEN
        RAISE EXCEPTION 'permission denied for the audit log: nothing was deleted'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM publisher.audit_entry WHERE id IN (
        SELECT id FROM publisher.audit_entry
        WHERE at < now() - greatest(age, interval '30 days') LIMIT at_most
    );
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$
"""

AUDIT = (KEEP_AUDIT, ON_AUDIT_CHANGED, ON_AUDIT_DELETED, PRUNE_AUDIT)
