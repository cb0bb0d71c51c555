WITH
-- the rows of the batch
c AS MATERIALIZED (SELECT 
	value ->> 0 AS id,
	value ->> 1 AS version FROM json_each(@c)),
-- the database time
clock AS MATERIALIZED (SELECT COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) AS now)
UPDATE hourbell_schedules AS s SET locked_at = clock.now, locked_by = @worker, version = s.version + 1,
	unfinished_since = CASE WHEN s.unfinished_since <= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
			AND s.updated_at >= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) - @lock_ttl - s.grace
			AND s.updated_at <= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) + @lock_ttl + s.grace
		THEN s.unfinished_since ELSE COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) END, updated_at = clock.now
FROM c CROSS JOIN clock
WHERE s.namespace = @namespace AND s.id = c.id AND s.version = c.version AND s.next_run_at <= clock.now
RETURNING locked_at, id, definition_hash, next_run_at, settled_through, version, unfinished_since, consecutive_failures
