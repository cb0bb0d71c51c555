package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// bloatWorkload fires every second for an hour, compressed in time. It measures
// whether the table of schedules grows and whether ticks become slower.
var bloatWorkload = workload{
	name: "bloat",
	metrics: []metric{
		{"table and indexes, before", kilobytes},
		{"table and indexes, after", kilobytes},
		{"primary key, before", kilobytes},
		{"primary key, after", kilobytes},
		{"index on due schedules, before", kilobytes},
		{"index on due schedules, after", kilobytes},
		{"updates without index writes", percent},
		{"autovacuums", count},
		{"time per tick, first hundred", milliseconds},
		{"time per tick, last hundred", milliseconds},
	},
	peers: func(o options) []peer {
		return []peer{{fmt.Sprintf("hourbell, %s ticks of %s", thousands(o.ticks), thousands(duePerSecond)), bloatHourbell(o)}}
	},
	once: true,
}

func bloatHourbell(o options) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) (figures []float64, err error) {
		f, err := newFleet(ctx, db, 1, newConfig(duePerSecond, everySecond))
		if err != nil {
			return nil, err
		}
		restore, err := db.speedUpAutovacuum(ctx, o.pace)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, restore()) }()
		if err := db.vacuum(ctx); err != nil {
			return nil, err
		}
		before, err := db.sizes(ctx)
		if err != nil {
			return nil, err
		}
		durations, err := f.tickEverySecond(ctx, o.ticks, o.pace)
		if err != nil {
			return nil, err
		}
		after, err := db.sizes(ctx)
		if err != nil {
			return nil, err
		}
		var hot, vacuums float64
		err = db.read(ctx, []any{&hot, &vacuums}, `
SELECT 100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1), autovacuum_count FROM pg_stat_user_tables WHERE relname = 'hourbell_schedules'`)
		for i := range before {
			figures = append(figures, before[i], after[i])
		}
		n := min(100, o.ticks/2)
		return append(figures, hot, vacuums, medianMilliseconds(durations[:n]), medianMilliseconds(durations[len(durations)-n:])), err
	})
}

// sizes returns in kB the size of the table of schedules with its indexes, of
// its primary key, and of its index on due schedules.
func (db *database) sizes(ctx context.Context) (sizes [3]float64, err error) {
	return sizes, db.read(ctx, []any{&sizes[0], &sizes[1], &sizes[2]}, `
SELECT pg_total_relation_size('hourbell_schedules') / 1024.0, pg_relation_size('hourbell_schedules_pkey') / 1024.0,
	pg_relation_size('hourbell_schedules_due') / 1024.0`)
}

// tickEverySecond ticks once for each second of the manual clock and takes at
// least pace for each. It leaves out the first tick, which follows a jump of
// the clock.
func (f *fleet) tickEverySecond(ctx context.Context, ticks int, pace time.Duration) ([]time.Duration, error) {
	durations := make([]time.Duration, 0, ticks)
	for i := -1; i < ticks; i++ {
		f.clock.Set(firstSlot.Add(time.Duration(i) * time.Second))
		start := time.Now()
		fired, err := f.tick(ctx)
		d := time.Since(start)
		if i >= 0 {
			durations = append(durations, d)
			err = errors.Join(err, errorUnless(fired == duePerSecond, "second %d: %d schedules fired instead of %d", i, fired, duePerSecond))
		}
		if err == nil {
			err = sleep(ctx, pace-d)
		}
		if err != nil {
			return nil, err
		}
	}
	return durations, nil
}

// speedUpAutovacuum shortens the pause between autovacuums as much as the hour
// is compressed. It changes a setting of the whole server; restore resets it.
func (db *database) speedUpAutovacuum(ctx context.Context, pace time.Duration) (restore func() error, err error) {
	if pace == time.Second {
		return func() error { return nil }, nil
	}
	var naptime float64
	if err := db.read(ctx, []any{&naptime}, "SELECT extract(epoch FROM current_setting('autovacuum_naptime')::interval)::float8"); err != nil {
		return nil, err
	}
	set := func(ctx context.Context, statement string) error {
		return errors.Join(db.exec(ctx, statement), db.exec(ctx, "SELECT pg_reload_conf()"))
	}
	restore = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		return set(ctx, "ALTER SYSTEM RESET autovacuum_naptime")
	}
	return restore, set(ctx, fmt.Sprintf("ALTER SYSTEM SET autovacuum_naptime = '%ds'", max(1, int(naptime*pace.Seconds()))))
}
