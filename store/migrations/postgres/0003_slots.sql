-- zone_rules is a hash of the rules of the time zone with which the process
-- that stored the definition computes slots. A manual schedule has no slots.
ALTER TABLE hourbell_schedules
    ADD COLUMN zone_rules text    NOT NULL DEFAULT '',
    ADD COLUMN manual     boolean NOT NULL DEFAULT false;

-- definition_digest covers the columns that code owns. A sync combines the
-- digests of all rows, so that it finds rows that were edited by hand. The cast
-- to bytea reads backslashes as escapes, so they are doubled.
ALTER TABLE hourbell_schedules ADD COLUMN definition_digest bigint GENERATED ALWAYS AS (
    CAST(CAST('x' || left(encode(sha256(CAST(replace(
        id || chr(31) || definition_hash || chr(31) || name || chr(31) || description || chr(31) || cron
        || chr(31) || time_zone || chr(31) || zone_rules || chr(31) || CAST(manual AS text)
        || chr(31) || target_kind || chr(31) || target
        || chr(31) || CAST(CAST(EXTRACT(EPOCH FROM grace) * 1000000 AS bigint) AS text),
    chr(92), chr(92) || chr(92)) AS bytea)), 'hex'), 16) AS bit(64)) AS bigint)) STORED;

-- From now on, enabling a schedule also sets settled_through. So each enabled
-- schedule has it.
UPDATE hourbell_schedules
SET settled_through = GREATEST(settled_through, LEAST(updated_at, next_run_at - interval '1 microsecond'))
WHERE next_run_at IS NOT NULL;

INSERT INTO hourbell_migrations (version, checksum) VALUES (3, 'd09e2218f5898ff8');
