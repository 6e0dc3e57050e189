"""The SQL functions that accept commands in the caller's transaction: `publisher.enqueue_publish`
and `publisher.enqueue_unpublish` (docs/adr/0033).

They check what `worker/enqueue` checks, in its words; `worker/enqueue/announcements.py` does the
rest. What they call is in pieces, none of which a platform's role may call. A change of parameters
needs a migration that drops the function before.
"""

from db.commands.limits import KEPT_FOR, PER_VIDEO, PER_WORKSPACE
from db.tables.local_time_function import LOCAL_TIME
from schemas.fields import MAX_NAME
from schemas.times import FIRST_YEAR, LAST_YEAR

# Refuse the request. The state is `PW` and the status with which HTTP would refuse it.
REFUSE = """
CREATE OR REPLACE FUNCTION publisher.refuse(state text, reason text, remedy text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = reason, HINT = remedy;
END
$$
"""

# A UUID of version 7 with microseconds, so that the ids of a session are in order. `uuidv7()` is
# of PostgreSQL 18.
NEW_COMMAND_ID = """
CREATE OR REPLACE FUNCTION publisher.new_command_id() RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    RETURN (
        lpad(to_hex(now / 1000), 12, '0')
        || to_hex((7 << 12) + (now % 1000) * 4096 / 1000)
        || right(replace(gen_random_uuid()::text, '-', ''), 16)
    )::uuid;
END
$$
"""

# The workspace of a video; NULL: there is no such video. It reads the platform's tables where the
# worker does: `db.migrate` sets this function's search path. Only what is qualified is safe here.
FIND_WORKSPACE = """
CREATE OR REPLACE FUNCTION publisher.find_workspace(wanted bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF pg_catalog.to_regclass('video') IS NULL THEN
        PERFORM publisher.refuse('PW503',
            'The platform''s table video was not found; nothing was enqueued.',
            'Set PLATFORM_SCHEMA to its schema, and run publish-worker migrate again.');
    END IF;
    RETURN (
        SELECT v.workspace_id::pg_catalog.int8 FROM video v
        JOIN iam_user u ON u.id OPERATOR(pg_catalog.=) v.owner_id
        WHERE v.id OPERATOR(pg_catalog.=) wanted
    );
END
$$
"""

# Refuse a time that the worker cannot represent.
CHECK_YEAR = f"""
CREATE OR REPLACE FUNCTION publisher.check_year(name text, instant timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF instant < '{FIRST_YEAR}-01-01T00:00Z' OR instant >= '{LAST_YEAR + 1}-01-01T00:00Z' THEN
        PERFORM publisher.refuse('PW422',
            format('%s must be in the years {FIRST_YEAR} to {LAST_YEAR}', name),
            'Correct it, or leave it out.');
    END IF;
END
$$
"""

CHECK_TEXT = f"""
CREATE OR REPLACE FUNCTION publisher.check_text(name text, given text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF length(given) > {MAX_NAME} THEN
        PERFORM publisher.refuse('PW422',
            format('%s must be storable text of at most {MAX_NAME} characters.', name),
            'Shorten it.');
    END IF;
END
$$
"""

# The parameters of a request, as the pieces pass them on.
_REQUEST = """
    action text, video bigint, begins timestamptz, ends timestamptz, deadline timestamptz,
    revision integer, begins_local timestamp, ends_local timestamp, zone text, fold integer"""

# Refuse what contradicts itself, before anything is read.
CHECK_REQUEST = f"""
CREATE OR REPLACE FUNCTION publisher.check_request({_REQUEST}) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong text := CASE
        WHEN video IS NULL OR video < 1 THEN 'video_id must be 1 or more'
        WHEN revision < 0 THEN 'expected_revision must be 0 or more'
        WHEN fold NOT IN (0, 1) THEN 'fold must be 0 or 1'
        WHEN begins IS NOT NULL AND begins_local IS NOT NULL
            THEN 'set either publish_at or publish_at_local, not both'
        WHEN ends IS NOT NULL AND ends_local IS NOT NULL
            THEN 'set either unpublish_at or unpublish_at_local, not both'
        WHEN coalesce(begins_local, ends_local) IS NOT NULL AND zone IS NULL
            THEN 'publish_at_local and unpublish_at_local require time_zone'
        WHEN coalesce(begins_local, ends_local) IS NULL AND (zone IS NOT NULL OR fold IS NOT NULL)
            THEN 'time_zone and fold require publish_at_local or unpublish_at_local'
    END;
BEGIN
    IF wrong IS NOT NULL THEN
        PERFORM publisher.refuse('PW422', wrong, 'Correct the arguments of the call.');
    END IF;
    PERFORM publisher.check_year('publish_at', begins);
    PERFORM publisher.check_year('unpublish_at', ends);
    PERFORM publisher.check_year('publish_before', deadline);
    PERFORM publisher.check_year('publish_at_local', begins_local AT TIME ZONE 'UTC');
    PERFORM publisher.check_year('unpublish_at_local', ends_local AT TIME ZONE 'UTC');
END
$$
"""

# Refuse times in the wrong order. Those of a window must differ, and its end lies in the future.
CHECK_ORDER = """
CREATE OR REPLACE FUNCTION publisher.check_order(
    begins timestamptz, ends timestamptz, deadline timestamptz
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF deadline <= begins THEN
        PERFORM publisher.refuse('PW422', 'publish_before must be later than publish_at',
            'Correct one of the two.');
    ELSIF ends <= greatest(begins, clock_timestamp()) THEN
        PERFORM publisher.refuse('PW422',
            'unpublish_at must lie in the future, and later than publish_at',
            'Correct one of the two, or call enqueue_unpublish.');
    END IF;
END
$$
"""

# The command of an earlier call with this key; NULL: there is none. The key of another request is
# refused.
RECALL = """
CREATE OR REPLACE FUNCTION publisher.recall(caller text, given text, wanted bytea) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first record;
BEGIN
    SELECT k.digest, k.command_ids INTO first FROM publisher.idempotency_key k
    WHERE k.scope = caller AND k.key = given;
    IF first.digest <> wanted THEN
        PERFORM publisher.refuse('PW409', 'This idempotency_key was used for another request.',
            'Use a new key for each request.');
    END IF;
    RETURN first.command_ids[1];
END
$$
"""

# Refuse more open commands than a video or a workspace may have. A transaction counts a workspace
# once, and adds its own commands: each call that counted again would read the commands of all calls
# before. A SERIALIZABLE transaction counts nothing: of two that count and insert at the same time,
# PostgreSQL lets one fail. The count that the worker or the API keeps limits every transaction: a
# session may set what this one has counted.
CHECK_LIMITS = f"""
CREATE OR REPLACE FUNCTION publisher.check_limits(
    video bigint, workspace bigint, commands integer
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    more text := '%s %s may have %s open commands and has %s; %s more would be too many.';
    remedy text := 'Wait until some have ended, or cancel some.';
    counts boolean := current_setting('transaction_isolation') <> 'serializable';
    of_video bigint := CASE WHEN counts THEN (
        SELECT count(*) FROM (
            SELECT FROM publisher.publish_command c
            WHERE c.video_id = video AND c.state IN ('scheduled', 'waiting') LIMIT {PER_VIDEO}
        ) counted
    ) ELSE 0 END;
    counted text[] := regexp_match(
        current_setting('publisher.counted', true), '^([0-9]{{1,18}}) ([0-9]{{1,9}})$'
    );
    of_workspace bigint;
BEGIN
    IF of_video + commands > {PER_VIDEO} THEN
        PERFORM publisher.refuse('PW429',
            format(more, 'Video', video, {PER_VIDEO}, of_video, commands), remedy);
    END IF;
    IF counted[1] IS DISTINCT FROM workspace::text THEN
        counted := NULL;
    END IF;
    of_workspace := greatest(
        counted[2]::bigint, publisher.count_open(workspace, counts AND counted IS NULL)
    );
    IF of_workspace + commands > {PER_WORKSPACE} THEN
        PERFORM publisher.refuse('PW429',
            format(more, 'Workspace', workspace, {PER_WORKSPACE}, of_workspace, commands), remedy);
    END IF;
    PERFORM set_config('publisher.counted', workspace || ' ' || of_workspace + commands, true);
END
$$
"""

# The open commands of a workspace: the kept count, or a new one unless `counts` is false.
COUNT_OPEN = f"""
CREATE OR REPLACE FUNCTION publisher.count_open(workspace bigint, counts boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((
        SELECT kept.commands FROM publisher.open_command_count kept
        WHERE kept.workspace_id = workspace
          AND kept.counted_at > clock_timestamp() - interval '{KEPT_FOR.total_seconds():g} seconds'
    ), CASE WHEN counts THEN (
        SELECT count(*) FROM (
            SELECT FROM publisher.publish_command c
            WHERE c.workspace_id = workspace AND c.state IN ('scheduled', 'waiting')
            LIMIT {PER_WORKSPACE}
        ) counted
    ) ELSE 0 END);
END
$$
"""

# Refuse a video that does not exist for the caller, or is at another revision; return its
# workspace.
CHECK_VIDEO = """
CREATE OR REPLACE FUNCTION publisher.check_video(
    video bigint, confined_to bigint, expected integer
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    workspace bigint := publisher.find_workspace(video);
    current integer;
BEGIN
    IF workspace IS NULL OR workspace <> confined_to THEN
        PERFORM publisher.refuse('PW404', format('There is no video %s.', video),
            'Check video_id, and workspace_id if you set it.');
    END IF;
    IF expected IS NOT NULL THEN
        current := coalesce(
            (SELECT r.revision FROM publisher.video_release r WHERE r.video_id = video), 0
        );
        IF current <> expected THEN
            PERFORM publisher.refuse('PW412',
                format('Video %s was changed since the version that was expected.', video),
                format('It is at revision %s. Look at it again before you expect that one.',
                       current));
        END IF;
    END IF;
    RETURN workspace;
END
$$
"""

# Insert a command of a request. It is accepted now: the transaction may have begun long ago.
INSERT_COMMAND = """
CREATE OR REPLACE FUNCTION publisher.insert_command(
    id uuid, action text, video bigint, workspace bigint, at timestamptz, local_time timestamp,
    zone text, fold integer, deadline timestamptz, expected integer, counterpart uuid,
    correlation text, trace text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    accepted timestamptz := clock_timestamp();
    due timestamptz := greatest(at, accepted);
BEGIN
    INSERT INTO publisher.publish_command
        (id, action, video_id, workspace_id, trigger, accepted_at, asked_for, local_time, time_zone,
         fold, zone_digest, due_at, publish_before, patient_until, expected_revision,
         counterpart_id, correlation_id, traceparent, is_announced)
    VALUES
        (id, action, video, workspace, 'pipeline', accepted, at, local_time,
         CASE WHEN local_time IS NOT NULL THEN zone END,
         CASE WHEN local_time IS NOT NULL THEN fold END,
         CASE WHEN local_time IS NOT NULL THEN '' END,
         due, deadline, due + interval '24 hours', expected, counterpart, correlation, trace,
         false);
END
$$
"""

# Accept a request: replay it, refuse it, or insert its commands; return the id of the first one.
ACCEPT = f"""
CREATE OR REPLACE FUNCTION publisher.accept({_REQUEST},
    confined_to bigint, correlation text, request_key text, trace text
) RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller text := 'sql:' || session_user;
    digest bytea;
    workspace bigint;
    first uuid;
    second uuid;
BEGIN
    PERFORM publisher.check_request(action, video, begins, ends, deadline, revision, begins_local,
                                    ends_local, zone, fold);
    PERFORM publisher.check_text('correlation_id', correlation);
    PERFORM publisher.check_text('idempotency_key', request_key);
    PERFORM publisher.check_text('traceparent', trace);
    IF request_key IS NOT NULL THEN
        digest := sha256(convert_to(jsonb_build_array(
            action, video, begins AT TIME ZONE 'UTC', ends AT TIME ZONE 'UTC',
            deadline AT TIME ZONE 'UTC', revision, begins_local, ends_local, zone, fold
        )::text, 'UTF8'));
        first := publisher.recall(caller, request_key, digest);
        IF first IS NOT NULL THEN
            RETURN first;
        END IF;
    END IF;
    IF begins_local IS NOT NULL THEN
        begins := publisher.to_instant('publish_at_local', begins_local, zone, fold);
    END IF;
    IF ends_local IS NOT NULL THEN
        ends := publisher.to_instant('unpublish_at_local', ends_local, zone, fold);
    END IF;
    IF action = 'publish' THEN
        PERFORM publisher.check_order(begins, ends, deadline);
    END IF;
    workspace := publisher.check_video(video, confined_to, revision);
    first := publisher.new_command_id();
    IF action = 'publish' AND ends IS NOT NULL THEN
        second := publisher.new_command_id();
    END IF;
    PERFORM publisher.check_limits(video, workspace, CASE WHEN second IS NULL THEN 1 ELSE 2 END);
    IF request_key IS NOT NULL THEN
        INSERT INTO publisher.idempotency_key (scope, key, digest, command_ids)
        VALUES (caller, request_key, digest, array_remove(ARRAY[first, second], NULL))
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN  -- another transaction has stored it since
            RETURN publisher.recall(caller, request_key, digest);
        END IF;
    END IF;
    correlation := coalesce(correlation, first::text);
    trace := substring(trace FROM
        '^(?!ff)[0-9a-f]{{2}}-(?!0{{32}})[0-9a-f]{{32}}-(?!0{{16}})[0-9a-f]{{16}}-[0-9a-f]{{2}}$');
    PERFORM publisher.insert_command(
        first, action, video, workspace, CASE action WHEN 'publish' THEN begins ELSE ends END,
        CASE action WHEN 'publish' THEN begins_local ELSE ends_local END, zone, fold, deadline,
        revision, second, correlation, trace);
    IF second IS NOT NULL THEN
        PERFORM publisher.insert_command(
            second, 'unpublish', video, workspace, ends, ends_local, zone, fold, NULL, NULL, first,
            correlation, trace);
    END IF;
    RETURN first;
END
$$
"""

# The two functions for platforms. They run with the rights of the owner of our tables.
ENQUEUE_PUBLISH = """
CREATE OR REPLACE FUNCTION publisher.enqueue_publish(
    video_id bigint,
    publish_at timestamptz DEFAULT NULL,
    unpublish_at timestamptz DEFAULT NULL,
    publish_before timestamptz DEFAULT NULL,
    expected_revision integer DEFAULT NULL,
    publish_at_local timestamp DEFAULT NULL,
    unpublish_at_local timestamp DEFAULT NULL,
    time_zone text DEFAULT NULL,
    fold integer DEFAULT NULL,
    workspace_id bigint DEFAULT NULL,
    correlation_id text DEFAULT NULL,
    idempotency_key text DEFAULT NULL,
    traceparent text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN publisher.accept(
        'publish', video_id, publish_at, unpublish_at, publish_before, expected_revision,
        publish_at_local, unpublish_at_local, time_zone, fold, workspace_id, correlation_id,
        idempotency_key, traceparent);
END
$$
"""

ENQUEUE_UNPUBLISH = """
CREATE OR REPLACE FUNCTION publisher.enqueue_unpublish(
    video_id bigint,
    unpublish_at timestamptz DEFAULT NULL,
    expected_revision integer DEFAULT NULL,
    unpublish_at_local timestamp DEFAULT NULL,
    time_zone text DEFAULT NULL,
    fold integer DEFAULT NULL,
    workspace_id bigint DEFAULT NULL,
    correlation_id text DEFAULT NULL,
    idempotency_key text DEFAULT NULL,
    traceparent text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN publisher.accept(
        'unpublish', video_id, NULL, unpublish_at, NULL, expected_revision, NULL,
        unpublish_at_local, time_zone, fold, workspace_id, correlation_id, idempotency_key,
        traceparent);
END
$$
"""

# No role but the owner may call them, until it is granted.
REVOKE = """
DO $do$
DECLARE
    name regprocedure;
BEGIN
    FOR name IN
        SELECT oid FROM pg_proc WHERE pronamespace = 'publisher'::regnamespace
          AND prorettype <> 'trigger'::regtype AND proname <> 'prune_audit_log'
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', name);
    END LOOP;
END
$do$
"""

# Let `find_workspace` read the platform's tables where this session does, if it does not yet.
FOLLOW_SEARCH_PATH = """
DO $do$
DECLARE
    path text := format(
        'pg_catalog, %I, public, pg_temp',
        btrim(split_part(current_setting('search_path'), ',', 1), ' "')
    );
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_proc WHERE oid = 'publisher.find_workspace(bigint)'::regprocedure
          AND proconfig = ARRAY['search_path=' || path]
    ) THEN
        EXECUTE 'ALTER FUNCTION publisher.find_workspace(bigint) SET search_path = ' || path;
    END IF;
END
$do$
"""

ENQUEUE = (
    REFUSE,
    NEW_COMMAND_ID,
    FIND_WORKSPACE,
    CHECK_YEAR,
    CHECK_TEXT,
    *LOCAL_TIME,
    CHECK_REQUEST,
    CHECK_ORDER,
    RECALL,
    COUNT_OPEN,
    CHECK_LIMITS,
    CHECK_VIDEO,
    INSERT_COMMAND,
    ACCEPT,
    ENQUEUE_PUBLISH,
    ENQUEUE_UNPUBLISH,
    REVOKE,
)
