package model

import (
	"context"
	"sort"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// Heartbeat implements [hourbell.Store].
func (s *Session) Heartbeat(_ context.Context, w hourbell.Worker, deadAfter time.Duration) (storage.HeartbeatResult, error) {
	stored, found := s.db.workers[w.ID]
	if !found {
		if stored = w; w.StartedAt.IsZero() {
			stored.StartedAt = s.db.Now
		}
	}
	stored.HeartbeatAt, stored.LastTickAt, stored.ClockSkew = s.db.Now, w.LastTickAt, w.ClockSkew
	s.db.workers[w.ID] = stored
	result := storage.HeartbeatResult{At: s.db.Now}
	for id, other := range s.db.workers {
		if id != w.ID && other.DefinitionsHash != w.DefinitionsHash && isActive(other, s.db.Now, deadAfter) {
			result.OtherBuildActive = true
		}
	}
	return result, nil
}

// isActive reports whether a worker has not stopped and its heartbeat is at
// most deadAfter away from now.
func isActive(w hourbell.Worker, now time.Time, deadAfter time.Duration) bool {
	return w.StoppedAt.IsZero() && within(w.HeartbeatAt, now, deadAfter)
}

// StopWorker implements [hourbell.Store].
func (s *Session) StopWorker(_ context.Context, id string) error {
	if w, found := s.db.workers[id]; found {
		w.StoppedAt = s.db.Now
		s.db.workers[id] = w
	}
	return nil
}

// Workers implements [hourbell.Store].
func (s *Session) Workers(_ context.Context, deadAfter time.Duration) (workers []hourbell.Worker, err error) {
	for _, w := range s.db.workers {
		w.Active = isActive(w, s.db.Now, deadAfter)
		workers = append(workers, w)
	}
	sort.Slice(workers, func(i, j int) bool {
		a, b := workers[i], workers[j]
		return a.StartedAt.After(b.StartedAt) || a.StartedAt.Equal(b.StartedAt) && a.ID < b.ID
	})
	return workers, nil
}
