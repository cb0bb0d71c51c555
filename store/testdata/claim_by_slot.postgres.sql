-- $1 = now
-- $2 = namespace
-- $3 = exclude
-- $4 = max_backoff
-- $5 = worker
-- $6 = exclude_own_since
-- $7 = lock_ttl
-- $8 = dead_after
-- $9 = limit

WITH
-- the database time
clock AS MATERIALIZED (SELECT COALESCE(CAST($1 AS timestamptz), clock_timestamp()) AS now),
-- the schedules to claim, locked
due AS MATERIALIZED (
	SELECT s.ctid AS row_ctid, s.id AS due_id, s.locked_by AS held_by, s.unfinished_since AS unfinished_before
	FROM hourbell_schedules s
	WHERE s.namespace = $2 AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN (SELECT unnest(CAST($3 AS text[])))
		AND s.next_run_at <= (SELECT now FROM clock)
		AND NOT (s.retry_at IS NOT NULL AND s.retry_at > (SELECT now FROM clock)
		AND s.retry_at <= (SELECT now FROM clock) + (CAST($4 AS bigint) * interval '1 microsecond'))
		AND NOT (s.locked_by IS NOT NULL
		AND (s.locked_by <> $5 OR (s.locked_at >= CAST($6 AS timestamptz)) IS TRUE)
		AND s.locked_at > (SELECT now FROM clock) - (CAST($7 AS bigint) * interval '1 microsecond')
		AND s.locked_at <= (SELECT now FROM clock) + (CAST($7 AS bigint) * interval '1 microsecond')
		AND NOT EXISTS (SELECT 1 FROM hourbell_workers w WHERE w.id = s.locked_by
			AND NOT (w.stopped_at IS NULL
		AND w.heartbeat_at >= (SELECT now FROM clock) - (CAST($8 AS bigint) * interval '1 microsecond')
		AND w.heartbeat_at <= (SELECT now FROM clock) + (CAST($8 AS bigint) * interval '1 microsecond'))))
	ORDER BY s.next_run_at LIMIT $9
	FOR UPDATE SKIP LOCKED),
-- the few of them with an earlier holder or unfinished claim; a join with all of due could compare each row with each
before AS MATERIALIZED (
	SELECT due_id, held_by, unfinished_before FROM due WHERE held_by IS NOT NULL OR unfinished_before IS NOT NULL),
-- the claim
claimed AS (
	UPDATE hourbell_schedules s SET locked_at = (SELECT now FROM clock), locked_by = $5,
		version = s.version + 1,
		unfinished_since = CASE WHEN s.unfinished_since <= (SELECT now FROM clock)
			AND s.updated_at >= (SELECT now FROM clock) - (CAST($7 AS bigint) * interval '1 microsecond') - s.grace
			AND s.updated_at <= (SELECT now FROM clock) + (CAST($7 AS bigint) * interval '1 microsecond') + s.grace
		THEN s.unfinished_since ELSE (SELECT now FROM clock) END, updated_at = (SELECT now FROM clock)
	WHERE s.ctid = ANY (ARRAY(SELECT row_ctid FROM due))
	RETURNING id, definition_hash, next_run_at, settled_through, version, unfinished_since, consecutive_failures)
SELECT clock.now,
	CASE WHEN NOT EXISTS (SELECT 1 FROM claimed) THEN (SELECT min(at) FROM (
		SELECT min(s.next_run_at) AS at FROM hourbell_schedules s
		WHERE s.namespace = $2 AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN (SELECT unnest(CAST($3 AS text[])))
		AND s.next_run_at > (SELECT now FROM clock)
		UNION ALL
		SELECT min(CASE
			WHEN (s.retry_at IS NOT NULL AND s.retry_at > (SELECT now FROM clock)
		AND s.retry_at <= (SELECT now FROM clock) + (CAST($4 AS bigint) * interval '1 microsecond')) THEN s.retry_at
			WHEN NOT (s.locked_by IS NOT NULL
		AND (s.locked_by <> $5 OR (s.locked_at >= CAST($6 AS timestamptz)) IS TRUE)
		AND s.locked_at > (SELECT now FROM clock) - (CAST($7 AS bigint) * interval '1 microsecond')
		AND s.locked_at <= (SELECT now FROM clock) + (CAST($7 AS bigint) * interval '1 microsecond')
		AND NOT EXISTS (SELECT 1 FROM hourbell_workers w WHERE w.id = s.locked_by
			AND NOT (w.stopped_at IS NULL
		AND w.heartbeat_at >= (SELECT now FROM clock) - (CAST($8 AS bigint) * interval '1 microsecond')
		AND w.heartbeat_at <= (SELECT now FROM clock) + (CAST($8 AS bigint) * interval '1 microsecond')))) THEN (SELECT now FROM clock)
			WHEN w.heartbeat_at + (CAST($8 AS bigint) * interval '1 microsecond') < s.locked_at + (CAST($7 AS bigint) * interval '1 microsecond')
				THEN w.heartbeat_at + (CAST($8 AS bigint) * interval '1 microsecond') + (CAST(1 AS bigint) * interval '1 microsecond')
			ELSE s.locked_at + (CAST($7 AS bigint) * interval '1 microsecond') END)
		FROM hourbell_schedules s LEFT JOIN hourbell_workers w ON w.id = s.locked_by
		WHERE s.namespace = $2 AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN (SELECT unnest(CAST($3 AS text[]))) AND s.next_run_at <= (SELECT now FROM clock)) wake_times) END,
	CASE WHEN NOT EXISTS (SELECT 1 FROM claimed) THEN (SELECT count(*) > 0 FROM (SELECT * FROM hourbell_schedules s
		WHERE s.namespace = $2 AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN (SELECT unnest(CAST($3 AS text[])))
		AND s.next_run_at <= (SELECT now FROM clock)
		ORDER BY s.next_run_at LIMIT 100) s WHERE (s.locked_by IS NOT NULL
		AND (s.locked_by <> $5 OR (s.locked_at >= CAST($6 AS timestamptz)) IS TRUE)
		AND s.locked_at > (SELECT now FROM clock) - (CAST($7 AS bigint) * interval '1 microsecond')
		AND s.locked_at <= (SELECT now FROM clock) + (CAST($7 AS bigint) * interval '1 microsecond')
		AND NOT EXISTS (SELECT 1 FROM hourbell_workers w WHERE w.id = s.locked_by
			AND NOT (w.stopped_at IS NULL
		AND w.heartbeat_at >= (SELECT now FROM clock) - (CAST($8 AS bigint) * interval '1 microsecond')
		AND w.heartbeat_at <= (SELECT now FROM clock) + (CAST($8 AS bigint) * interval '1 microsecond'))))) END,
	claimed.*, held_by, unfinished_before
FROM clock LEFT JOIN claimed ON true LEFT JOIN before ON due_id = claimed.id
