package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hourbell/hourbell"
)

// few is a usual number of jobs for one schedule.
const few = 20

// fanout: one schedule is due and has many jobs, or a few.
var fanout = workload{
	name:    "fanout",
	metrics: []metric{{"a fire", milliseconds}},
	peers: func(o options) []peer {
		return []peer{
			{handWritten(o.schedules), fanoutOwn(o.schedules, o.slots)},
			{wide(o.schedules), fanoutHourbell(o.schedules, o.slots)},
			{handWritten(few), fanoutOwn(few, 10*o.slots)},
			{wide(few), fanoutHourbell(few, 10*o.slots)},
		}
	},
	targets: func(o options) []target {
		return []target{
			{wide(o.schedules), "a fire", handWritten(o.schedules), atMost(1.3)},
			{wide(few), "a fire", handWritten(few), atMost(1.3)},
		}
	},
}

func handWritten(jobs int) string { return "hand-written, " + thousands(jobs) + " jobs" }
func wide(jobs int) string        { return "hourbell, " + thousands(jobs) + " jobs" }

func fanoutOwn(n, slots int) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		pool, err := newOwn(ctx, db, 1, firstSlot)
		if err != nil {
			return nil, err
		}
		jobs := make([]string, n)
		for i, job := range manyJobs(n) {
			jobs[i] = job.Name
		}
		took, err := hourlySlots(slots, func(slot time.Time) (time.Duration, error) {
			return fireRaw(ctx, pool, 1, 1, func(ctx context.Context, conn *pgxpool.Conn) (int64, error) {
				return sendOwnFire(ctx, conn, slot, jobs)
			})
		})
		return []float64{typical(took)}, err
	})
}

func fanoutHourbell(n, slots int) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		cfg := config(1, everyHour)
		cfg.Jobs = manyJobs(n)
		cfg.Definitions[0].Target = hourbell.AllJobs()
		s, err := newStepped(ctx, db, 1, cfg)
		if err != nil {
			return nil, err
		}
		if err := db.settle(ctx); err != nil {
			return nil, err
		}
		took, err := hourlySlots(slots, func(slot time.Time) (time.Duration, error) { return s.fire(ctx, slot, 1) })
		return []float64{typical(took)}, err
	})
}

func manyJobs(n int) []hourbell.Job {
	jobs := make([]hourbell.Job, n)
	for i := range jobs {
		jobs[i].Name = fmt.Sprintf("job-%07d", i)
	}
	return jobs
}
