-- $1 = now
-- $2 = namespace
-- $3 = first_id
-- $4 = first_slot
-- $5 = last_id
-- $6 = last_slot
-- $7 = slot
-- $8 = next
-- $9 = job
-- $10 = job_group
-- $11 = args
-- $12 = c_id
-- $13 = c_hash
-- $14 = c_other
-- $15 = c_other_group
-- $16 = c_other_args
-- $17 = exclude

WITH
-- the database time
clock AS MATERIALIZED (SELECT COALESCE(CAST($1 AS timestamptz), clock_timestamp()) AS now),
-- whether the first and the last slot are settled already; if so, nothing is tried
ends AS MATERIALIZED (
	SELECT count(*) = 2 AS already_settled FROM (
		SELECT 1 FROM hourbell_schedules s WHERE s.namespace = $2 AND s.id = $3
			AND s.settled_through >= CAST($4 AS timestamptz)
		UNION ALL SELECT 1 FROM hourbell_schedules s WHERE s.namespace = $2 AND s.id = $5
			AND s.settled_through >= CAST($6 AS timestamptz)) settled),
-- the slots that may fire, with the place of their rows, which are locked
free AS MATERIALIZED (
	SELECT s.row_ctid, c.* FROM (SELECT id, hash, CAST($7 AS timestamptz) AS slot, CAST($8 AS timestamptz) AS next, CAST($9 AS text) AS job,
		CAST($10 AS text) AS job_group, CAST($11 AS text) AS args
		FROM unnest(CAST($12 AS text[]), CAST($13 AS text[])) AS c(id, hash)) c
	CROSS JOIN LATERAL (SELECT s.ctid AS row_ctid FROM hourbell_schedules s
		WHERE s.namespace = $2 AND s.id = c.id
		AND (s.enabled AND s.removed_at IS NULL) IS TRUE AND s.definition_hash = c.hash
		AND (s.next_run_at = c.slot) IS TRUE AND (s.settled_through >= c.slot) IS NOT TRUE
		AND c.slot <= (SELECT now FROM clock) AND c.next > (SELECT now FROM clock) AND (SELECT now FROM clock) <= c.slot + s.grace
		AND s.locked_by IS NULL AND s.unfinished_since IS NULL AND s.retry_at IS NULL AND s.consecutive_failures = 0
		LIMIT 1 FOR UPDATE SKIP LOCKED) s
	WHERE NOT (SELECT already_settled FROM ends)),
-- the advance
fired AS (
	UPDATE hourbell_schedules s SET next_run_at = c.next, settled_through = c.slot, last_run_at = clock.now,
		last_scheduled_for = c.slot, version = s.version + 1, updated_at = clock.now
	FROM free c CROSS JOIN clock WHERE s.ctid = c.row_ctid
	RETURNING c.*),
-- the first run of each fire
first_runs AS (
	INSERT INTO hourbell_job_runs (namespace, job, job_group, trigger, schedule_id, scheduled_for,
	ordinal, status, args, queued_at)
	SELECT $2, c.job, NULLIF(c.job_group, ''), 'CRON', c.id, c.slot, c.ordinal, 'QUEUED',
		CAST(NULLIF(c.args, '') AS jsonb), clock.now
	FROM (SELECT id, slot, 0 AS ordinal, job, job_group, args FROM fired) c CROSS JOIN clock
	RETURNING 1),
-- the other runs
other_runs AS (
	INSERT INTO hourbell_job_runs (namespace, job, job_group, trigger, schedule_id, scheduled_for,
	ordinal, status, args, queued_at)
	SELECT $2, c.job, NULLIF(c.job_group, ''), 'CRON', c.id, c.slot, c.ordinal, 'QUEUED',
		CAST(NULLIF(c.args, '') AS jsonb), clock.now
	FROM (SELECT id, slot, o.* FROM fired CROSS JOIN
		unnest(CAST($14 AS text[]), CAST($15 AS text[]), CAST($16 AS text[]))
		WITH ORDINALITY AS o(job, job_group, args, ordinal)) c CROSS JOIN clock WHERE true AND (SELECT count(*) FROM first_runs) > 0
	RETURNING 1)
SELECT clock.now, (SELECT count(*) FROM first_runs), (SELECT count(*) FROM other_runs), (SELECT already_settled FROM ends),
	(SELECT string_agg(id, chr(10)) FROM (SELECT id FROM fired LIMIT 10) names),
	(SELECT true FROM hourbell_schedules s WHERE s.namespace = $2 AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN (SELECT unnest(CAST($17 AS text[])))
		AND s.next_run_at <= (SELECT now FROM clock)
		AND (s.id IN (SELECT id FROM fired)) IS NOT TRUE
		ORDER BY s.next_run_at LIMIT 1) IS NULL,
	LEAST((SELECT min(s.next_run_at) AS at FROM hourbell_schedules s
		WHERE s.namespace = $2 AND s.enabled AND s.removed_at IS NULL
		AND (s.id || ' ' || s.definition_hash) NOT IN (SELECT unnest(CAST($17 AS text[])))
		AND s.next_run_at > (SELECT now FROM clock)
		AND (s.id IN (SELECT id FROM fired)) IS NOT TRUE), (SELECT min(next) FROM fired)) FROM clock
