package hourbell

import (
	"context"
	"time"
)

// How long what is no longer of use is kept, beside Config.Retention.
const (
	keepRemoved = 14 * 24 * time.Hour
	keepWorkers = 24 * time.Hour
	sweepEvery  = time.Hour
	sweepBatch  = 5000
)

// sweeps deletes what has outlived its keep, beside the loop, until ctx ends.
func (s *Scheduler) sweeps(ctx context.Context) {
	for {
		sleep(ctx, jitter(sweepEvery))
		if ctx.Err() != nil {
			return
		}
		s.suspect()
		deleted, err := s.sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "hourbell: old rows could not be deleted; will try again", "error", err)
		}
		if deleted > 0 {
			s.log.InfoContext(ctx, "hourbell: old rows deleted", "count", deleted)
		}
	}
}

// sweep deletes in small batches, so that it never holds rows for long.
func (s *Scheduler) sweep(ctx context.Context) (deleted int64, err error) {
	keep := Keep{
		Runs: s.cfg.Retention, Events: s.cfg.Retention, Removed: keepRemoved, Workers: keepWorkers,
		Unfinished: s.cfg.Enqueuer != nil,
	}
	for {
		batch, cancel := context.WithTimeout(ctx, s.callDeadline())
		n, err := s.store.Purge(batch, keep, sweepBatch)
		cancel()
		deleted += n
		if err != nil || n == 0 {
			return deleted, err
		}
	}
}
