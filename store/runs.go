package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// insertedColumns are the columns that every inserted run sets.
const insertedColumns = `namespace, job, job_group, trigger, schedule_id, scheduled_for,
	ordinal, status, args, queued_at`

// ON CONFLICT inserts each row speculatively, which is slower. Only two
// statements need it. With insertFires, a slot that already has its first run
// gets no other. With insertRequests, a call inserts no run that its
// idempotency key already has.
var (
	insertFires    = prepare(insertRunsTemplate + ` ON CONFLICT (namespace, schedule_id, scheduled_for) WHERE trigger = 'CRON' AND ordinal = 0 DO NOTHING` + returningInserted)
	insertRequests = prepare(insertRunsTemplate + ` ON CONFLICT (namespace, idempotency_key, job, ordinal) WHERE idempotency_key IS NOT NULL DO NOTHING` + returningInserted)
	insertNew      = prepare(insertRunsTemplate + returningInserted)
)

const (
	insertRunsTemplate = `
{batch job:text job_group:text trigger:text schedule_id:text scheduled_for:timestamptz ordinal:bigint args:text actor:text idempotency_key:text}
INSERT INTO hourbell_job_runs (` + insertedColumns + `, actor, idempotency_key, request_hash)
SELECT @namespace, c.job, NULLIF(c.job_group, ''), c.trigger, NULLIF(c.schedule_id, ''), c.scheduled_for, c.ordinal, 'QUEUED',
	{json NULLIF(c.args, '')}, clock.now, NULLIF(c.actor, ''), NULLIF(c.idempotency_key, ''), NULLIF(CAST(@request_hash AS text), '')
FROM c CROSS JOIN clock WHERE true`
	returningInserted = ` RETURNING id, schedule_id, ordinal, queued_at`
)

// InsertRuns implements [hourbell.Store].
func (s *database) InsertRuns(ctx context.Context, runs []hourbell.JobRun, requestHash string) (list []hourbell.JobRun, err error) {
	isFirst := func(r hourbell.JobRun) bool { return r.Trigger == hourbell.TriggerCron && r.Ordinal == 0 }
	switch {
	case len(runs) == 0:
		return nil, nil
	case runs[0].IdempotencyKey != "":
		return s.insertRuns(ctx, insertRequests, runs, requestHash)
	case !slices.ContainsFunc(runs, isFirst):
		return s.insertRuns(ctx, insertNew, runs, "")
	}
	return list, s.insertOptimistic(ctx, func(s *database, onConflict bool) (err error) {
		statement := insertNew
		if onConflict {
			statement = insertFires
		}
		list, err = s.insertRuns(ctx, statement, runs, "")
		return err
	})
}

// insertRuns inserts runs, and returns those that the database has inserted. A
// schedule fires at most once in runs, so schedule and ordinal identify a run.
// The database usually returns rows in the order of the batch. So the search
// for each run starts after the previous one.
func (s *database) insertRuns(ctx context.Context, statement *statement, runs []hourbell.JobRun, requestHash string) ([]hourbell.JobRun, error) {
	list := make([]hourbell.JobRun, 0, len(runs))
	var inserted hourbell.JobRun
	fields := []any{&inserted.ID, toText(&inserted.ScheduleID), &inserted.Ordinal, toTime(&inserted.QueuedAt)}
	next := 0
	err := s.write(ctx, statement, values{"request_hash": requestHash, "batch": batch{
		col("job", runs, func(r *hourbell.JobRun) string { return r.Job }),
		col("job_group", runs, func(r *hourbell.JobRun) string { return r.Group }),
		col("trigger", runs, func(r *hourbell.JobRun) string { return string(r.Trigger) }),
		col("schedule_id", runs, func(r *hourbell.JobRun) string { return r.ScheduleID }),
		timeCol("scheduled_for", runs, func(r *hourbell.JobRun) time.Time { return r.ScheduledFor }),
		col("ordinal", runs, func(r *hourbell.JobRun) int64 { return int64(r.Ordinal) }),
		col("args", runs, func(r *hourbell.JobRun) string { return string(r.Args) }),
		col("actor", runs, func(r *hourbell.JobRun) string { return r.Actor }),
		col("idempotency_key", runs, func(r *hourbell.JobRun) string { return r.IdempotencyKey }),
	}}, func(rows *sql.Rows) error {
		if err := rows.Scan(fields...); err != nil {
			return err
		}
		for range runs {
			run := runs[next]
			next = (next + 1) % len(runs)
			if run.Ordinal == inserted.Ordinal && sanitizeText(run.ScheduleID) == inserted.ScheduleID {
				run.ID, run.ScheduleID, run.QueuedAt = inserted.ID, inserted.ScheduleID, inserted.QueuedAt
				list = append(list, run)
				return nil
			}
		}
		return fmt.Errorf("store: the database returned run %d of schedule %q, which was not inserted", inserted.Ordinal, inserted.ScheduleID)
	})
	return list, err
}

var (
	// Calls with the same key wait for this lock. The oid of the table
	// separates services in different schemas of one database. SQLite does not
	// need the lock: it has one writing transaction at a time.
	lockIdempotencyKey    = prepare(`SELECT pg_advisory_xact_lock(hashtextextended(CAST('hourbell_job_runs' AS regclass)::oid || ' ' || @namespace || ' ' || @key, 0))`)
	selectIdempotencyRuns = prepare(`SELECT ` + runColumns + `, request_hash FROM hourbell_job_runs WHERE namespace = @namespace AND idempotency_key = @key ORDER BY ordinal, id`)
)

// RunsByIdempotencyKey implements [hourbell.Store]. On Postgres it sends two
// statements.
func (s *database) RunsByIdempotencyKey(ctx context.Context, key string) (list []hourbell.JobRun, requestHash string, err error) {
	if s.dialect == postgres {
		if err := s.exec(ctx, lockIdempotencyKey, values{"key": key}); err != nil {
			return nil, "", err
		}
	}
	err = s.query(ctx, selectIdempotencyRuns, values{"key": key}, collect(&list, func(r *hourbell.JobRun) []any {
		return append(runFields(r), toText(&requestHash))
	}))
	return list, requestHash, err
}

// Runs implements [hourbell.Store]. It reads the primary key. With a schedule,
// it reads the two indexes that have the schedule's runs.
func (s *database) Runs(ctx context.Context, q hourbell.RunQuery) (list []hourbell.JobRun, err error) {
	statement, v := selectRuns(q)
	return list, s.query(ctx, statement, v, collect(&list, runFields))
}

func selectRuns(q hourbell.RunQuery) (*statement, values) {
	f := newFilters(q.Limit)
	f.number("id", "=", q.ID)
	f.text("job", q.Job)
	f.text("job_group", q.Group)
	f.text("status", string(q.Status))
	f.text("trigger", string(q.Trigger))
	f.number("id", "<", q.Before)
	source := `hourbell_job_runs WHERE namespace = @namespace` + f.where.String()
	if q.ScheduleID != "" {
		f.values["schedule_id"] = sanitizeText(q.ScheduleID)
		var branches []string
		for _, schedule := range []string{ofSchedule, ofFormerID} {
			branches = append(branches,
				`SELECT * FROM (SELECT * FROM `+source+` AND `+schedule+` AND `+firstOfFire+` ORDER BY scheduled_for DESC LIMIT @limit) fires`,
				`SELECT * FROM (SELECT * FROM `+source+` AND `+schedule+` AND `+notFirstOfFire+` ORDER BY id DESC LIMIT @limit) others`)
		}
		source = "(" + strings.Join(branches, "\n\tUNION ALL ") + ") r"
	}
	columns := runColumns
	if q.OmitArgs {
		columns = strings.Replace(columns, ", args,", ", NULL,", 1)
	}
	return prepare(`SELECT ` + columns + ` FROM ` + source + ` ORDER BY id DESC LIMIT @limit`), f.values
}

// ofSchedule is the condition of the rows of a schedule. ofFormerID is that of
// the rows that were written under its former id. They are separate conditions,
// because an index returns the newest rows of only one value in order.
const (
	ofSchedule = `schedule_id = @schedule_id`
	ofFormerID = `schedule_id = (SELECT s.former_id FROM hourbell_schedules s WHERE s.namespace = @namespace AND s.id = @schedule_id)`
)

// firstOfFire is the condition of the index hourbell_job_runs_fire, in which
// later slots have greater ids. notFirstOfFire is the condition of the index
// hourbell_job_runs_schedule.
const (
	firstOfFire    = `trigger = 'CRON' AND ordinal = 0`
	notFirstOfFire = `(trigger <> 'CRON' OR ordinal > 0)`
)

// available is the condition of a run that can be taken: it is queued, or its
// lease has expired. The index hourbell_job_runs_open has all such runs.
const available = `namespace = @namespace AND (status = 'QUEUED' OR status = 'RUNNING' AND leased_until <= {now})
	AND (CAST(@all_jobs AS boolean) OR job IN {list @jobs})`

var takeRuns = prepare(`
WITH
-- the runs to take, locked
taken AS MATERIALIZED (SELECT id FROM hourbell_job_runs WHERE ` + available + ` ORDER BY id LIMIT @limit {skip_locked})
UPDATE hourbell_job_runs SET status = 'RUNNING', leased_by = @leased_by, attempt = attempt + 1, leased_until = {now} + {interval @lease},
	started_at = {now}, error = NULL
WHERE id {in SELECT id FROM taken} AND ` + available + `
RETURNING ` + runColumns)

// TakeRuns implements [hourbell.Store].
func (s *database) TakeRuns(ctx context.Context, r hourbell.TakeRequest) (list []hourbell.JobRun, err error) {
	err = s.write(ctx, takeRuns, values{
		"all_jobs": len(r.Jobs) == 0, "jobs": r.Jobs, "limit": r.Limit, "leased_by": r.LeasedBy, "lease": r.Lease.Microseconds(),
	}, collect(&list, runFields))
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list, err
}

// heldByCaller lets a write apply only while the job worker holds the run's
// lease in the same attempt. A database that has lost its last commits may
// issue an id again, so job and time must match too.
const heldByCaller = ` WHERE namespace = @namespace AND id = @id AND job = @job AND queued_at = {timestamp @queued_at}
	AND status = 'RUNNING' AND leased_by = @leased_by AND attempt = @attempt RETURNING id`

var (
	extendRun = prepare(`UPDATE hourbell_job_runs SET leased_until = {now} + {interval @lease}` + heldByCaller)
	finishRun = prepare(`UPDATE hourbell_job_runs SET status = @status, error = NULLIF(CAST(@error AS text), ''), finished_at = {now}, leased_until = NULL` + heldByCaller)
)

// ExtendRun implements [hourbell.Store].
func (s *database) ExtendRun(ctx context.Context, run hourbell.JobRun, lease time.Duration) (bool, error) {
	return s.changeRun(ctx, extendRun, run, values{"lease": lease.Microseconds()})
}

// FinishRun implements [hourbell.Store].
func (s *database) FinishRun(ctx context.Context, run hourbell.JobRun, status hourbell.RunStatus, message string) (bool, error) {
	return s.changeRun(ctx, finishRun, run, values{"status": string(status), "error": sanitizeText(message)})
}

// changeRun changes a run that the caller holds, and reports whether it did.
func (s *database) changeRun(ctx context.Context, st *statement, run hourbell.JobRun, v values) (changed bool, err error) {
	v["id"], v["job"], v["queued_at"], v["leased_by"], v["attempt"] = run.ID, sanitizeText(run.Job), run.QueuedAt, run.LeasedBy, run.Attempt
	err = s.write(ctx, st, v, func(rows *sql.Rows) error {
		changed = true
		return rows.Scan(&run.ID)
	})
	return changed, err
}
