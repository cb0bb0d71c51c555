package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hourbell/hourbell/internal/testclock"
)

// firstSlot begins the time of the peers that are given a clock. It is a full hour.
var firstSlot = time.Date(2031, 3, 4, 12, 0, 0, 0, time.UTC)

// quiet is how long before a slot a scheduler that is given a clock has its last look at the database. It may get
// ready then for what comes, as it does between its polls.
const quiet = 30 * time.Second

// clock is set by hand.
type clock = testclock.Clock

func newClock(at time.Time) *clock { return testclock.New(at) }

// hourlySlots calls fire with one full hour after another and returns how long each call says it took.
func hourlySlots(n int, fire func(slot time.Time) (time.Duration, error)) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		slot := firstSlot.Add(time.Duration(i) * time.Hour)
		var err error
		if took[i], err = fire(slot); err != nil {
			return nil, fmt.Errorf("slot %d: %w", i+1, err)
		}
	}
	return took, nil
}

// rate is the median of n things in each of these times, per second.
func rate(n int, took []time.Duration) float64 {
	rates := make([]float64, len(took))
	for i, d := range took {
		rates[i] = float64(n) / d.Seconds()
	}
	return median(rates)
}

// typical is the median of times, in milliseconds.
func typical(took []time.Duration) float64 {
	times := make([]float64, len(took))
	for i, d := range took {
		times[i] = inMilliseconds(d)
	}
	return median(times)
}

// pass lets time pass where time is what is measured, unless ctx ends.
func pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
