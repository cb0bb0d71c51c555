WITH
-- the rows of the batch
c AS MATERIALIZED (SELECT 
	value ->> 0 AS id,
	value ->> 1 AS version,
	value ->> 2 AS hash,
	value ->> 3 AS fired,
	value ->> 4 AS through,
	value ->> 5 AS next FROM json_each(@c)),
-- the database time
clock AS MATERIALIZED (SELECT COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) AS now)
UPDATE hourbell_schedules AS s SET
	next_run_at = c.next, settled_through = CASE WHEN s.settled_through > c.through THEN s.settled_through ELSE c.through END,
	last_run_at = CASE WHEN c.fired IS NULL THEN s.last_run_at ELSE clock.now END,
	last_scheduled_for = COALESCE(c.fired, s.last_scheduled_for),
	consecutive_failures = CASE WHEN c.fired IS NULL THEN s.consecutive_failures ELSE 0 END,
	last_error = CASE WHEN c.fired IS NULL THEN s.last_error ELSE '' END,
	locked_at = NULL, locked_by = NULL, version = s.version + 1, unfinished_since = NULL, retry_at = NULL, updated_at = clock.now
FROM c CROSS JOIN clock
WHERE s.namespace = @namespace AND s.id = c.id
	AND s.version = c.version AND s.locked_by = @worker
	AND s.definition_hash = c.hash AND c.through <= clock.now
RETURNING id
