-- $1 = c_id
-- $2 = c_version
-- $3 = namespace
-- $4 = now
-- $5 = worker

WITH
-- the rows of the batch
given AS MATERIALIZED (SELECT * FROM unnest(CAST($1 AS text[]), CAST($2 AS bigint[])) AS c(id, version)),
-- the same, each locked, with the place of its row
c AS MATERIALIZED (SELECT s.row_ctid, c.* FROM (SELECT * FROM given ORDER BY id) c
	CROSS JOIN LATERAL (SELECT s.ctid AS row_ctid FROM hourbell_schedules s WHERE s.namespace = $3 AND s.id = c.id LIMIT 1 FOR UPDATE) s),
-- the database time after all locks
clock AS MATERIALIZED (SELECT COALESCE(CAST($4 AS timestamptz), clock_timestamp()) AS now, count(*) FROM c)
UPDATE hourbell_schedules AS s SET locked_at = NULL, locked_by = NULL, version = s.version + 1, updated_at = clock.now
FROM c CROSS JOIN clock
WHERE s.ctid = c.row_ctid AND s.version = c.version AND s.locked_by = $5
