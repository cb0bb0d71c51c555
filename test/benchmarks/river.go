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

// elsewhere is a queue that no client works: only enqueueing is measured.
const elsewhere = "elsewhere"

// riverJob says as much about itself as a run of hourbell's does.
type riverJob struct {
	Schedule string `json:"schedule"`
}

// Kind implements river.JobArgs.
func (riverJob) Kind() string { return "job" }

// everyFull is due at every full multiple of itself.
type everyFull time.Duration

// Next implements river.PeriodicSchedule.
func (e everyFull) Next(after time.Time) time.Time {
	return after.Truncate(time.Duration(e)).Add(time.Duration(e))
}

// startRiver starts clients with n periodic jobs each, all due at the same instants. One of them is elected leader and
// enqueues. Unless the jobs are unique, it may do so for a slot that its predecessor has dealt with.
func startRiver(ctx context.Context, db *database, clients, n int, every time.Duration, unique bool) (stop func() error, err error) {
	var started []*river.Client[pgx.Tx]
	stop = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		return together(len(started), func(i int) error { return started[i].StopAndCancel(ctx) })
	}
	for range clients {
		pool, err := db.pool(ctx, 10)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		client, err := newRiver(ctx, pool, n, every, unique)
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

func newRiver(ctx context.Context, pool *pgxpool.Pool, n int, every time.Duration, unique bool) (*river.Client[pgx.Tx], error) {
	driver := riverpgxv5.New(pool)
	quiet := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[riverJob]) error { return nil }))
	options := river.InsertOpts{Queue: elsewhere}
	if unique {
		options.UniqueOpts = river.UniqueOpts{ByArgs: true, ByPeriod: every}
	}
	jobs := make([]*river.PeriodicJob, n)
	for i := range jobs {
		args := riverJob{Schedule: fmt.Sprintf("schedule-%07d", i)}
		jobs[i] = river.NewPeriodicJob(everyFull(every), func() (river.JobArgs, *river.InsertOpts) {
			return args, &options
		}, nil)
	}
	return river.NewClient(driver, &river.Config{
		Logger: quiet, PeriodicJobs: jobs, Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}}, // without one it does not lead
	})
}

// riverRows are the runs that river has enqueued, as commits reads them.
const riverRows = "SELECT scheduled_at AS slot, xmin FROM river_job"

// fireRiver measures from each instant to the commit of its last row. Its first slot is its quiet look at the database.
func fireRiver(o options, unique bool) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		if err := db.tracksCommits(ctx); err != nil {
			return nil, err
		}
		// Long enough that a slot never waits for the one before it.
		every := (time.Second + time.Duration(o.schedules)*200*time.Microsecond).Truncate(time.Second)
		stop, err := startRiver(ctx, db, 1, o.schedules, every, unique)
		if err != nil {
			return nil, err
		}
		err = await(ctx, every*time.Duration(o.slots+10), func() (bool, error) {
			var last int // the sequence is cheap to look at, while rows are being counted
			err := db.read(ctx, []any{&last}, "SELECT last_value FROM river_job_id_seq")
			return last > o.schedules*(o.slots+1), err
		})
		if err = errors.Join(err, stop()); err != nil {
			return nil, err
		}
		list, err := db.commits(ctx, riverRows)
		if err != nil {
			return nil, err
		}
		if len(list) < o.slots+1 {
			return nil, fmt.Errorf("river enqueued %d slots instead of %d", len(list), o.slots+1)
		}
		took := make([]time.Duration, o.slots)
		for i, c := range list[1 : o.slots+1] {
			if c.rows != o.schedules {
				return nil, fmt.Errorf("river enqueued %d jobs at a slot instead of %d", c.rows, o.schedules)
			}
			took[i] = c.last.Sub(c.slot)
		}
		return []float64{rate(o.schedules, took)}, nil
	})
}
