SELECT namespace, id, name, description, cron, time_zone, zone_rules, manual, target_kind, target, grace, definition_hash,
	enabled, enabled_note, next_run_at, last_run_at, last_scheduled_for, settled_through, locked_at, locked_by, version,
	unfinished_since, consecutive_failures, last_error, retry_at, removed_at, former_id, created_at, updated_at,
	COALESCE(@now, CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000) FROM hourbell_schedules
WHERE namespace = @namespace
	AND id IN (SELECT value FROM json_each(@ids))
	AND lower(id || ' ' || name || ' ' || description || ' ' || target)
		LIKE lower(CAST(@pattern AS text)) ESCAPE '!'
	AND removed_at IS NULL AND enabled AND next_run_at + grace < @at
		AND next_run_at < @at
	AND (-COALESCE(last_run_at, 0), id) > (CAST(@key AS bigint), @id)
ORDER BY -COALESCE(last_run_at, 0), id LIMIT @limit
