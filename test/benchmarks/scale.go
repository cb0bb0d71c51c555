package main

import (
	"context"
	"time"
)

// scaleDue is the number of schedules that fire, however many are stored.
const scaleDue = 10

// scaleWorkload measures whether a tick takes longer when more schedules are
// stored.
var scaleWorkload = workload{
	name:    "scale",
	metrics: []metric{{"time per tick", milliseconds}},
	peers: func(o options) []peer {
		return []peer{{dueAmong(100), scaleHourbell(100, 10*o.slots)}, {dueAmong(o.stored), scaleHourbell(o.stored, 10*o.slots)}}
	},
	targets: func(o options) []target {
		return []target{{dueAmong(o.stored), "time per tick", dueAmong(100), atMost(2)}}
	},
}

func dueAmong(stored int) string {
	return "hourbell, " + thousands(scaleDue) + " due among " + thousands(stored)
}

func scaleHourbell(stored, slots int) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		f, err := newFleet(ctx, db, 1, newConfig(scaleDue, hourly))
		if err != nil {
			return nil, err
		}
		// Inserted after the sync, which would mark them removed.
		err = db.exec(ctx, insertSchedules, stored-scaleDue, "other-", firstSlot.AddDate(1, 0, 0), time.Second)
		if err != nil {
			return nil, err
		}
		if err := db.vacuum(ctx); err != nil {
			return nil, err
		}
		durations, err := hourlySlots(slots, func(slot time.Time) (time.Duration, error) { return f.fire(ctx, slot, scaleDue) })
		return []float64{medianMilliseconds(durations)}, err
	})
}
