package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hourbell/hourbell/internal/testclock"
)

// firstSlot is the first slot of peers with a manual clock, a full hour.
var firstSlot = time.Date(2031, 3, 4, 12, 0, 0, 0, time.UTC)

// lead is how long before a slot a scheduler with a manual clock ticks once
// more. In that tick it prepares for the slot, as it does between polls.
const lead = 30 * time.Second

// clock is a manual clock.
type clock = testclock.Clock

func newClock(at time.Time) *clock { return testclock.New(at) }

// hourlySlots calls fire with one full hour after another. It returns the
// durations that fire measured.
func hourlySlots(n int, fire func(slot time.Time) (time.Duration, error)) ([]time.Duration, error) {
	durations := make([]time.Duration, n)
	for i := range durations {
		slot := firstSlot.Add(time.Duration(i) * time.Hour)
		var err error
		if durations[i], err = fire(slot); err != nil {
			return nil, fmt.Errorf("slot %d: %w", i+1, err)
		}
	}
	return durations, nil
}

// medianRate returns the median of n / duration, per second.
func medianRate(n int, durations []time.Duration) float64 {
	rates := make([]float64, len(durations))
	for i, d := range durations {
		rates[i] = float64(n) / d.Seconds()
	}
	return median(rates)
}

// medianMilliseconds returns the median duration in milliseconds.
func medianMilliseconds(durations []time.Duration) float64 {
	values := make([]float64, len(durations))
	for i, d := range durations {
		values[i] = inMilliseconds(d)
	}
	return median(values)
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
