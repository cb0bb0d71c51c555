package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hourbell/hourbell"
)

// fireWorkload fires many schedules that are due at the same time, with one job
// each. It measures the time to the commit of the last run.
var fireWorkload = workload{
	name:    "fire",
	metrics: []metric{{"fired", perSecond}},
	peers: func(o options) []peer {
		return []peer{
			{"bare minimum", fireLimit(o, bareLimit, 1)},
			{"limit", fireLimit(o, fullLimit, 1)},
			{"limit ×4", fireLimit(o, fullLimit, 4)},
			{"own tables, one statement", fireOwnTables(o, sendOwnFire)},
			{"own tables, two steps", fireOwnTables(o, sendOwnClaim)},
			{"hourbell", fireHourbell(o, 1, nil)},
			{"hourbell ×4", fireHourbell(o, 4, nil)},
			{"hourbell, Enqueuer", fireHourbell(o, 1, noopEnqueuer{})},
			{"river", fireRiver(o, false)},
			{"river, unique", fireRiver(o, true)},
		}
	},
	targets: func(options) []target {
		return []target{
			{"bare minimum", "fired", "limit", bound{}},
			{"limit ×4", "fired", "limit", bound{}},
			{"own tables, one statement", "fired", "limit", bound{}},
			{"own tables, two steps", "fired", "limit", bound{}},
			{"hourbell", "fired", "limit", atLeast(0.75)},
			{"hourbell", "fired", "own tables, one statement", bound{}},
			{"hourbell", "fired", "river", atLeast(2)},
			{"hourbell", "fired", "river, unique", bound{}},
			{"hourbell ×4", "fired", "hourbell", atLeast(0.7)},
			{"hourbell ×4", "fired", "limit ×4", bound{}},
			{"hourbell ×4", "fired", "river", atLeast(2)},
			{"hourbell, Enqueuer", "fired", "limit", atLeast(0.45)},
			{"hourbell, Enqueuer", "fired", "own tables, two steps", bound{}},
			{"river", "fired", "limit", bound{}},
		}
	},
}

func fireLimit(o options, l limit, connections int) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		pool, err := l.create(ctx, db, o.schedules, connections, firstSlot)
		if err != nil {
			return nil, err
		}
		if err := db.vacuum(ctx); err != nil {
			return nil, err
		}
		durations, err := hourlySlots(o.slots, func(slot time.Time) (time.Duration, error) {
			send := func(ctx context.Context, conn *pgxpool.Conn) (int64, error) {
				tag, err := conn.Exec(ctx, l.fire, slot, slot.Add(time.Hour), batchSize)
				return tag.RowsAffected(), err
			}
			return db.timeToCommit(ctx, limitRows, slot, func() error {
				_, err := sendBatches(ctx, pool, connections, o.schedules, send)
				return err
			})
		})
		return []float64{medianRate(o.schedules, durations)}, err
	})
}

func fireOwnTables(o options, send ownSendFunc) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		pool, err := createOwnTables(ctx, db, o.schedules, firstSlot)
		if err != nil {
			return nil, err
		}
		durations, err := hourlySlots(o.slots, func(slot time.Time) (time.Duration, error) {
			return db.timeToCommit(ctx, hourbellRows, slot, func() error {
				_, err := sendBatches(ctx, pool, 1, o.schedules, func(ctx context.Context, conn *pgxpool.Conn) (int64, error) {
					return send(ctx, conn, slot, []string{"job"})
				})
				return err
			})
		})
		return []float64{medianRate(o.schedules, durations)}, err
	})
}

func fireHourbell(o options, replicas int, enqueuer hourbell.Enqueuer) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		cfg := newConfig(o.schedules, hourly)
		cfg.Enqueuer = enqueuer
		f, err := newFleet(ctx, db, replicas, cfg)
		if err != nil {
			return nil, err
		}
		if err := db.vacuum(ctx); err != nil {
			return nil, err
		}
		durations, err := hourlySlots(o.slots, func(slot time.Time) (time.Duration, error) {
			if err := f.prepare(ctx, slot); err != nil {
				return 0, err
			}
			duration, err := db.timeToCommit(ctx, hourbellRows, slot, func() error { return f.fireDue(ctx, slot, o.schedules) })
			if err != nil {
				return 0, err
			}
			return duration, requireOneRunEach(ctx, db, slot, o.schedules)
		})
		return []float64{medianRate(o.schedules, durations)}, err
	})
}

// requireOneRunEach fails unless n schedules have exactly one run each at a
// slot.
func requireOneRunEach(ctx context.Context, db *database, slot time.Time, n int) error {
	var runs, schedules int
	err := db.read(ctx, []any{&runs, &schedules},
		"SELECT count(*), count(DISTINCT schedule_id) FROM hourbell_job_runs WHERE scheduled_for = $1", slot)
	if err == nil && (runs != n || schedules != n) {
		err = fmt.Errorf("%d runs of %d schedules instead of one run of each of %d", runs, schedules, n)
	}
	return err
}
