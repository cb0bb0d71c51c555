-- zone_rules is a hash of the rules of the time zone with which the process
-- that stored the definition computes slots. A manual schedule has no slots.
ALTER TABLE hourbell_schedules ADD COLUMN zone_rules text NOT NULL DEFAULT '';
ALTER TABLE hourbell_schedules ADD COLUMN manual integer NOT NULL DEFAULT 0;

-- definition_digest covers the columns that code owns. A sync combines the
-- digests of all rows, so that it finds rows that were edited by hand. SQLite
-- has no hash function: the process that writes the row computes the digest,
-- and an edit clears it.
ALTER TABLE hourbell_schedules ADD COLUMN definition_digest integer NOT NULL DEFAULT 0;

CREATE TRIGGER hourbell_schedules_edited
AFTER UPDATE OF definition_hash, name, description, cron, time_zone, zone_rules, manual, target_kind, target, grace
ON hourbell_schedules
WHEN NEW.definition_digest = OLD.definition_digest
    AND (NEW.definition_hash, NEW.name, NEW.description, NEW.cron, NEW.time_zone, NEW.zone_rules, NEW.manual,
        NEW.target_kind, NEW.target, NEW.grace)
    IS NOT (OLD.definition_hash, OLD.name, OLD.description, OLD.cron, OLD.time_zone, OLD.zone_rules, OLD.manual,
        OLD.target_kind, OLD.target, OLD.grace)
BEGIN
    UPDATE hourbell_schedules SET definition_digest = 0 WHERE namespace = NEW.namespace AND id = NEW.id;
END;

-- From now on, enabling a schedule also sets settled_through. So each enabled
-- schedule has it.
UPDATE hourbell_schedules
SET settled_through = max(COALESCE(settled_through, 0), min(updated_at, next_run_at - 1))
WHERE next_run_at IS NOT NULL;

INSERT INTO hourbell_migrations (version, checksum) VALUES (3, 'a330b78f048b2bec');
