package hourbell

import (
	"context"
	"time"
)

// Health says at a glance whether slots fire: of this process, and of all replicas of its namespace.
type Health struct {
	At         time.Time     // when it was read, by the database's clock
	Running    bool          // this process runs the loop: its Run was called and has not returned
	Stalled    bool          // it does, and has not ticked for two poll intervals, or for as long as a fire may take
	LastTickAt time.Time     // when this process's loop last claimed, be there anything due or not
	Workers    int           // the workers alive
	NewestTick time.Time     // when the last of them claimed
	MaxSkew    time.Duration // the largest clock skew among them, without sign
	Overdue    int           // enabled schedules whose next slot is out of grace and still not settled
	OldestDue  time.Time     // the oldest such slot
	// Late are the first 100 of them, oldest slot first.
	Late []Schedule
	// Unfireable are the ids of those of Late that nobody works on and this process cannot fire, since their stored
	// definition is not its own. If no other build is running they wait for a deploy.
	Unfireable []string
	// ClockBehind is how far the database's clock is behind a slot already settled: it was stepped back, and the
	// schedules in question do not fire again before it has caught up. Zero when it is not.
	ClockBehind time.Duration
}

// Health reads the state of the loop, in a number of statements that does not grow with the schedules. Where there is
// an error, what it says of this process alone is valid all the same: Running, Stalled and LastTickAt.
func (s *Scheduler) Health(ctx context.Context) (Health, error) {
	h, err := s.store.Health(ctx, deadAfter)
	if err != nil {
		h = Health{}
	}
	s.mu.Lock()
	h.LastTickAt, h.Running = s.lastTick, s.running
	h.Stalled = s.running && elapsed(s.tickedAt, wallClock()) > max(2*s.cfg.PollInterval, s.fireDeadline())
	s.mu.Unlock()
	if err != nil {
		return h, err
	}
	for _, row := range h.Late {
		own := s.catalog.definitions[row.ID]
		idle := row.LockedBy == "" && !row.HeldUntil.After(h.At)
		if idle && (own == nil || own.hash != row.DefinitionHash) {
			h.Unfireable = append(h.Unfireable, row.ID)
		}
	}
	return h, nil
}
