package hourbell

import (
	"context"
	"fmt"
	"time"
)

// Rolling deploys (rule D7).
//
// While a deploy is under way, builds that declare different definitions run side by side. The newest that lives owns
// what is stored: an older one that restarts does not write its definitions back, and takes over once no newer one is
// left. Meanwhile each build fires only the rows that are stored as it declares them (rule D8).
//
// In the usual case, all alike, that costs nothing: each heartbeat says whether another build lives, and only then, or
// when a row of another definition was met, or once an hour, does the loop look what is stored.

// owner is the worker whose definitions count: that of the newest build, and among builds of one age, or when the age
// of one is not known, the last to start. One that has not started yet will be the last.
func owner(living []Worker) Worker {
	aged := true
	for _, w := range living {
		aged = aged && !w.BuildTime.IsZero()
	}
	newer := func(a, b Worker) bool {
		switch {
		case aged && !a.BuildTime.Equal(b.BuildTime):
			return a.BuildTime.After(b.BuildTime)
		case !a.StartedAt.Equal(b.StartedAt):
			return a.StartedAt.IsZero() || a.StartedAt.After(b.StartedAt) && !b.StartedAt.IsZero()
		}
		return a.ID > b.ID
	}
	first := living[0]
	for _, w := range living[1:] {
		if newer(w, first) {
			first = w
		}
	}
	return first
}

// outranked returns the worker that owns the definitions if they are not this process's own, nil if they are.
func (s *Scheduler) outranked(workers []Worker, now time.Time) *Worker {
	s.mu.Lock()
	own := s.worker
	s.mu.Unlock()
	living := []Worker{own}
	for _, w := range workers {
		if w.ID != own.ID && w.Alive(now) {
			living = append(living, w)
		}
	}
	if first := owner(living); first.DefinitionsHash != own.DefinitionsHash {
		return &first
	}
	return nil
}

// defend syncs again if another build may have written its definitions, once a poll interval at most.
func (s *Scheduler) defend(ctx context.Context) {
	s.mu.Lock()
	now := wallClock()
	ask := s.doubt && elapsed(s.defended, now) >= s.cfg.PollInterval
	if ask {
		s.defended, s.doubt = now, s.rivals
	}
	s.mu.Unlock()
	if !ask {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, s.callDeadline())
	defer cancel()
	if err := s.redeclare(bounded); err != nil && ctx.Err() == nil {
		s.suspect()
		s.log.WarnContext(ctx, "hourbell: could not see whether another build has changed the definitions; will try again", "error", err)
	}
}

// redeclare syncs unless a newer build lives, which is asked first: as long as one does, that is all it costs.
func (s *Scheduler) redeclare(ctx context.Context) error {
	now, err := s.store.Now(ctx)
	if err != nil {
		return fmt.Errorf("hourbell: read the clock: %w", err)
	}
	workers, err := s.store.Workers(ctx)
	if err != nil {
		return fmt.Errorf("hourbell: read the workers: %w", err)
	}
	if s.outranked(workers, now) != nil {
		s.suspect()
		return nil
	}
	return s.Sync(ctx)
}

// suspect notes that what is stored may not be what this process declares.
func (s *Scheduler) suspect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubt = true
}
