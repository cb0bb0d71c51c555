package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hourbell/hourbell"
)

// typicalJobs is a typical number of jobs of one schedule.
const typicalJobs = 20

// fanoutWorkload fires one schedule with very many jobs, and one with a typical
// number of jobs.
var fanoutWorkload = workload{
	name:    "fanout",
	metrics: []metric{{"time per fire", milliseconds}},
	peers: func(o options) []peer {
		return []peer{
			{handWrittenJobs(o.schedules), fanoutOwnTables(o.schedules, o.slots)},
			{hourbellJobs(o.schedules), fanoutHourbell(o.schedules, o.slots)},
			{handWrittenJobs(typicalJobs), fanoutOwnTables(typicalJobs, 10*o.slots)},
			{hourbellJobs(typicalJobs), fanoutHourbell(typicalJobs, 10*o.slots)},
		}
	},
	targets: func(o options) []target {
		return []target{
			{hourbellJobs(o.schedules), "time per fire", handWrittenJobs(o.schedules), atMost(1.3)},
			{hourbellJobs(typicalJobs), "time per fire", handWrittenJobs(typicalJobs), atMost(1.3)},
		}
	},
}

func handWrittenJobs(n int) string { return "hand-written, " + thousands(n) + " jobs" }
func hourbellJobs(n int) string    { return "hourbell, " + thousands(n) + " jobs" }

func fanoutOwnTables(n, slots int) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		pool, err := createOwnTables(ctx, db, 1, firstSlot)
		if err != nil {
			return nil, err
		}
		names := make([]string, n)
		for i, job := range newJobs(n) {
			names[i] = job.Name
		}
		durations, err := hourlySlots(slots, func(slot time.Time) (time.Duration, error) {
			return sendBatches(ctx, pool, 1, 1, func(ctx context.Context, conn *pgxpool.Conn) (int64, error) {
				return sendOwnFire(ctx, conn, slot, names)
			})
		})
		return []float64{medianMilliseconds(durations)}, err
	})
}

func fanoutHourbell(n, slots int) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		cfg := newConfig(1, hourly)
		cfg.Jobs = newJobs(n)
		cfg.Definitions[0].Target = hourbell.AllJobs()
		f, err := newFleet(ctx, db, 1, cfg)
		if err != nil {
			return nil, err
		}
		if err := db.vacuum(ctx); err != nil {
			return nil, err
		}
		durations, err := hourlySlots(slots, func(slot time.Time) (time.Duration, error) { return f.fire(ctx, slot, 1) })
		return []float64{medianMilliseconds(durations)}, err
	})
}

func newJobs(n int) []hourbell.Job {
	jobs := make([]hourbell.Job, n)
	for i := range jobs {
		jobs[i].Name = fmt.Sprintf("job-%07d", i)
	}
	return jobs
}
