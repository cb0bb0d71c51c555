package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// duePerSecond is the number of schedules that are due every second in
// workloads in real time.
const duePerSecond = 200

// latenessWorkload fires some schedules every second. It measures how long
// after the second their runs are committed.
var latenessWorkload = workload{
	name:    "lateness",
	metrics: []metric{{"p50", milliseconds}, {"p99", milliseconds}, {"fires missing", count}},
	peers: func(o options) []peer {
		return []peer{
			{"limit", latenessLimit(o, 1)},
			{"hourbell", latenessHourbell(o, 1)},
			{"river", latenessRiver(o, 1, false)},
			{"river, unique", latenessRiver(o, 1, true)},
			{"limit ×4", latenessLimit(o, 4)},
			{"hourbell ×4", latenessHourbell(o, 4)},
			{"river ×4", latenessRiver(o, 4, false)},
		}
	},
	targets: func(options) []target {
		return []target{
			{"hourbell", "p50", "limit", bound{}},
			{"hourbell", "p50", "river", atMost(1)},
			{"hourbell", "p99", "limit", bound{}},
			{"hourbell", "p99", "river", atMost(0.6)},
			{"hourbell", "p99", "river, unique", bound{}},
			{"hourbell", "fires missing", "", atMost(0)},
			{"hourbell ×4", "p50", "limit ×4", bound{}},
			{"hourbell ×4", "p50", "river ×4", atMost(1)},
			{"hourbell ×4", "p99", "limit ×4", bound{}},
			{"hourbell ×4", "p99", "river ×4", atMost(1)},
			{"hourbell ×4", "fires missing", "", atMost(0)},
		}
	},
}

// startFunc starts a peer that fires in real time until stop is called.
type startFunc func(ctx context.Context, db *database) (stop func() error, err error)

// measureLateness starts a peer, lets it run for a number of full seconds, and
// reads the commit times of the runs of these seconds.
func measureLateness(o options, rows string, start startFunc) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		if err := db.requireCommitTimestamps(ctx); err != nil {
			return nil, err
		}
		stop, err := start(ctx, db)
		if err != nil {
			return nil, err
		}
		from, to, err := db.watch(ctx, rows, o.seconds)
		if err = errors.Join(err, stop()); err != nil {
			return nil, err
		}
		lateness, err := db.lateness(ctx, rows, from, to)
		if err != nil {
			return nil, err
		}
		return latenessFigures(lateness, o.seconds)
	})
}

// watch waits until a peer has fired twice, and then for a number of seconds.
// It returns the bounds of these seconds.
func (db *database) watch(ctx context.Context, rows string, seconds int) (from, to time.Time, err error) {
	var last *time.Time
	err = waitUntil(ctx, time.Minute, func() (bool, error) {
		var slots int
		err := db.read(ctx, []any{&slots, &last}, "SELECT count(DISTINCT slot), max(slot) FROM ("+rows+") q")
		return slots >= 2, err
	})
	if err != nil {
		return from, to, fmt.Errorf("no fires: %w", err)
	}
	from = last.Add(time.Second)
	to = from.Add(time.Duration(seconds) * time.Second)
	// Slots follow the server's clock. The wait leaves 900 ms for the commits
	// of the last slot.
	var now time.Time
	if err := db.read(ctx, []any{&now}, "SELECT clock_timestamp()"); err != nil {
		return from, to, err
	}
	return from, to, sleep(ctx, to.Add(-100*time.Millisecond).Sub(now))
}

func latenessFigures(lateness []float64, seconds int) ([]float64, error) {
	if len(lateness) == 0 {
		return nil, errors.New("no fires")
	}
	if earliest := slices.Min(lateness); earliest < 0 {
		return nil, fmt.Errorf("a run was committed %.3f ms before its slot", -earliest)
	}
	return []float64{percentile(lateness, 50), percentile(lateness, 99), float64(duePerSecond*seconds - len(lateness))}, nil
}

// hourbellRows selects slot and xmin of hourbell's runs.
const hourbellRows = "SELECT scheduled_for AS slot, xmin FROM hourbell_job_runs"

func latenessHourbell(o options, replicas int) measureFunc {
	return measureLateness(o, hourbellRows, func(ctx context.Context, db *database) (func() error, error) {
		return startReplicas(ctx, db, replicas, newConfig(duePerSecond, everySecond))
	})
}

func latenessRiver(o options, clients int, unique bool) measureFunc {
	return measureLateness(o, riverRows, func(ctx context.Context, db *database) (func() error, error) {
		return startRiver(ctx, db, clients, duePerSecond, time.Second, unique)
	})
}

// limitRows selects slot and xmin of the limit's runs.
const limitRows = "SELECT scheduled_for AS slot, xmin FROM runs"

func latenessLimit(o options, connections int) measureFunc {
	return measureLateness(o, limitRows, func(ctx context.Context, db *database) (func() error, error) {
		first := time.Now().Truncate(time.Second).Add(2 * time.Second)
		pool, err := fullLimit.create(ctx, db, duePerSecond, connections, first)
		if err != nil {
			return nil, err
		}
		if err := db.vacuum(ctx); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- inParallel(connections, func(int) error {
				err := fireEachSecond(ctx, pool, first)
				if ctx.Err() != nil {
					return nil
				}
				return err
			})
		}()
		return func() error {
			cancel()
			return <-ended
		}, nil
	})
}
