package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
)

// execute executes enqueued runs until ctx ends.
func execute(ctx context.Context, role hostKind, scheduler *hourbell.Scheduler, pool *sql.DB, log *slog.Logger) {
	e := executor{scheduler, pool, fmt.Sprintf("%s:%d", os.Getenv(nameEnv), os.Getpid())}
	executeBatch := e.executeRuns
	if role == engineHost {
		executeBatch = e.executeEngine
	}
	for ctx.Err() == nil {
		n, err := executeBatch(ctx)
		pause := 50 * time.Millisecond
		if err != nil && ctx.Err() == nil {
			log.Error("chaos: execution failed, retrying", "error", err)
			pause = 500 * time.Millisecond
		}
		if n == 0 || err != nil {
			sleep(ctx, pause)
		}
	}
}

type executor struct {
	scheduler *hourbell.Scheduler
	pool      *sql.DB
	name      string
}

// errJobFailed is the error of the runs for which jobFails is true.
var errJobFailed = errors.New("this run fails on purpose")

// jobFails reports whether a run is to fail. A failed run is finished, too.
func jobFails(runID int64) bool { return runID%97 == 0 }

// executeRuns takes runs from hourbell's table and records each execution.
func (e executor) executeRuns(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, lease)
	defer cancel()
	runs, err := e.scheduler.TakeRuns(ctx, hourbell.TakeRequest{LeasedBy: e.name, Limit: 40, Lease: lease})
	if err != nil || len(runs) == 0 {
		return 0, err
	}
	ids, attempts := make([]int64, len(runs)), make([]int64, len(runs))
	for i, run := range runs {
		ids[i], attempts[i] = run.ID, int64(run.Attempt)
	}
	_, err = e.pool.ExecContext(ctx, `INSERT INTO chaos_executed (run_id, attempt, worker)
		SELECT r.id, r.attempt, $3 FROM unnest($1::bigint[], $2::bigint[]) AS r(id, attempt)`, ids, attempts, e.name)
	if err != nil {
		return 0, err // the runs can be taken again after the lease
	}
	return len(runs), e.finish(ctx, runs)
}

// finish finishes runs, four at a time.
func (e executor) finish(ctx context.Context, runs []hourbell.JobRun) error {
	const finishers = 4
	errs := make([]error, finishers)
	var working sync.WaitGroup
	for n := range finishers {
		working.Go(func() {
			for i := n; i < len(runs); i += finishers {
				var jobErr error
				if jobFails(runs[i].ID) {
					jobErr = errJobFailed
				}
				err := e.scheduler.FinishRun(ctx, runs[i], jobErr)
				if err != nil && !errors.Is(err, hourbell.ErrLeaseLost) { // taken by another worker, or the response was lost
					errs[n] = err
				}
			}
		})
	}
	working.Wait()
	return errors.Join(errs...)
}

// executeEngine is the worker of the engine.
func (e executor) executeEngine(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, lease)
	defer cancel()
	result, err := e.pool.ExecContext(ctx, `
UPDATE chaos_engine SET done_at = clock_timestamp()
WHERE seq IN (SELECT seq FROM chaos_engine WHERE done_at IS NULL ORDER BY seq LIMIT 200 FOR UPDATE SKIP LOCKED) AND done_at IS NULL`)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// engine is an Enqueuer whose queue is a table in the same database.
type engine struct{}

// Enqueue implements [hourbell.Enqueuer].
func (engine) Enqueue(ctx context.Context, tx *gorm.DB, runs []hourbell.JobRun) error {
	rows := make([]engineRun, len(runs))
	for i, run := range runs {
		rows[i] = engineRun{RunID: run.ID, Key: run.Key()}
	}
	return tx.WithContext(ctx).CreateInBatches(rows, 500).Error
}

// engineRun is a row of chaos_engine.
type engineRun struct {
	RunID int64
	Key   string
}

// TableName names the table for gorm.
func (engineRun) TableName() string { return "chaos_engine" }
