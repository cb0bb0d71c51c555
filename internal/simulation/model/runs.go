package model

import (
	"context"
	"slices"

	"github.com/hourbell/hourbell"
)

// InsertRuns implements [hourbell.Store].
func (s *Session) InsertRuns(_ context.Context, runs []hourbell.JobRun) (inserted []hourbell.JobRun, err error) {
	return inserted, s.statement(func(tx *transaction) error {
		inserted, err = s.insertRuns(tx, runs)
		return err
	})
}

// insertRuns inserts runs, except the first runs of slots that have one
// already. It waits for open transactions that have inserted the same first
// run.
func (s *Session) insertRuns(tx *transaction, runs []hourbell.JobRun) (inserted []hourbell.JobRun, err error) {
	now := s.db.Now
	for _, run := range runs {
		if run.Trigger == hourbell.TriggerCron && run.Ordinal == 0 && !s.db.Omit.UniqueIndex {
			if err := s.waitWhile(tx, func() bool { return s.uncommitted(tx, run) }); err != nil {
				return nil, err
			}
			if hasFirstRun(s.db.Runs, run) || hasFirstRun(tx.runs, run) {
				continue
			}
		}
		s.db.nextID++
		run.ID, run.QueuedAt = s.db.nextID, now
		tx.runs = append(tx.runs, Run{run, tx.id})
		inserted = append(inserted, run)
	}
	return inserted, nil
}

// uncommitted reports whether another open transaction has inserted the first
// run of the same slot.
func (s *Session) uncommitted(tx *transaction, run hourbell.JobRun) bool {
	for _, other := range s.db.open {
		if other != tx && hasFirstRun(other.runs, run) {
			return true
		}
	}
	return false
}

// hasFirstRun reports whether runs contains the first run of run's slot. It
// searches from the end, where such a run usually is.
func hasFirstRun(runs []Run, run hourbell.JobRun) bool {
	for i := len(runs) - 1; i >= 0; i-- {
		r := runs[i]
		if r.Trigger == hourbell.TriggerCron && r.Ordinal == 0 && r.ScheduleID == run.ScheduleID && r.ScheduledFor.Equal(run.ScheduledFor) {
			return true
		}
	}
	return false
}

// updateReasons are the reasons of skips that updates record.
var updateReasons = []hourbell.SkipReason{hourbell.SkipDisabled, hourbell.SkipChanged, hourbell.SkipRemoved}

// InsertEvents implements [hourbell.Store].
func (s *Session) InsertEvents(_ context.Context, events []hourbell.Event) error {
	return s.statement(func(tx *transaction) error {
		for _, e := range events {
			if e.Kind == hourbell.EventSkipped && s.db.Omit.Settling && slices.Contains(updateReasons, e.Reason) {
				continue
			}
			s.db.nextID++
			e.ID, e.At = s.db.nextID, s.db.Now
			tx.events = append(tx.events, Event{e, tx.id})
		}
		return nil
	})
}
