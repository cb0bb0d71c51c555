WITH
-- the rows of the batch
c AS MATERIALIZED (SELECT value ->> 0 AS id, value ->> 1 AS version, value ->> 2 AS error, value ->> 3 AS backoff, value ->> 4 AS until, value ->> 5 AS unfinished_since FROM json_each(@c)),
-- the database time
clock AS MATERIALIZED (SELECT COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) AS now)
UPDATE hourbell_schedules AS s SET
	consecutive_failures = s.consecutive_failures + 1, last_error = c.error,
	retry_at = CASE WHEN c.until < clock.now + c.backoff THEN c.until ELSE clock.now + c.backoff END,
	unfinished_since = COALESCE(c.unfinished_since, s.unfinished_since),
	locked_at = NULL, locked_by = NULL, version = s.version + 1, updated_at = clock.now
FROM c CROSS JOIN clock
WHERE s.namespace = @namespace AND s.id = c.id AND s.version = c.version AND s.locked_by = @worker
RETURNING id
