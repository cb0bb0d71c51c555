-- $1 = now
-- $2 = namespace
-- $3 = ids
-- $4 = pattern
-- $5 = at
-- $6 = id
-- $7 = limit

SELECT namespace, id, name, description, cron, time_zone, zone_rules, manual, target_kind, target, CAST(EXTRACT(EPOCH FROM grace) * 1000000 AS bigint), definition_hash,
	enabled, enabled_note, next_run_at, last_run_at, last_scheduled_for, settled_through, locked_at, locked_by, version,
	unfinished_since, consecutive_failures, last_error, retry_at, removed_at, former_id, created_at, updated_at,
	COALESCE(CAST($1 AS timestamptz), clock_timestamp()) FROM hourbell_schedules
WHERE namespace = $2
	AND id IN (SELECT unnest(CAST($3 AS text[])))
	AND lower(id || ' ' || name || ' ' || description || ' ' || target)
		LIKE lower(CAST($4 AS text)) ESCAPE '!'
	AND removed_at IS NULL AND enabled AND next_run_at + grace < CAST($5 AS timestamptz)
		AND next_run_at < CAST($5 AS timestamptz)
	AND id > $6
ORDER BY id LIMIT $7
