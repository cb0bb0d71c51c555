-- $1 = c_id
-- $2 = c_version
-- $3 = c_hash
-- $4 = c_fired
-- $5 = c_through
-- $6 = c_next
-- $7 = namespace
-- $8 = now
-- $9 = worker

WITH
-- the rows of the batch
given AS MATERIALIZED (SELECT * FROM unnest(
	CAST($1 AS text[]),
	CAST($2 AS bigint[]),
	CAST($3 AS text[]),
	CAST($4 AS timestamptz[]),
	CAST($5 AS timestamptz[]),
	CAST($6 AS timestamptz[])) AS c(id, version, hash, fired, through, next)),
-- the same, each locked, with the place of its row
c AS MATERIALIZED (SELECT s.row_ctid, c.* FROM (SELECT * FROM given ORDER BY id) c
	CROSS JOIN LATERAL (SELECT s.ctid AS row_ctid FROM hourbell_schedules s
		WHERE s.namespace = $7 AND s.id = c.id LIMIT 1 FOR UPDATE) s),
-- the database time after all locks
clock AS MATERIALIZED (SELECT COALESCE(CAST($8 AS timestamptz), clock_timestamp()) AS now, count(*) FROM c)
UPDATE hourbell_schedules AS s SET
	next_run_at = c.next, settled_through = CASE WHEN s.settled_through > c.through THEN s.settled_through ELSE c.through END,
	last_run_at = CASE WHEN c.fired IS NULL THEN s.last_run_at ELSE clock.now END,
	last_scheduled_for = COALESCE(c.fired, s.last_scheduled_for),
	consecutive_failures = CASE WHEN c.fired IS NULL THEN s.consecutive_failures ELSE 0 END,
	last_error = CASE WHEN c.fired IS NULL THEN s.last_error ELSE '' END,
	locked_at = NULL, locked_by = NULL, version = s.version + 1, unfinished_since = NULL, retry_at = NULL, updated_at = clock.now
FROM c CROSS JOIN clock
WHERE s.ctid = c.row_ctid
	AND s.version = c.version AND s.locked_by = $9
	AND s.definition_hash = c.hash AND c.through <= clock.now
RETURNING s.id
