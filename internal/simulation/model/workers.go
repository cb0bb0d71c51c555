package model

import (
	"context"
	"sort"
	"time"

	"github.com/hourbell/hourbell"
)

// Heartbeat implements [hourbell.Store].
func (s *Session) Heartbeat(_ context.Context, w hourbell.Worker, deadAfter time.Duration) (hourbell.Beat, error) {
	stored, found := s.db.workers[w.ID]
	if !found {
		if stored = w; w.StartedAt.IsZero() {
			stored.StartedAt = s.db.Now
		}
	}
	stored.HeartbeatAt, stored.LastTickAt, stored.ClockSkew = s.db.Now, w.LastTickAt, w.ClockSkew
	s.db.workers[w.ID] = stored
	result := hourbell.Beat{At: s.db.Now}
	for id, other := range s.db.workers {
		active := other.StoppedAt.IsZero() && within(other.HeartbeatAt, s.db.Now, deadAfter)
		if id != w.ID && active && other.DefinitionsHash != w.DefinitionsHash {
			result.Rivals = true
		}
	}
	return result, nil
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
func (s *Session) Workers(context.Context) (workers []hourbell.Worker, err error) {
	for _, w := range s.db.workers {
		workers = append(workers, w)
	}
	sort.Slice(workers, func(i, j int) bool {
		a, b := workers[i], workers[j]
		return a.StartedAt.After(b.StartedAt) || a.StartedAt.Equal(b.StartedAt) && a.ID < b.ID
	})
	return workers, nil
}
