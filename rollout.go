package hourbell

import (
	"context"
	"fmt"

	"github.com/hourbell/hourbell/internal/timing"
)

// Rolling deploys (rule D7)
//
// During a deploy, builds with different definitions run side by side. The
// newest active build owns the stored definitions. An older build that restarts
// does not write its own definitions back. It does so when no newer build is
// active any more. Meanwhile, each build fires only the rows whose stored
// definition it declares (rule D8).
//
// A resync compares the stored definitions with those declared here, and syncs
// them if this build owns them. The loop resyncs once a poll interval while
// another build is active, which each heartbeat reports. It also resyncs after
// it has claimed a row with another build's definition, and when the check of
// restore.go finds a difference.

// owner returns the worker whose build owns the definitions: the newest build.
// If build times are equal, or one is unknown, it is the last worker to start.
// A worker without a start time is still to start, so it is the last.
func owner(active []Worker) Worker {
	allKnown := true
	for _, w := range active {
		allKnown = allKnown && !w.BuildTime.IsZero()
	}
	newer := func(a, b Worker) bool {
		switch {
		case allKnown && !a.BuildTime.Equal(b.BuildTime):
			return a.BuildTime.After(b.BuildTime)
		case !a.StartedAt.Equal(b.StartedAt):
			return a.StartedAt.IsZero() || a.StartedAt.After(b.StartedAt) && !b.StartedAt.IsZero()
		}
		return a.ID > b.ID
	}
	newest := active[0]
	for _, w := range active[1:] {
		if newer(w, newest) {
			newest = w
		}
	}
	return newest
}

// newerBuild returns the worker whose build owns the definitions, or nil if
// that build has the same definitions as this process.
func (s *Scheduler) newerBuild(workers []Worker) *Worker {
	own := s.ownWorker()
	active := []Worker{own}
	for _, w := range workers {
		if w.ID != own.ID && w.Active {
			active = append(active, w)
		}
	}
	if newest := owner(active); newest.DefinitionsHash != own.DefinitionsHash {
		return &newest
	}
	return nil
}

// resyncIfNeeded resyncs if the stored definitions may differ from those here,
// once per poll interval at most.
func (s *Scheduler) resyncIfNeeded(ctx context.Context) {
	if !s.resyncDue() {
		return
	}
	if err := s.resync(ctx); err != nil && ctx.Err() == nil {
		s.markForResync()
		s.log.WarnContext(ctx, "hourbell: checking the definitions failed", "error", err, "retry", s.cfg.PollInterval)
	}
}

// resyncDue reports whether a resync is due. If so, it starts the next
// interval, and plans another resync if another build is active.
func (s *Scheduler) resyncDue() bool {
	p := &s.process
	p.mu.Lock()
	defer p.mu.Unlock()
	now := timing.Now()
	due := p.needsResync && timing.Elapsed(p.resyncedAt, now) >= s.cfg.PollInterval
	if due {
		p.resyncedAt, p.needsResync = now, p.otherBuildActive
	}
	return due
}

// resync syncs unless a newer build is active. Sync checks that too, but later.
// Here, one statement is enough while a newer build is active.
func (s *Scheduler) resync(ctx context.Context) error {
	workers, err := s.Workers(ctx)
	if err != nil {
		return fmt.Errorf("hourbell: read the workers: %w", err)
	}
	if s.newerBuild(workers) != nil {
		s.markForResync()
		s.noteMissing(nil, nil) // the newer build looks for missing schedules
		return nil
	}
	return s.Sync(ctx)
}

// markForResync records that the stored definitions may differ from those that
// this process declares.
func (s *Scheduler) markForResync() {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	s.process.needsResync = true
}
