package hourbell

import (
	"context"
	"time"
)

// What black-box tests cannot reach otherwise.

// SetWallClock replaces the process's own clock, as if the machine's were wrong, until restore.
func SetWallClock(now func() time.Time) (restore func()) {
	own := wallClock
	wallClock = now
	return func() { wallClock = own }
}

// Beat writes the heartbeat that is otherwise due every ten seconds.
func (s *Scheduler) Beat(ctx context.Context) error { return s.beat(ctx) }

// WorkerID names this process among the workers.
func (s *Scheduler) WorkerID() string { return s.worker.ID }

// Sweep deletes what has outlived its keep, as is otherwise done every hour.
func (s *Scheduler) Sweep(ctx context.Context) (int64, error) { return s.sweep(ctx) }
