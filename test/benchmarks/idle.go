package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hourbell/hourbell"
)

// competingReplicas is the number of replicas that wake for the same slot.
const competingReplicas = 8

// idleWorkload measures the cost of an idle replica, and the cost of replicas
// that wake for a slot which another replica fires.
var idleWorkload = workload{
	name:    "idle",
	metrics: []metric{{"statements per minute", count}, {"WAL per minute", bytes}, {"statements per slot by replicas that did not fire", count}},
	peers: func(o options) []peer {
		return []peer{
			{hourbellSchedules(100), idleHourbell(o, 100)},
			{hourbellSchedules(o.schedules), idleHourbell(o, o.schedules)},
			{fmt.Sprintf("hourbell ×%d, one slot", competingReplicas), idleCompeting(o)},
		}
	},
	targets: func(o options) []target {
		return []target{
			{hourbellSchedules(o.schedules), "statements per minute", hourbellSchedules(100), atMost(1)},
			{hourbellSchedules(o.schedules), "statements per minute", "", atMost(8)},
			{hourbellSchedules(o.schedules), "WAL per minute", hourbellSchedules(100), bound{}},
		}
	},
}

func hourbellSchedules(n int) string { return "hourbell, " + thousands(n) + " schedules" }

func idleHourbell(o options, n int) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		ticked := make(chan struct{}, 1)
		cfg := newConfig(n, yearly)
		cfg.OnTick = func(hourbell.TickReport) {
			select {
			case ticked <- struct{}{}:
			default:
			}
		}
		var sent statementCounter
		scheduler, err := newReplica(ctx, db, cfg, &sent)
		if err != nil {
			return nil, err
		}
		if err := scheduler.Sync(ctx); err != nil {
			return nil, err
		}
		if err := db.disableAutovacuum(ctx); err != nil {
			return nil, err
		}
		stop := runAll(ctx, []*hourbell.Scheduler{scheduler})
		statements, wal, err := db.measureIdle(ctx, o.idle, ticked, &sent)
		if err = errors.Join(err, stop()); err != nil {
			return nil, err
		}
		minutes := o.idle.Minutes()
		return []float64{statements / minutes, wal / minutes, absent}, nil
	})
}

// measureIdle returns the statements sent and the bytes of WAL written in a
// window that starts after the first tick.
func (db *database) measureIdle(ctx context.Context, window time.Duration, ticked <-chan struct{}, sent *statementCounter) (statements, wal float64, err error) {
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(time.Minute):
		return 0, 0, errors.New("no tick within a minute")
	case <-ticked:
	}
	from, err := db.walPosition(ctx)
	if err != nil {
		return 0, 0, err
	}
	before := sent.all.Load()
	if err := sleep(ctx, window); err != nil {
		return 0, 0, err
	}
	statements = float64(sent.all.Load() - before)
	to, err := db.walPosition(ctx)
	return statements, to - from, err
}

// walPosition returns the server's position in its write-ahead log, in bytes.
// Other databases and the server's own maintenance write to the same log.
func (db *database) walPosition(ctx context.Context) (position float64, err error) {
	return position, db.read(ctx, []any{&position}, "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8")
}

// disableAutovacuum vacuums all tables and disables autovacuum on them, so that
// its writes are not measured.
func (db *database) disableAutovacuum(ctx context.Context) error {
	if err := db.vacuum(ctx); err != nil {
		return err
	}
	return db.exec(ctx, `DO $$ DECLARE t regclass; BEGIN
	FOR t IN SELECT relid FROM pg_stat_user_tables LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t); END LOOP;
END $$`)
}

// idleCompeting runs replicas for one schedule and counts the statements of
// ticks that fired nothing.
func idleCompeting(o options) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		var fired, wasted atomic.Int64
		counting := make(chan struct{}) // closed once all replicas run
		schedulers := make([]*hourbell.Scheduler, competingReplicas)
		for i := range schedulers {
			var sent statementCounter
			var before int64
			cfg := newConfig(1, everySecond)
			cfg.OnTick = func(report hourbell.TickReport) {
				now := sent.schedules.Load()
				select {
				case <-counting:
					if report.Fired == 0 {
						wasted.Add(now - before)
					}
					fired.Add(int64(report.Fired))
				default:
				}
				before = now
			}
			var err error
			if schedulers[i], err = newReplica(ctx, db, cfg, &sent); err != nil {
				return nil, err
			}
		}
		stop := runAll(ctx, schedulers)
		_, _, err := db.watch(ctx, hourbellRows, 1)
		close(counting)
		if err == nil {
			window := time.Duration(o.seconds)*time.Second + time.Minute
			err = waitUntil(ctx, window, func() (bool, error) { return fired.Load() >= int64(o.seconds), nil })
		}
		slots, statements := fired.Load(), wasted.Load()
		return []float64{absent, absent, float64(statements) / float64(slots)}, errors.Join(err, stop())
	})
}
