WITH
-- the database time
clock AS MATERIALIZED (SELECT COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) AS now)
SELECT COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000), count(*),
	count(*) FILTER (WHERE removed_at IS NULL AND enabled AND NOT manual),
	count(*) FILTER (WHERE removed_at IS NULL AND NOT enabled AND NOT manual),
	count(*) FILTER (WHERE removed_at IS NULL AND enabled AND next_run_at + grace < COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
		AND next_run_at < COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)),
	count(*) FILTER (WHERE removed_at IS NULL AND NOT manual AND consecutive_failures > 0),
	count(*) FILTER (WHERE removed_at IS NULL AND manual),
	count(*) FILTER (WHERE removed_at IS NOT NULL)
FROM hourbell_schedules
WHERE namespace = @namespace
	AND id IN (SELECT value FROM json_each(@ids))
	AND lower(id || ' ' || name || ' ' || description || ' ' || target)
		LIKE lower(CAST(@pattern AS text)) ESCAPE '!'
