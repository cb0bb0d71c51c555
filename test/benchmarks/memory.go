package main

import (
	"context"
	"runtime"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

// memoryWorkload measures the memory of a replica with many definitions, and
// the allocations of a fire.
var memoryWorkload = workload{
	name: "memory",
	metrics: []metric{
		{"per definition, after New", bytes},
		{"per definition, after Sync and Tick", bytes},
		{"allocations per fire", count},
		{"allocated per fire", bytes},
	},
	peers: func(o options) []peer {
		return []peer{{hourbellDefinitions(o.schedules), memoryHourbell(o)}}
	},
}

func memoryHourbell(o options) measureFunc {
	return withDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		handle, err := db.migrated(ctx, nil)
		if err != nil {
			return nil, err
		}
		cfg := newConfig(o.schedules, hourly) // the host's memory, not counted
		f := &fleet{clock: newClock(firstSlot.Add(-lead))}
		cfg.Now = f.clock.Now
		n := float64(o.schedules)

		empty := heap()
		scheduler, err := hourbell.New(store.New(handle), cfg)
		if err != nil {
			return nil, err
		}
		afterNew := heap() - empty
		if err := scheduler.Sync(ctx); err != nil {
			return nil, err
		}
		f.replicas = []*hourbell.Scheduler{scheduler}
		var before, after runtime.MemStats
		var allocations, allocated []float64
		_, err = hourlySlots(o.slots, func(slot time.Time) (time.Duration, error) {
			runtime.ReadMemStats(&before)
			duration, err := f.fire(ctx, slot, o.schedules)
			runtime.ReadMemStats(&after)
			allocations = append(allocations, float64(after.Mallocs-before.Mallocs)/n)
			allocated = append(allocated, float64(after.TotalAlloc-before.TotalAlloc)/n)
			return duration, err
		})
		afterTicks := heap() - empty
		runtime.KeepAlive(scheduler)
		runtime.KeepAlive(cfg)
		return []float64{afterNew / n, afterTicks / n, median(allocations), median(allocated)}, err
	})
}

// heap returns the bytes in use after garbage collection. The second collection
// frees what finalizers kept.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}
