package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// perInstant is how many schedules are due every second where the real clock runs.
const perInstant = 200

// lateness: some schedules are due every second; how long after the second were their rows committed?
var lateness = workload{
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

// onTheSecond measures a peer by the real clock: start it, watch so many whole seconds from one that it surely saw,
// stop it, and read when the rows of those seconds were committed.
func onTheSecond(o options, rows string, start func(context.Context, *database) (stop func() error, err error)) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		if err := db.tracksCommits(ctx); err != nil {
			return nil, err
		}
		stop, err := start(ctx, db)
		if err != nil {
			return nil, err
		}
		from, to, err := db.watched(ctx, rows, o.seconds)
		if err = errors.Join(err, stop()); err != nil {
			return nil, err
		}
		late, err := db.lateness(ctx, rows, from, to)
		if err != nil {
			return nil, err
		}
		return lateFigures(late, o.seconds)
	})
}

// watched waits until a peer has fired twice and then for so many seconds, which it returns.
func (db *database) watched(ctx context.Context, rows string, seconds int) (from, to time.Time, err error) {
	var last *time.Time
	err = await(ctx, time.Minute, func() (bool, error) {
		var instants int
		err := db.read(ctx, []any{&instants, &last}, "SELECT count(DISTINCT slot), max(slot) FROM ("+rows+") q")
		return instants >= 2, err
	})
	if err != nil {
		return from, to, fmt.Errorf("fired nothing: %w", err)
	}
	from = last.Add(time.Second)
	to = from.Add(time.Duration(seconds) * time.Second)
	// By the server's clock, for it is that of the slots, and long enough for the last of them to be seen.
	var now time.Time
	if err := db.read(ctx, []any{&now}, "SELECT clock_timestamp()"); err != nil {
		return from, to, err
	}
	return from, to, pass(ctx, to.Add(-100*time.Millisecond).Sub(now))
}

func lateFigures(late []float64, seconds int) ([]float64, error) {
	if len(late) == 0 {
		return nil, errors.New("fired nothing")
	}
	if early := slices.Min(late); early < 0 {
		return nil, fmt.Errorf("a row was committed %.3f ms before its instant", -early)
	}
	return []float64{percentile(late, 50), percentile(late, 99), float64(perInstant*seconds - len(late))}, nil
}

// hourbellRows are the runs that hourbell has enqueued, as commits reads them.
const hourbellRows = "SELECT scheduled_for AS slot, xmin FROM hourbell_job_runs"

func latenessHourbell(o options, replicas int) func(context.Context, *server) ([]float64, error) {
	return onTheSecond(o, hourbellRows, func(ctx context.Context, db *database) (func() error, error) {
		return startHourbell(ctx, db, replicas, config(perInstant, everySecond))
	})
}

func latenessRiver(o options, clients int, unique bool) func(context.Context, *server) ([]float64, error) {
	return onTheSecond(o, riverRows, func(ctx context.Context, db *database) (func() error, error) {
		return startRiver(ctx, db, clients, perInstant, time.Second, unique)
	})
}

// limitRows are the runs of the limit, as commits reads them.
const limitRows = "SELECT scheduled_for AS slot, xmin FROM runs"

func latenessLimit(o options, connections int) func(context.Context, *server) ([]float64, error) {
	return onTheSecond(o, limitRows, func(ctx context.Context, db *database) (func() error, error) {
		first := time.Now().Truncate(time.Second).Add(2 * time.Second)
		pool, err := whole.lay(ctx, db, perInstant, connections, first)
		if err != nil {
			return nil, err
		}
		if err := db.settle(ctx); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- together(connections, func(int) error {
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
