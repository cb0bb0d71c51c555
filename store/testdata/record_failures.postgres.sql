-- $1 = c_id
-- $2 = c_version
-- $3 = c_error
-- $4 = c_backoff
-- $5 = c_until
-- $6 = c_unfinished_since
-- $7 = namespace
-- $8 = now
-- $9 = worker

WITH
-- the rows of the batch
given AS MATERIALIZED (SELECT * FROM unnest(CAST($1 AS text[]), CAST($2 AS bigint[]), CAST($3 AS text[]), CAST($4 AS bigint[]), CAST($5 AS timestamptz[]), CAST($6 AS timestamptz[])) AS c(id, version, error, backoff, until, unfinished_since)),
-- the same, each locked, with the place of its row
c AS MATERIALIZED (SELECT s.row_ctid, c.* FROM (SELECT * FROM given ORDER BY id) c
	CROSS JOIN LATERAL (SELECT s.ctid AS row_ctid FROM hourbell_schedules s WHERE s.namespace = $7 AND s.id = c.id LIMIT 1 FOR UPDATE) s),
-- the database time after all locks
clock AS MATERIALIZED (SELECT COALESCE(CAST($8 AS timestamptz), clock_timestamp()) AS now, count(*) FROM c)
UPDATE hourbell_schedules AS s SET
	consecutive_failures = s.consecutive_failures + 1, last_error = c.error,
	retry_at = CASE WHEN c.until < clock.now + (CAST(c.backoff AS bigint) * interval '1 microsecond') THEN c.until ELSE clock.now + (CAST(c.backoff AS bigint) * interval '1 microsecond') END,
	unfinished_since = COALESCE(c.unfinished_since, s.unfinished_since),
	locked_at = NULL, locked_by = NULL, version = s.version + 1, updated_at = clock.now
FROM c CROSS JOIN clock
WHERE s.ctid = c.row_ctid AND s.version = c.version AND s.locked_by = $9
RETURNING s.id
