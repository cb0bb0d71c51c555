WITH
-- the rows of the batch
c AS MATERIALIZED (SELECT value ->> 0 AS id, value ->> 1 AS version FROM json_each(@c)),
-- the database time
clock AS MATERIALIZED (SELECT COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) AS now)
UPDATE hourbell_schedules AS s SET locked_at = NULL, locked_by = NULL, version = s.version + 1, updated_at = clock.now
FROM c CROSS JOIN clock
WHERE s.namespace = @namespace AND s.id = c.id AND s.version = c.version AND s.locked_by = @worker
