package model

import (
	"context"
	"fmt"

	"github.com/hourbell/hourbell"
)

// InsertRuns implements [hourbell.Store].
func (s *Session) InsertRuns(_ context.Context, runs []hourbell.JobRun) (inserted []hourbell.JobRun, err error) {
	return inserted, s.statement(func(tx *transaction) error {
		inserted, err = s.insertRuns(tx, runs)
		return err
	})
}

// insertRuns leaves out the first runs of slots that have theirs. Whose transaction is under way with the same is awaited.
func (s *Session) insertRuns(tx *transaction, runs []hourbell.JobRun) (inserted []hourbell.JobRun, err error) {
	now := s.db.Now
	for _, run := range runs {
		if run.Trigger == "CRON" && run.Ordinal == 0 && !s.db.Without.UniqueIndex {
			if err := s.unblocked(tx, func() bool { return s.underWay(tx, run) }); err != nil {
				return nil, err
			}
			if has(s.db.Runs, run) || has(tx.runs, run) {
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

// underWay says whether another transaction is about to give the slot its runs.
func (s *Session) underWay(tx *transaction, run hourbell.JobRun) bool {
	for _, other := range s.db.open {
		if other != tx && has(other.runs, run) {
			return true
		}
	}
	return false
}

// has says whether the first run of a slot is among these.
func has(runs []Run, run hourbell.JobRun) bool {
	for i := len(runs) - 1; i >= 0; i-- { // of late, if at all
		r := runs[i]
		if r.Trigger == "CRON" && r.Ordinal == 0 && r.ScheduleID == run.ScheduleID && r.ScheduledFor.Equal(run.ScheduledFor) {
			return true
		}
	}
	return false
}

// InsertEvents implements [hourbell.Store].
func (s *Session) InsertEvents(_ context.Context, events []hourbell.Event) error {
	return s.statement(func(tx *transaction) error {
		for _, e := range events {
			if e.Kind == "SKIPPED" && s.db.Without.Settling && (e.Reason == "DISABLED" || e.Reason == "CHANGED" || e.Reason == "REMOVED") {
				continue
			}
			s.db.nextID++
			e.ID, e.At = s.db.nextID, s.db.Now
			tx.events = append(tx.events, Event{e, tx.id})
		}
		return nil
	})
}

// Within implements [hourbell.Store]: nothing here joins a host's transaction.
func (s *Session) Within(tx hourbell.Tx) hourbell.Store {
	panic(fmt.Sprintf("model: %T of a host: there is none", tx))
}
