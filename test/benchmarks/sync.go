package main

import (
	"context"
	"time"
)

// synchronise: what does a start cost with many definitions, the first time and ever after?
var synchronise = workload{
	name:    "sync",
	metrics: []metric{{"first", milliseconds}, {"unchanged", milliseconds}, {"statements unchanged", count}, {"log written unchanged", bytes}},
	peers: func(o options) []peer {
		return []peer{{defined(100), syncHourbell(o, 100)}, {defined(o.schedules), syncHourbell(o, o.schedules)}}
	},
	targets: func(o options) []target {
		return []target{
			{defined(o.schedules), "first", "", atMost(200)},
			{defined(o.schedules), "unchanged", "", atMost(5)},
			{defined(o.schedules), "statements unchanged", defined(100), atMost(1)},
			{defined(o.schedules), "log written unchanged", "", atMost(0)},
		}
	},
}

func defined(n int) string { return "hourbell, " + thousands(n) + " definitions" }

func syncHourbell(o options, n int) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		cfg := config(n, everyHour)
		var sent tally
		sync := func() (took time.Duration, statements, written float64, err error) {
			one, err := replica(ctx, db, cfg, &sent) // as after a restart: it remembers nothing
			if err != nil {
				return 0, 0, 0, err
			}
			from, err := db.logEnd(ctx)
			if err != nil {
				return 0, 0, 0, err
			}
			before, began := sent.all.Load(), time.Now()
			err = one.Sync(ctx)
			took = time.Since(began)
			if err != nil {
				return 0, 0, 0, err
			}
			statements = float64(sent.all.Load() - before)
			to, err := db.logEnd(ctx)
			return took, statements, to - from, err
		}
		first, _, _, err := sync()
		if err != nil {
			return nil, err
		}
		if err := db.leaveAlone(ctx); err != nil {
			return nil, err
		}
		var took []time.Duration
		var statements, written []float64
		for range o.slots {
			t, s, w, err := sync()
			if err != nil {
				return nil, err
			}
			took, statements, written = append(took, t), append(statements, s), append(written, w)
		}
		return []float64{inMilliseconds(first), typical(took), median(statements), median(written)}, nil
	})
}
