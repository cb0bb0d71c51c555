package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// unworkedQueue is a queue that no client works, because only enqueueing is
// measured.
const unworkedQueue = "unworked"

// riverJob carries the id of the schedule, as a run of hourbell does.
type riverJob struct {
	Schedule string `json:"schedule"`
}

// Kind implements river.JobArgs.
func (riverJob) Kind() string { return "job" }

// multiples is a periodic schedule that is due at every multiple of a duration.
type multiples time.Duration

// Next implements river.PeriodicSchedule.
func (m multiples) Next(after time.Time) time.Time {
	return after.Truncate(time.Duration(m)).Add(time.Duration(m))
}

// startRiver starts clients with n periodic jobs each, all due at the same
// times. The clients elect a leader, which enqueues. Unless the jobs are
// unique, a new leader may enqueue a slot that its predecessor has enqueued.
func startRiver(ctx context.Context, db *database, clients, n int, every time.Duration, unique bool) (stop func() error, err error) {
	var started []*river.Client[pgx.Tx]
	stop = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		return inParallel(len(started), func(i int) error { return started[i].StopAndCancel(ctx) })
	}
	for range clients {
		pool, err := db.pool(ctx, 10)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		client, err := newRiverClient(ctx, pool, n, every, unique)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		if err := client.Start(ctx); err != nil {
			return nil, errors.Join(err, stop())
		}
		started = append(started, client)
	}
	return stop, nil
}

func newRiverClient(ctx context.Context, pool *pgxpool.Pool, n int, every time.Duration, unique bool) (*river.Client[pgx.Tx], error) {
	driver := riverpgxv5.New(pool)
	logger := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: logger})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[riverJob]) error { return nil }))
	options := river.InsertOpts{Queue: unworkedQueue}
	if unique {
		options.UniqueOpts = river.UniqueOpts{ByArgs: true, ByPeriod: every}
	}
	jobs := make([]*river.PeriodicJob, n)
	for i := range jobs {
		args := riverJob{Schedule: fmt.Sprintf("schedule-%07d", i)}
		jobs[i] = river.NewPeriodicJob(multiples(every), func() (river.JobArgs, *river.InsertOpts) {
			return args, &options
		}, nil)
	}
	return river.NewClient(driver, &river.Config{
		Logger: logger, PeriodicJobs: jobs, Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}}, // a client without queues is never the leader
	})
}

// riverRows selects slot and xmin of River's jobs.
const riverRows = "SELECT scheduled_at AS slot, xmin FROM river_job"

// fireRiver measures from each slot to the commit of its last job. The first
// slot is left out: River prepares in it, as hourbell does before a slot.
func fireRiver(o options, unique bool) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		if err := db.requireCommitTimestamps(ctx); err != nil {
			return nil, err
		}
		// Long enough for each slot to end before the next.
		every := (time.Second + time.Duration(o.schedules)*200*time.Microsecond).Truncate(time.Second)
		stop, err := startRiver(ctx, db, 1, o.schedules, every, unique)
		if err != nil {
			return nil, err
		}
		err = waitUntil(ctx, every*time.Duration(o.slots+10), func() (bool, error) {
			var last int // reading the sequence is cheap and disturbs no measurement
			err := db.read(ctx, []any{&last}, "SELECT last_value FROM river_job_id_seq")
			return last > o.schedules*(o.slots+1), err
		})
		if err = errors.Join(err, stop()); err != nil {
			return nil, err
		}
		commits, err := db.commitsBySlot(ctx, riverRows)
		if err != nil {
			return nil, err
		}
		if len(commits) < o.slots+1 {
			return nil, fmt.Errorf("river enqueued %d slots instead of %d", len(commits), o.slots+1)
		}
		durations := make([]time.Duration, o.slots)
		for i, c := range commits[1 : o.slots+1] {
			if c.rows != o.schedules {
				return nil, fmt.Errorf("river enqueued %d jobs at a slot instead of %d", c.rows, o.schedules)
			}
			durations[i] = c.last.Sub(c.slot)
		}
		return []float64{medianRate(o.schedules, durations)}, nil
	})
}
