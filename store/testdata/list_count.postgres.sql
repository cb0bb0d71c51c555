-- $1 = now
-- $2 = namespace
-- $3 = ids
-- $4 = pattern

WITH
-- the database time
clock AS MATERIALIZED (SELECT COALESCE(CAST($1 AS timestamptz), clock_timestamp()) AS now)
SELECT (SELECT now FROM clock), count(*),
	count(*) FILTER (WHERE removed_at IS NULL AND enabled AND NOT manual),
	count(*) FILTER (WHERE removed_at IS NULL AND NOT enabled AND NOT manual),
	count(*) FILTER (WHERE removed_at IS NULL AND enabled AND next_run_at + grace < (SELECT now FROM clock)
		AND next_run_at < (SELECT now FROM clock)),
	count(*) FILTER (WHERE removed_at IS NULL AND NOT manual AND consecutive_failures > 0),
	count(*) FILTER (WHERE removed_at IS NULL AND manual),
	count(*) FILTER (WHERE removed_at IS NOT NULL)
FROM hourbell_schedules
WHERE namespace = $2
	AND id IN (SELECT unnest(CAST($3 AS text[])))
	AND lower(id || ' ' || name || ' ' || description || ' ' || target)
		LIKE lower(CAST($4 AS text)) ESCAPE '!'
