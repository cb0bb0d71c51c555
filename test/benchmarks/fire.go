package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hourbell/hourbell"
)

// fire: many schedules are due at one instant, one job each. What counts is when the last of their rows is committed, by
// the server's clock.
var fire = workload{
	name:    "fire",
	metrics: []metric{{"fired", perSecond}},
	peers: func(o options) []peer {
		return []peer{
			{"bare minimum", fireLimit(o, bare, 1)},
			{"limit", fireLimit(o, whole, 1)},
			{"limit ×4", fireLimit(o, whole, 4)},
			{"own tables, one statement", fireOwn(o, sendOwnFire)},
			{"own tables, two steps", fireOwn(o, sendOwnSteps)},
			{"hourbell", fireHourbell(o, 1, nil)},
			{"hourbell ×4", fireHourbell(o, 4, nil)},
			{"hourbell, Enqueuer", fireHourbell(o, 1, noEnqueuer{})},
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

func fireLimit(o options, l limit, connections int) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		pool, err := l.lay(ctx, db, o.schedules, connections, firstSlot)
		if err != nil {
			return nil, err
		}
		if err := db.settle(ctx); err != nil {
			return nil, err
		}
		took, err := hourlySlots(o.slots, func(slot time.Time) (time.Duration, error) {
			send := func(ctx context.Context, conn *pgxpool.Conn) (int64, error) {
				tag, err := conn.Exec(ctx, l.fire, slot, slot.Add(time.Hour), batch)
				return tag.RowsAffected(), err
			}
			return db.untilLast(ctx, limitRows, slot, func() error {
				return second(fireRaw(ctx, pool, connections, o.schedules, send))
			})
		})
		return []float64{rate(o.schedules, took)}, err
	})
}

func fireOwn(o options, send func(context.Context, *pgxpool.Conn, time.Time, []string) (int64, error)) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		pool, err := newOwn(ctx, db, o.schedules, firstSlot)
		if err != nil {
			return nil, err
		}
		took, err := hourlySlots(o.slots, func(slot time.Time) (time.Duration, error) {
			return db.untilLast(ctx, hourbellRows, slot, func() error {
				return second(fireRaw(ctx, pool, 1, o.schedules, func(ctx context.Context, conn *pgxpool.Conn) (int64, error) {
					return send(ctx, conn, slot, []string{"job"})
				}))
			})
		})
		return []float64{rate(o.schedules, took)}, err
	})
}

func fireHourbell(o options, replicas int, enqueuer hourbell.Enqueuer) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		cfg := config(o.schedules, everyHour)
		cfg.Enqueuer = enqueuer
		s, err := newStepped(ctx, db, replicas, cfg)
		if err != nil {
			return nil, err
		}
		if err := db.settle(ctx); err != nil {
			return nil, err
		}
		took, err := hourlySlots(o.slots, func(slot time.Time) (time.Duration, error) {
			if err := s.ready(ctx, slot); err != nil {
				return 0, err
			}
			took, err := db.untilLast(ctx, hourbellRows, slot, func() error { return s.due(ctx, slot, o.schedules) })
			if err != nil {
				return 0, err
			}
			return took, onceEach(ctx, db, slot, o.schedules)
		})
		return []float64{rate(o.schedules, took)}, err
	})
}

// onceEach fails unless n schedules have exactly one run each at a slot.
func onceEach(ctx context.Context, db *database, slot time.Time, n int) error {
	var runs, schedules int
	err := db.read(ctx, []any{&runs, &schedules},
		"SELECT count(*), count(DISTINCT schedule_id) FROM hourbell_job_runs WHERE scheduled_for = $1", slot)
	if err == nil && (runs != n || schedules != n) {
		err = fmt.Errorf("%d runs of %d schedules instead of one of each of %d", runs, schedules, n)
	}
	return err
}
