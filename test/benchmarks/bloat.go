package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// bloat: an hour of firing every second, compressed. Does the table of schedules grow, and do the ticks slow down?
var bloat = workload{
	name: "bloat",
	metrics: []metric{
		{"table and indexes, before", kilobytes},
		{"table and indexes, after", kilobytes},
		{"primary key, before", kilobytes},
		{"primary key, after", kilobytes},
		{"index on what is due, before", kilobytes},
		{"index on what is due, after", kilobytes},
		{"updates that wrote no index entry", share},
		{"autovacuums", count},
		{"a tick, first hundred", milliseconds},
		{"a tick, last hundred", milliseconds},
	},
	peers: func(o options) []peer {
		return []peer{{fmt.Sprintf("hourbell, %s ticks of %s", thousands(o.ticks), thousands(perInstant)), bloatHourbell(o)}}
	},
	once: true,
}

func bloatHourbell(o options) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) (figures []float64, err error) {
		s, err := newStepped(ctx, db, 1, config(perInstant, everySecond))
		if err != nil {
			return nil, err
		}
		restore, err := db.hurryAutovacuum(ctx, o.pace)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, restore()) }()
		if err := db.settle(ctx); err != nil {
			return nil, err
		}
		before, err := db.sizes(ctx)
		if err != nil {
			return nil, err
		}
		took, err := s.everySecond(ctx, o.ticks, o.pace)
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
		some := min(100, o.ticks/2)
		return append(figures, hot, vacuums, typical(took[:some]), typical(took[len(took)-some:])), err
	})
}

// sizes are those of the table of schedules with its indexes, of its primary key, and of its other index, in kB.
func (db *database) sizes(ctx context.Context) (sizes [3]float64, err error) {
	return sizes, db.read(ctx, []any{&sizes[0], &sizes[1], &sizes[2]}, `
SELECT pg_total_relation_size('hourbell_schedules') / 1024.0, pg_relation_size('hourbell_schedules_pkey') / 1024.0,
	pg_relation_size('hourbell_schedules_due') / 1024.0`)
}

// everySecond ticks once for each of so many seconds of the clock set by hand, and takes at least pace for each. The
// first second, which comes after a jump of the clock, does not count.
func (s *stepped) everySecond(ctx context.Context, ticks int, pace time.Duration) ([]time.Duration, error) {
	took := make([]time.Duration, 0, ticks)
	for i := -1; i < ticks; i++ {
		slot := firstSlot.Add(time.Duration(i) * time.Second)
		s.clock.Set(slot)
		began := time.Now()
		fired, err := s.tick(ctx)
		d := time.Since(began)
		if i >= 0 {
			took = append(took, d)
			err = errors.Join(err, unless(fired == perInstant, "second %d: %d schedules fired instead of %d", i, fired, perInstant))
		}
		if err == nil {
			err = pass(ctx, pace-d)
		}
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}

// hurryAutovacuum makes the server look for something to vacuum as often in the compressed hour as it would in a real
// one. It is a setting of the whole server, and is taken back afterwards.
func (db *database) hurryAutovacuum(ctx context.Context, pace time.Duration) (restore func() error, err error) {
	if pace == time.Second {
		return func() error { return nil }, nil
	}
	var between float64
	if err := db.read(ctx, []any{&between}, "SELECT extract(epoch FROM current_setting('autovacuum_naptime')::interval)::float8"); err != nil {
		return nil, err
	}
	set := func(ctx context.Context, statement string) error {
		return errors.Join(db.exec(ctx, statement), db.exec(ctx, "SELECT pg_reload_conf()"))
	}
	restore = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		return set(ctx, "ALTER SYSTEM RESET autovacuum_naptime")
	}
	return restore, set(ctx, fmt.Sprintf("ALTER SYSTEM SET autovacuum_naptime = '%ds'", max(1, int(between*pace.Seconds()))))
}
