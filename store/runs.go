package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/hourbell/hourbell"
)

// runsInto are the columns that a run is inserted with.
const (
	runsInto  = `hourbell_job_runs (` + runBasics + `)`
	runBasics = `namespace, job, job_group, trigger, schedule_id, scheduled_for, ordinal, status, args, queued_at`
)

// A slot that has its first run already gets no other, and a request that was made before does nothing. Only what may meet
// such a conflict says so: ON CONFLICT inserts each row as a speculation.
var (
	insertFires    = prepare(insertion + ` ON CONFLICT (namespace, schedule_id, scheduled_for) WHERE trigger = 'CRON' AND ordinal = 0 DO NOTHING` + inserted)
	insertRequests = prepare(insertion + ` ON CONFLICT (namespace, request_key, job) WHERE request_key IS NOT NULL DO NOTHING` + inserted)
	insertOthers   = prepare(insertion + inserted)
)

const (
	insertion = `
{batch job:text job_group:text trigger:text schedule_id:text scheduled_for:timestamptz ordinal:bigint args:text actor:text request_key:text}
INSERT INTO hourbell_job_runs (` + runBasics + `, actor, request_key)
SELECT @namespace, c.job, NULLIF(c.job_group, ''), c.trigger, NULLIF(c.schedule_id, ''), c.scheduled_for, c.ordinal, 'QUEUED',
	{json NULLIF(c.args, '')}, clock.now, NULLIF(c.actor, ''), NULLIF(c.request_key, '')
FROM c CROSS JOIN clock WHERE true`
	inserted = ` RETURNING id, schedule_id, ordinal, queued_at`
)

// InsertRuns implements [hourbell.Store].
func (s *Store) InsertRuns(ctx context.Context, runs []hourbell.JobRun) (list []hourbell.JobRun, err error) {
	switch {
	case len(runs) == 0:
		return nil, nil
	case runs[0].RequestKey != "":
		return s.insertRuns(ctx, insertRequests, runs)
	case !slices.ContainsFunc(runs, func(r hourbell.JobRun) bool { return r.Trigger == "CRON" && r.Ordinal == 0 }):
		return s.insertRuns(ctx, insertOthers, runs)
	}
	return list, s.unlessTaken(ctx, func(s *Store, taken bool) (err error) {
		statement := insertOthers
		if taken {
			statement = insertFires
		}
		list, err = s.insertRuns(ctx, statement, runs)
		return err
	})
}

// insertRuns returns what a statement has inserted. A schedule has one fire in a call, so schedule and ordinal name a run. The
// database answers in the order of the question, as a rule: what is inserted is looked for after the last that was found.
func (s *Store) insertRuns(ctx context.Context, statement *statement, runs []hourbell.JobRun) ([]hourbell.JobRun, error) {
	list := make([]hourbell.JobRun, 0, len(runs))
	var got hourbell.JobRun
	into := []any{&got.ID, toText(&got.ScheduleID), &got.Ordinal, toTime(&got.QueuedAt)}
	next := 0
	err := s.write(ctx, statement, values{"batch": batch{
		col("job", runs, func(r *hourbell.JobRun) string { return r.Job }),
		col("job_group", runs, func(r *hourbell.JobRun) string { return r.Group }),
		col("trigger", runs, func(r *hourbell.JobRun) string { return r.Trigger }),
		col("schedule_id", runs, func(r *hourbell.JobRun) string { return r.ScheduleID }),
		times("scheduled_for", runs, func(r *hourbell.JobRun) time.Time { return r.ScheduledFor }),
		col("ordinal", runs, func(r *hourbell.JobRun) int64 { return int64(r.Ordinal) }),
		col("args", runs, func(r *hourbell.JobRun) string { return string(r.Args) }),
		col("actor", runs, func(r *hourbell.JobRun) string { return r.Actor }),
		col("request_key", runs, func(r *hourbell.JobRun) string { return r.RequestKey }),
	}}, func(rows *sql.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for range runs {
			run := runs[next]
			next = (next + 1) % len(runs)
			if run.Ordinal == got.Ordinal && clean(run.ScheduleID) == got.ScheduleID {
				run.ID, run.ScheduleID, run.QueuedAt = got.ID, got.ScheduleID, got.QueuedAt
				list = append(list, run)
				return nil
			}
		}
		return fmt.Errorf("store: run %d of schedule %q was inserted, and not asked for", got.Ordinal, got.ScheduleID)
	})
	return list, err
}

var (
	// On SQLite a writing transaction has no other beside it.
	lockKey       = prepare(`SELECT pg_advisory_xact_lock(hashtextextended(@namespace || ' ' || @key, 0))`)
	selectRequest = prepare(`SELECT ` + runColumns + ` FROM hourbell_job_runs WHERE namespace = @namespace AND request_key = @key ORDER BY ordinal`)
)

// RunsByKey implements [hourbell.Store].
func (s *Store) RunsByKey(ctx context.Context, key string) (list []hourbell.JobRun, err error) {
	if s.dialect == postgres {
		if err := s.exec(ctx, lockKey, values{"key": key}); err != nil {
			return nil, err
		}
	}
	return list, s.query(ctx, selectRequest, values{"key": key}, collect(&list, runFields))
}

// Runs implements [hourbell.Store]. It walks the primary key, or the two indexes that a schedule's runs are in.
func (s *Store) Runs(ctx context.Context, q hourbell.RunQuery) (list []hourbell.JobRun, err error) {
	f := newFilters(q.Limit)
	f.number("id", "=", q.ID)
	f.text("schedule_id", q.ScheduleID)
	f.text("job", q.Job)
	f.text("job_group", q.Group)
	f.text("status", q.Status)
	f.text("trigger", q.Trigger)
	f.number("id", "<", q.Before)
	from := `hourbell_job_runs WHERE namespace = @namespace` + f.where.String()
	if q.ScheduleID != "" {
		from = `(SELECT * FROM (SELECT * FROM ` + from + ` AND ` + firstOfFire + ` ORDER BY scheduled_for DESC LIMIT @limit) a
			UNION ALL SELECT * FROM (SELECT * FROM ` + from + ` AND ` + notFirst + ` ORDER BY id DESC LIMIT @limit) b) r`
	}
	st := prepare(`SELECT ` + runColumns + ` FROM ` + from + ` ORDER BY id DESC LIMIT @limit`)
	return list, s.query(ctx, st, f.values, collect(&list, runFields))
}

// The runs in hourbell_job_runs_fire, where later slots have greater ids, and those in hourbell_job_runs_schedule.
const (
	firstOfFire = `trigger = 'CRON' AND ordinal = 0`
	notFirst    = `(trigger <> 'CRON' OR ordinal > 0)`
)

// takeable walks the index hourbell_job_runs_open.
const takeable = `namespace = @namespace AND (status = 'QUEUED' OR status = 'RUNNING' AND leased_until <= {now})
	AND (CAST(@any AS boolean) OR job IN {list @jobs})`

var takeRuns = prepare(`
WITH taken AS MATERIALIZED (SELECT id FROM hourbell_job_runs WHERE ` + takeable + ` ORDER BY id LIMIT @limit {skip})
UPDATE hourbell_job_runs SET status = 'RUNNING', worker_id = @worker, attempt = attempt + 1, leased_until = {now} + {span @lease},
	started_at = {now}, error = NULL
WHERE id {among SELECT id FROM taken} AND ` + takeable + `
RETURNING ` + runColumns)

// TakeRuns implements [hourbell.Store].
func (s *Store) TakeRuns(ctx context.Context, r hourbell.TakeRequest) (list []hourbell.JobRun, err error) {
	err = s.write(ctx, takeRuns, values{
		"any": len(r.Jobs) == 0, "jobs": r.Jobs, "limit": r.Limit, "worker": r.Worker, "lease": r.Lease.Microseconds(),
	}, collect(&list, runFields))
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list, err
}

// yours is what a worker must still match to change a run that it took.
const yours = ` WHERE namespace = @namespace AND id = @id AND status = 'RUNNING' AND worker_id = @worker AND attempt = @attempt RETURNING id`

var (
	extendRun = prepare(`UPDATE hourbell_job_runs SET leased_until = {now} + {span @lease}` + yours)
	finishRun = prepare(`UPDATE hourbell_job_runs SET status = @status, error = NULLIF(CAST(@error AS text), ''), finished_at = {now}, leased_until = NULL` + yours)
)

// ExtendRun implements [hourbell.Store].
func (s *Store) ExtendRun(ctx context.Context, run hourbell.JobRun, lease time.Duration) (bool, error) {
	return s.changeRun(ctx, extendRun, run, values{"lease": lease.Microseconds()})
}

// FinishRun implements [hourbell.Store].
func (s *Store) FinishRun(ctx context.Context, run hourbell.JobRun, status, message string) (bool, error) {
	return s.changeRun(ctx, finishRun, run, values{"status": status, "error": clean(message)})
}

func (s *Store) changeRun(ctx context.Context, st *statement, run hourbell.JobRun, v values) (changed bool, err error) {
	v["id"], v["worker"], v["attempt"] = run.ID, run.WorkerID, run.Attempt
	err = s.write(ctx, st, v, func(rows *sql.Rows) error {
		changed = true
		return rows.Scan(&run.ID)
	})
	return changed, err
}
