WITH
-- the database time
clock AS MATERIALIZED (SELECT COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) AS now),
-- the schedules to claim
due AS MATERIALIZED (SELECT s.id, s.version, s.locked_by, s.unfinished_since FROM hourbell_schedules s WHERE s.namespace = @namespace AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN (SELECT value FROM json_each(@exclude)) AND s.next_run_at <= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) AND NOT (s.retry_at IS NOT NULL AND s.retry_at > COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) AND s.retry_at <= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) + @max_backoff) AND NOT (s.locked_by IS NOT NULL AND (s.locked_by <> @worker OR (s.locked_at >= @exclude_own_since) IS TRUE)
		AND s.locked_at > COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) - @lock_ttl AND s.locked_at <= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) + @lock_ttl
		AND NOT EXISTS (SELECT 1 FROM hourbell_workers w WHERE w.id = s.locked_by AND NOT (w.stopped_at IS NULL AND w.heartbeat_at BETWEEN COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) - @dead_after AND COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) + @dead_after))) ORDER BY s.next_run_at LIMIT @limit)
SELECT clock.now, CASE WHEN due.id IS NULL THEN (SELECT min(at) FROM (
		SELECT min(s.next_run_at) AS at FROM hourbell_schedules s WHERE s.namespace = @namespace AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN (SELECT value FROM json_each(@exclude)) AND s.next_run_at > COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
		UNION ALL
		SELECT min(CASE
			WHEN (s.retry_at IS NOT NULL AND s.retry_at > COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) AND s.retry_at <= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) + @max_backoff) THEN s.retry_at
			WHEN NOT (s.locked_by IS NOT NULL AND (s.locked_by <> @worker OR (s.locked_at >= @exclude_own_since) IS TRUE)
		AND s.locked_at > COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) - @lock_ttl AND s.locked_at <= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) + @lock_ttl
		AND NOT EXISTS (SELECT 1 FROM hourbell_workers w WHERE w.id = s.locked_by AND NOT (w.stopped_at IS NULL AND w.heartbeat_at BETWEEN COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) - @dead_after AND COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) + @dead_after))) THEN COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
			WHEN w.heartbeat_at + @dead_after < s.locked_at + @lock_ttl THEN w.heartbeat_at + @dead_after + 1
			ELSE s.locked_at + @lock_ttl END)
		FROM hourbell_schedules s LEFT JOIN hourbell_workers w ON w.id = s.locked_by
		WHERE s.namespace = @namespace AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN (SELECT value FROM json_each(@exclude)) AND s.next_run_at <= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)) wake_times) END, CASE WHEN due.id IS NULL THEN (SELECT count(*) > 0 FROM (SELECT * FROM hourbell_schedules s WHERE s.namespace = @namespace AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN (SELECT value FROM json_each(@exclude)) AND s.next_run_at <= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
		ORDER BY s.next_run_at LIMIT 100) s WHERE (s.locked_by IS NOT NULL AND (s.locked_by <> @worker OR (s.locked_at >= @exclude_own_since) IS TRUE)
		AND s.locked_at > COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) - @lock_ttl AND s.locked_at <= COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) + @lock_ttl
		AND NOT EXISTS (SELECT 1 FROM hourbell_workers w WHERE w.id = s.locked_by AND NOT (w.stopped_at IS NULL AND w.heartbeat_at BETWEEN COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) - @dead_after AND COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) + @dead_after)))) END,
	due.id, due.version, due.locked_by, due.unfinished_since
FROM clock LEFT JOIN due ON true
