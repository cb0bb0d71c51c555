package main

import (
	"context"
)

// forbidden lists what must not be in the tables at the end. Each query returns
// a text for each offending row.
var forbidden = []struct{ what, query string }{
	{"a lock, unfinished claim, retry time or next slot is left", `SELECT namespace || '/' || id || ': locked_by ' || COALESCE(locked_by, '-') || ', locked_at ' || COALESCE(locked_at::text, '-')
		|| ', unfinished_since ' || COALESCE(unfinished_since::text, '-') || ', retry_at ' || COALESCE(retry_at::text, '-') || ', next_run_at ' || COALESCE(next_run_at::text, '-')
		FROM hourbell_schedules WHERE locked_by IS NOT NULL OR locked_at IS NOT NULL OR unfinished_since IS NOT NULL OR retry_at IS NOT NULL OR next_run_at IS NOT NULL`},
	{"a run was enqueued before its slot", `SELECT 'run ' || id || ' of ' || schedule_id || ' at ' || scheduled_for || ', queued at ' || queued_at
		FROM hourbell_job_runs WHERE queued_at < scheduled_for`},
	{"a run was not executed to its end", `SELECT 'run ' || r.id || ' is ' || r.status || ' at attempt ' || r.attempt FROM hourbell_job_runs r
		WHERE r.namespace = 'table' AND (r.status NOT IN ('SUCCEEDED', 'FAILED') OR r.leased_until IS NOT NULL OR r.finished_at IS NULL
			OR NOT EXISTS (SELECT 1 FROM chaos_executed e WHERE e.run_id = r.id AND e.attempt = r.attempt AND e.worker = r.leased_by))`},
	{"the status of a run is not that of its job", `SELECT 'run ' || id || ' is ' || status FROM hourbell_job_runs
		WHERE namespace = 'table' AND (status = 'FAILED') <> (id % 97 = 0)`},
	{"two workers had the same attempt of a run", `SELECT 'run ' || run_id || ' at attempt ' || attempt || ' by ' || string_agg(worker, ' and ') FROM chaos_executed
		GROUP BY run_id, attempt HAVING count(*) > 1`},
	{"a run was executed that does not exist", `SELECT 'run ' || run_id FROM chaos_executed e WHERE NOT EXISTS (SELECT 1 FROM hourbell_job_runs r WHERE r.id = e.run_id)`},
	{"the engine does not have a run exactly once under its key", `SELECT 'run ' || r.id || ' of ' || COALESCE(r.schedule_id, '-') || ': ' || count(e.seq) || ' times' FROM hourbell_job_runs r
		LEFT JOIN chaos_engine e ON e.run_id = r.id AND e.done_at IS NOT NULL AND e.key = CASE r.trigger WHEN 'CRON'
			THEN r.namespace || '/' || r.schedule_id || '@' || to_char(r.scheduled_for AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '/' || r.job
			ELSE r.namespace || '#' || r.idempotency_key || '/' || r.job END
		WHERE r.namespace = 'engine' GROUP BY r.id HAVING count(e.seq) <> 1`},
	{"the engine has a run twice, or one that does not exist", `SELECT 'key ' || key || ': ' || count(*) || ' times' FROM chaos_engine e
		GROUP BY key HAVING count(*) <> 1 OR NOT EXISTS (SELECT 1 FROM hourbell_job_runs r WHERE r.id = min(e.run_id) AND r.namespace = 'engine')`},
	{"a run has an unexpected trigger or key", `SELECT 'run ' || id || ', trigger ' || trigger FROM hourbell_job_runs
		WHERE trigger = 'API' OR trigger = 'CRON' AND idempotency_key IS NOT NULL OR trigger = 'MANUAL' AND idempotency_key IS NULL`},
}

func (r *result) checkRows(ctx context.Context, db queryer) error {
	for _, f := range forbidden {
		rows, err := queryTexts(ctx, db, f.query)
		if err != nil {
			return err
		}
		for _, row := range rows {
			r.violation("%s: %s", f.what, row)
		}
	}
	return nil
}
