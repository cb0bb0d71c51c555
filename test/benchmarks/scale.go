package main

import (
	"context"
	"time"
)

// due is how many schedules fire among however many there are.
const due = 10

// scale: does a tick cost more where more schedules are stored?
var scale = workload{
	name:    "scale",
	metrics: []metric{{"a tick", milliseconds}},
	peers: func(o options) []peer {
		return []peer{{among(100), tickAmong(100, 10*o.slots)}, {among(o.stored), tickAmong(o.stored, 10*o.slots)}}
	},
	targets: func(o options) []target {
		return []target{{among(o.stored), "a tick", among(100), atMost(2)}}
	},
}

func among(stored int) string {
	return "hourbell, " + thousands(due) + " due among " + thousands(stored)
}

func tickAmong(stored, slots int) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		s, err := newStepped(ctx, db, 1, config(due, everyHour))
		if err != nil {
			return nil, err
		}
		// After the sync, which would take what code does not declare for removed.
		err = db.exec(ctx, storedSchedules, stored-due, "other-", firstSlot.AddDate(1, 0, 0), time.Second)
		if err != nil {
			return nil, err
		}
		if err := db.settle(ctx); err != nil {
			return nil, err
		}
		took, err := hourlySlots(slots, func(slot time.Time) (time.Duration, error) { return s.fire(ctx, slot, due) })
		return []float64{typical(took)}, err
	})
}
