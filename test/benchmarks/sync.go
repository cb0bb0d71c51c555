package main

import (
	"context"
	"time"
)

// syncWorkload measures the sync of many definitions: the first one, and those
// that change nothing.
var syncWorkload = workload{
	name:    "sync",
	metrics: []metric{{"first", milliseconds}, {"unchanged", milliseconds}, {"statements, unchanged", count}, {"WAL, unchanged", bytes}},
	peers: func(o options) []peer {
		return []peer{{hourbellDefinitions(100), syncHourbell(o, 100)}, {hourbellDefinitions(o.schedules), syncHourbell(o, o.schedules)}}
	},
	targets: func(o options) []target {
		return []target{
			{hourbellDefinitions(o.schedules), "first", "", atMost(200)},
			{hourbellDefinitions(o.schedules), "unchanged", "", atMost(5)},
			{hourbellDefinitions(o.schedules), "statements, unchanged", hourbellDefinitions(100), atMost(1)},
			{hourbellDefinitions(o.schedules), "WAL, unchanged", "", atMost(0)},
		}
	},
}

func hourbellDefinitions(n int) string { return "hourbell, " + thousands(n) + " definitions" }

func syncHourbell(o options, n int) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		cfg := newConfig(n, hourly)
		var sent statementCounter
		sync := func() (duration time.Duration, statements, wal float64, err error) {
			scheduler, err := newReplica(ctx, db, cfg, &sent) // a new one, as after a restart
			if err != nil {
				return 0, 0, 0, err
			}
			from, err := db.walPosition(ctx)
			if err != nil {
				return 0, 0, 0, err
			}
			before, start := sent.all.Load(), time.Now()
			err = scheduler.Sync(ctx)
			duration = time.Since(start)
			if err != nil {
				return 0, 0, 0, err
			}
			statements = float64(sent.all.Load() - before)
			to, err := db.walPosition(ctx)
			return duration, statements, to - from, err
		}
		first, _, _, err := sync()
		if err != nil {
			return nil, err
		}
		if err := db.disableAutovacuum(ctx); err != nil {
			return nil, err
		}
		var durations []time.Duration
		var statements, wal []float64
		for range o.slots {
			d, s, w, err := sync()
			if err != nil {
				return nil, err
			}
			durations, statements, wal = append(durations, d), append(statements, s), append(wal, w)
		}
		return []float64{inMilliseconds(first), medianMilliseconds(durations), median(statements), median(wal)}, nil
	})
}
