package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hourbell/hourbell"
)

// herd is how many replicas wake for one slot.
const herd = 8

// idle: what does a replica cost that has nothing to do, and what do those that wake for a slot in vain?
var idle = workload{
	name:    "idle",
	metrics: []metric{{"statements a minute", count}, {"log written a minute", bytes}, {"statements of all losers of a slot", count}},
	peers: func(o options) []peer {
		return []peer{
			{idling(100), idleHourbell(o, 100)},
			{idling(o.schedules), idleHourbell(o, o.schedules)},
			{fmt.Sprintf("hourbell ×%d, one slot", herd), wakeHerd(o)},
		}
	},
	targets: func(o options) []target {
		return []target{
			{idling(o.schedules), "statements a minute", idling(100), atMost(1)},
			{idling(o.schedules), "statements a minute", "", atMost(8)},
			{idling(o.schedules), "log written a minute", idling(100), bound{}},
		}
	},
}

func idling(schedules int) string { return "hourbell, " + thousands(schedules) + " schedules" }

func idleHourbell(o options, n int) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		ticked := make(chan struct{}, 1)
		cfg := config(n, everyYear)
		cfg.OnTick = func(hourbell.TickReport) {
			select {
			case ticked <- struct{}{}:
			default:
			}
		}
		var sent tally
		one, err := replica(ctx, db, cfg, &sent)
		if err != nil {
			return nil, err
		}
		if err := one.Sync(ctx); err != nil {
			return nil, err
		}
		if err := db.leaveAlone(ctx); err != nil {
			return nil, err
		}
		stop := runAll(ctx, []*hourbell.Scheduler{one})
		statements, written, err := db.idleFor(ctx, o.idle, ticked, &sent)
		if err = errors.Join(err, stop()); err != nil {
			return nil, err
		}
		minutes := o.idle.Minutes()
		return []float64{statements / minutes, written / minutes, absent}, nil
	})
}

// idleFor counts what is sent and what is written to the log while time passes, from the end of the first tick on.
func (db *database) idleFor(ctx context.Context, window time.Duration, ticked <-chan struct{}, sent *tally) (statements, written float64, err error) {
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(time.Minute):
		return 0, 0, errors.New("no tick within a minute")
	case <-ticked:
	}
	from, err := db.logEnd(ctx)
	if err != nil {
		return 0, 0, err
	}
	before := sent.all.Load()
	if err := pass(ctx, window); err != nil {
		return 0, 0, err
	}
	statements = float64(sent.all.Load() - before)
	to, err := db.logEnd(ctx)
	return statements, to - from, err
}

// logEnd is how much the server has written to its log, in bytes. Other databases and the server's own housekeeping
// write there too.
func (db *database) logEnd(ctx context.Context) (end float64, err error) {
	return end, db.read(ctx, []any{&end}, "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8")
}

// leaveAlone settles and then keeps autovacuum from the tables: what it writes is no work of the peer's.
func (db *database) leaveAlone(ctx context.Context) error {
	if err := db.settle(ctx); err != nil {
		return err
	}
	return db.exec(ctx, `DO $$ DECLARE t regclass; BEGIN
	FOR t IN SELECT relid FROM pg_stat_user_tables LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t); END LOOP;
END $$`)
}

// wakeHerd runs replicas for one schedule and counts what was sent by ticks that fired nothing.
func wakeHerd(o options) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		var fired, lost atomic.Int64
		counting := make(chan struct{}) // closed once all have started
		list := make([]*hourbell.Scheduler, herd)
		for i := range list {
			var sent tally
			var before int64
			cfg := config(1, everySecond)
			cfg.OnTick = func(report hourbell.TickReport) {
				now := sent.schedules.Load()
				select {
				case <-counting:
					if report.Fired == 0 {
						lost.Add(now - before)
					}
					fired.Add(int64(report.Fired))
				default:
				}
				before = now
			}
			var err error
			if list[i], err = replica(ctx, db, cfg, &sent); err != nil {
				return nil, err
			}
		}
		stop := runAll(ctx, list)
		_, _, err := db.watched(ctx, hourbellRows, 1)
		close(counting)
		if err == nil {
			err = await(ctx, time.Duration(o.seconds)*time.Second+time.Minute, func() (bool, error) { return fired.Load() >= int64(o.seconds), nil })
		}
		slots, statements := fired.Load(), lost.Load()
		return []float64{absent, absent, float64(statements) / float64(slots)}, errors.Join(err, stop())
	})
}
