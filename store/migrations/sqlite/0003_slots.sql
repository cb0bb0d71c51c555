-- zone_rules is a hash of the rules of the time zone with which the process
-- that stored the definition computes slots. A manual schedule has no slots.
ALTER TABLE hourbell_schedules ADD COLUMN zone_rules text NOT NULL DEFAULT '';
ALTER TABLE hourbell_schedules ADD COLUMN manual integer NOT NULL DEFAULT 0;

-- From now on, enabling a schedule also sets settled_through. So each enabled
-- schedule has it.
UPDATE hourbell_schedules
SET settled_through = max(COALESCE(settled_through, 0), min(updated_at, next_run_at - 1))
WHERE next_run_at IS NOT NULL;

INSERT INTO hourbell_migrations (version, checksum) VALUES (3, '0d1f674d881ee5b1');
