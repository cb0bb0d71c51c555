package main

import (
	"context"
	"runtime"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

// memory: what does a replica with many definitions keep, and what does it allocate for a fire?
var memory = workload{
	name:    "memory",
	metrics: []metric{{"a definition, made", bytes}, {"a definition, synced and ticked", bytes}, {"allocations a fire", count}, {"allocated a fire", bytes}},
	peers: func(o options) []peer {
		return []peer{{defined(o.schedules), memoryHourbell(o)}}
	},
}

func memoryHourbell(o options) func(context.Context, *server) ([]float64, error) {
	return onDatabase(func(ctx context.Context, db *database) ([]float64, error) {
		handle, err := db.migrated(ctx, nil)
		if err != nil {
			return nil, err
		}
		cfg := config(o.schedules, everyHour) // the host's, and not counted
		s := &stepped{clock: newClock(firstSlot.Add(-quiet))}
		cfg.Now = s.clock.Now
		each := float64(o.schedules)

		empty := heap()
		one, err := hourbell.New(store.New(handle), cfg)
		if err != nil {
			return nil, err
		}
		made := heap() - empty
		if err := one.Sync(ctx); err != nil {
			return nil, err
		}
		s.replicas = []*hourbell.Scheduler{one}
		var before, after runtime.MemStats
		var allocations, allocated []float64
		_, err = hourlySlots(o.slots, func(slot time.Time) (time.Duration, error) {
			runtime.ReadMemStats(&before)
			took, err := s.fire(ctx, slot, o.schedules)
			runtime.ReadMemStats(&after)
			allocations = append(allocations, float64(after.Mallocs-before.Mallocs)/each)
			allocated = append(allocated, float64(after.TotalAlloc-before.TotalAlloc)/each)
			return took, err
		})
		used := heap() - empty
		runtime.KeepAlive(one)
		runtime.KeepAlive(cfg)
		return []float64{made / each, used / each, median(allocations), median(allocated)}, err
	})
}

// heap is how many bytes are in use once garbage is gone. What a finalizer held is gone only after a second round.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}
