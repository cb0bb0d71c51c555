package model

import (
	"context"
	"sort"
	"time"

	"github.com/hourbell/hourbell"
)

// Heartbeat implements [hourbell.Store].
func (s *Session) Heartbeat(_ context.Context, w hourbell.Worker, dead time.Duration) (hourbell.Beat, error) {
	known, there := s.db.workers[w.ID]
	if !there {
		if known = w; w.StartedAt.IsZero() {
			known.StartedAt = s.db.Now
		}
	}
	known.HeartbeatAt, known.LastTickAt, known.ClockSkew = s.db.Now, w.LastTickAt, w.ClockSkew
	s.db.workers[w.ID] = known
	beat := hourbell.Beat{At: s.db.Now}
	for id, o := range s.db.workers {
		rival := id != w.ID && o.DefinitionsHash != w.DefinitionsHash && o.StoppedAt.IsZero() && near(o.HeartbeatAt, s.db.Now, dead)
		beat.Rivals = beat.Rivals || rival
	}
	return beat, nil
}

// StopWorker implements [hourbell.Store].
func (s *Session) StopWorker(_ context.Context, id string) error {
	if w, there := s.db.workers[id]; there {
		w.StoppedAt = s.db.Now
		s.db.workers[id] = w
	}
	return nil
}

// Workers implements [hourbell.Store].
func (s *Session) Workers(context.Context) (list []hourbell.Worker, err error) {
	for _, w := range s.db.workers {
		list = append(list, w)
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		return a.StartedAt.After(b.StartedAt) || a.StartedAt.Equal(b.StartedAt) && a.ID < b.ID
	})
	return list, nil
}
