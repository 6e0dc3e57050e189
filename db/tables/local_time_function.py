"""The SQL function that converts a wall-clock time, by the server's own time-zone data.

As `worker/rules/local_time.py` does, and in its words: a time that the clocks skip is refused, and
so is one that they show twice, unless `fold` chooses. tests/integration/enqueue/test_sql_times.py
compares the two.
"""

# Refuse a name that is not IANA's, and let the function's session have this time zone. PostgreSQL
# ignores case and reads POSIX rules such as `FOO+3`, which always have a digit. Reading all names
# takes milliseconds, so only a name with a digit is looked up.
USE_ZONE = r"""
CREATE OR REPLACE FUNCTION publisher.use_zone(zone text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_known boolean := zone ~ '^[A-Z][A-Za-z0-9_+/-]*$' AND length(zone) <= 64
                        AND zone <> 'Factory';
BEGIN
    IF is_known THEN
        BEGIN
            PERFORM set_config('TimeZone', zone, true);
            is_known := current_setting('TimeZone') = zone AND (
                zone !~ '[0-9]' OR EXISTS (SELECT FROM pg_timezone_names WHERE name = zone)
            );
        EXCEPTION WHEN invalid_parameter_value THEN
            is_known := false;
        END;
    END IF;
    IF NOT is_known THEN
        PERFORM publisher.refuse('PW422',
            format('time_zone %L must be an IANA time zone, such as Europe/Berlin', zone),
            'Upper and lower case count. See the view pg_timezone_names.');
    END IF;
END
$$
"""

# The instant that a local time means. `name` is the parameter, for the error. Its clock may have
# changed a day before or after: the longest skip, of a date line, takes 24 hours.
TO_INSTANT = """
CREATE OR REPLACE FUNCTION publisher.to_instant(
    name text, local_time timestamp, zone text, fold integer
) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    as_utc timestamptz := local_time AT TIME ZONE 'UTC';
    near timestamptz;
    earlier timestamptz;
    later timestamptz;
BEGIN
    PERFORM publisher.use_zone(zone);
    near := local_time::timestamptz;
    earlier := as_utc - publisher.offset_at(near - interval '26 hours');
    later := as_utc - publisher.offset_at(near + interval '26 hours');
    IF earlier = later THEN
        RETURN earlier;
    ELSIF earlier::timestamp = local_time AND later::timestamp = local_time THEN
        IF fold IS NULL THEN
            PERFORM publisher.refuse('PW422', format(
                '%s: %s exists twice in %s; set fold 0 for the first (%s) or fold 1 for the second '
                '(%s)', name, to_char(local_time, 'YYYY-MM-DD"T"HH24:MI:SS'), zone,
                to_char(earlier, 'YYYY-MM-DD"T"HH24:MI:SSTZH:TZM'),
                to_char(later, 'YYYY-MM-DD"T"HH24:MI:SSTZH:TZM')
            ), 'Call it again with fold => 0 or fold => 1.');
        END IF;
        RETURN CASE fold WHEN 1 THEN later ELSE earlier END;
    ELSIF earlier::timestamp = local_time THEN
        RETURN earlier;
    ELSIF later::timestamp = local_time THEN
        RETURN later;
    END IF;
    -- The clocks skip it: the offset before the skip leads to an instant after it.
    near := publisher.find_transition(later, earlier);
    PERFORM publisher.refuse('PW422', format(
        '%s: %s does not exist in %s, where the clocks skip it; the nearest times that do are %s '
        'and %s', name, to_char(local_time, 'YYYY-MM-DD"T"HH24:MI:SS'), zone,
        to_char(near - interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS'),
        to_char(near, 'YYYY-MM-DD"T"HH24:MI:SS')
    ), 'Call it again with a time that exists.');
END
$$
"""

# The offset from UTC at an instant, in the session's time zone.
OFFSET_AT = """
CREATE OR REPLACE FUNCTION publisher.offset_at(instant timestamptz) RETURNS interval
LANGUAGE sql STABLE AS $$ SELECT instant::timestamp - (instant AT TIME ZONE 'UTC') $$
"""

# The first second after `low` with the offset of `high`, in the session's time zone.
FIND_TRANSITION = """
CREATE OR REPLACE FUNCTION publisher.find_transition(low timestamptz, high timestamptz)
RETURNS timestamptz LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    after interval := publisher.offset_at(high);
    first bigint := floor(extract(epoch FROM low));
    last bigint := floor(extract(epoch FROM high));
    middle bigint;
BEGIN
    WHILE last - first > 1 LOOP
        middle := (first + last) / 2;
        IF publisher.offset_at(to_timestamp(middle)) = after THEN
            last := middle;
        ELSE
            first := middle;
        END IF;
    END LOOP;
    RETURN to_timestamp(last);
END
$$
"""

LOCAL_TIME = (OFFSET_AT, FIND_TRANSITION, USE_ZONE, TO_INSTANT)
