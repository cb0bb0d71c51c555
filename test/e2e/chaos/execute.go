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

	"github.com/hourbell/hourbell"
)

// execute takes what was enqueued and executes it, until ctx ends.
func execute(ctx context.Context, role kind, scheduler *hourbell.Scheduler, pool *sql.DB, log *slog.Logger) {
	e := executor{scheduler, pool, fmt.Sprintf("%s:%d", os.Getenv(nameEnv), os.Getpid())}
	batch := e.executeRuns
	if role == engineHost {
		batch = e.executeEngine
	}
	for ctx.Err() == nil {
		n, err := batch(ctx)
		pause := 50 * time.Millisecond
		if err != nil && ctx.Err() == nil {
			log.Error("execution failed; will try again", "error", err)
			pause = 500 * time.Millisecond
		}
		if n == 0 || err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

type executor struct {
	scheduler *hourbell.Scheduler
	pool      *sql.DB
	name      string
}

// errUnlucky is what some jobs fail of.
var errUnlucky = errors.New("unlucky number")

// unlucky says whether a run fails. Failing is an end like another.
func unlucky(runID int64) bool { return runID%97 == 0 }

// executeRuns takes runs from hourbell's table. What a job does here is to write down that it was executed.
func (e executor) executeRuns(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, lease)
	defer cancel()
	runs, err := e.scheduler.TakeRuns(ctx, hourbell.TakeRequest{Worker: e.name, Limit: 40, Lease: lease})
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
		return 0, err // they come again when the lease has ended
	}
	return len(runs), e.finish(ctx, runs)
}

// finish ends runs, a few at a time.
func (e executor) finish(ctx context.Context, runs []hourbell.JobRun) error {
	const hands = 4
	errs := make([]error, hands)
	var working sync.WaitGroup
	for hand := range hands {
		working.Go(func() {
			for i := hand; i < len(runs); i += hands {
				var failure error
				if unlucky(runs[i].ID) {
					failure = errUnlucky
				}
				err := e.scheduler.FinishRun(ctx, runs[i], failure)
				if err != nil && !errors.Is(err, hourbell.ErrLeaseLost) { // another has it, or the answer was lost
					errs[hand] = err
				}
			}
		})
	}
	working.Wait()
	return errors.Join(errs...)
}

// executeEngine is the engine's own worker.
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

// engine is an Enqueuer whose queue is a table of the same database.
type engine struct{}

// Enqueue implements [hourbell.Enqueuer].
func (engine) Enqueue(ctx context.Context, tx hourbell.Tx, runs []hourbell.JobRun) error {
	rows := make([]queued, len(runs))
	for i, run := range runs {
		rows[i] = queued{RunID: run.ID, Key: run.Key()}
	}
	return tx.WithContext(ctx).CreateInBatches(rows, 500).Error
}

// queued is a row of the engine.
type queued struct {
	RunID int64
	Key   string
}

// TableName is for gorm.
func (queued) TableName() string { return "chaos_engine" }
