package hourbell

import (
	"context"
	"fmt"
	"time"
)

// Outcome is what became of a slot, or of a range of slots skipped together, or of a request to run a schedule now.
type Outcome struct {
	ScheduleID string
	// Kind is FIRED, FAILED (it fired, and a run of it failed) or SKIPPED.
	Kind     string
	Trigger  string    // CRON or MANUAL
	At       time.Time // when its runs were enqueued, or it was recorded as skipped
	SlotFrom time.Time // the slot, or the first of them; none unless Trigger is CRON
	SlotTo   time.Time // the slot, or the last of them
	Reason   string    // of a skip: see [Event]
	Count    int       // slots; exact up to 1,000
	RunID    int64     // its first run; zero for a skip
	Actor    string    // who asked for it
	// Tally counts its runs. It is read for the newest outcome of each schedule that is no skip.
	Tally *Tally
}

// Tally counts the runs of one fire by status, up to [TallyLimit] in all.
type Tally struct{ Queued, Running, Succeeded, Failed int }

// Total is the number of runs counted.
func (t Tally) Total() int { return t.Queued + t.Running + t.Succeeded + t.Failed }

// OutcomeQuery asks for the newest outcomes of some schedules.
type OutcomeQuery struct {
	ScheduleIDs []string  // at most 1,000
	Since       time.Time // only slots, and requests, not before this. Defaults to all that are kept.
	Limit       int       // of each schedule, 1 to 1,000. Defaults to 100.
}

// TallyLimit is how many runs a [Tally] counts at most.
const TallyLimit = 1000

// Outcomes lists the newest outcomes of each schedule in the query, newest first, in two statements. A schedule without
// one is not in the map.
func (s *Scheduler) Outcomes(ctx context.Context, query OutcomeQuery) (map[string][]Outcome, error) {
	if err := checkLimit(&query.Limit); err != nil {
		return nil, err
	}
	if len(query.ScheduleIDs) > 1000 {
		return nil, &QueryError{Field: "ScheduleIDs", Err: fmt.Errorf("are %d; at most 1,000 are read together", len(query.ScheduleIDs))}
	}
	if len(query.ScheduleIDs) == 0 {
		return nil, nil
	}
	list, err := s.store.Outcomes(ctx, query)
	if err != nil {
		return nil, err
	}
	bySchedule := make(map[string][]Outcome, len(query.ScheduleIDs))
	for _, outcome := range list {
		if own := bySchedule[outcome.ScheduleID]; len(own) < query.Limit {
			bySchedule[outcome.ScheduleID] = append(own, outcome)
		}
	}
	return bySchedule, s.tally(ctx, bySchedule)
}

// tally counts the runs of the newest fire of each schedule.
func (s *Scheduler) tally(ctx context.Context, bySchedule map[string][]Outcome) error {
	newest := make(map[int64]*Outcome, len(bySchedule))
	for _, outcomes := range bySchedule {
		for i := range outcomes {
			if outcomes[i].RunID != 0 {
				newest[outcomes[i].RunID] = &outcomes[i]
				break
			}
		}
	}
	if len(newest) == 0 {
		return nil
	}
	ids := make([]int64, 0, len(newest))
	for id := range newest {
		ids = append(ids, id)
	}
	tallies, err := s.store.Tallies(ctx, ids, TallyLimit)
	for id, counted := range tallies {
		newest[id].Tally = &counted
	}
	return err
}
