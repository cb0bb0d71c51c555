package model

import (
	"context"
	"maps"
	"slices"
	"sort"

	"github.com/hourbell/hourbell"
)

// InsertRuns implements [hourbell.Store].
func (s *Session) InsertRuns(_ context.Context, runs []hourbell.JobRun, requestHash string) (inserted []hourbell.JobRun, err error) {
	return inserted, s.statement(func(tx *transaction) error {
		inserted, err = s.insertRuns(tx, runs, requestHash)
		return err
	})
}

// insertRuns inserts runs, except those that a unique index already has. It
// waits for open transactions that have inserted the same run.
func (s *Session) insertRuns(tx *transaction, runs []hourbell.JobRun, requestHash string) (inserted []hourbell.JobRun, err error) {
	now := s.db.Now
	for _, run := range runs {
		if hasUniqueKey(run) && !s.db.Omit.UniqueIndex {
			if err := s.waitWhile(tx, func() bool { return s.uncommitted(tx, run) }); err != nil {
				return nil, err
			}
			if isInserted(s.db.Runs, run) || isInserted(tx.runs, run) {
				continue
			}
		}
		s.db.nextID++
		run.ID, run.QueuedAt = s.db.nextID, now
		added := Run{JobRun: run, Tx: tx.id}
		if run.IdempotencyKey != "" {
			added.RequestHash = requestHash
		}
		tx.runs = append(tx.runs, added)
		inserted = append(inserted, run)
	}
	return inserted, nil
}

// uncommitted reports whether another open transaction has inserted the same
// run.
func (s *Session) uncommitted(tx *transaction, run hourbell.JobRun) bool {
	for _, other := range s.db.open {
		if other != tx && isInserted(other.runs, run) {
			return true
		}
	}
	return false
}

// isFirstOfSlot reports whether a run is the first run of a slot.
func isFirstOfSlot(run hourbell.JobRun) bool {
	return run.Trigger == hourbell.TriggerCron && run.Ordinal == 0
}

// hasUniqueKey reports whether a unique index covers a run: it is the first run
// of a slot, or has an idempotency key.
func hasUniqueKey(run hourbell.JobRun) bool { return isFirstOfSlot(run) || run.IdempotencyKey != "" }

// isInserted reports whether runs contains the run with run's unique key. It
// searches from the end, where such a run usually is.
func isInserted(runs []Run, run hourbell.JobRun) bool {
	for i := len(runs) - 1; i >= 0; i-- {
		r := runs[i].JobRun
		switch {
		case isFirstOfSlot(run) && isFirstOfSlot(r) && r.ScheduleID == run.ScheduleID && r.ScheduledFor.Equal(run.ScheduledFor):
			return true
		case run.IdempotencyKey != "" && r.IdempotencyKey == run.IdempotencyKey && r.Job == run.Job && r.Ordinal == run.Ordinal:
			return true
		}
	}
	return false
}

// RunsByIdempotencyKey implements [hourbell.Store]. It waits for open
// transactions that have called it with the same key.
func (s *Session) RunsByIdempotencyKey(_ context.Context, key string) (runs []hourbell.JobRun, requestHash string, err error) {
	return runs, requestHash, s.statement(func(tx *transaction) error {
		locked := func() bool {
			return slices.ContainsFunc(s.db.open, func(other *transaction) bool { return other != tx && slices.Contains(other.keys, key) })
		}
		if err := s.waitWhile(tx, locked); err != nil {
			return err
		}
		tx.keys = append(tx.keys, key)
		for _, r := range slices.Concat(s.db.Runs, tx.runs) {
			if r.IdempotencyKey == key {
				runs, requestHash = append(runs, r.JobRun), r.RequestHash
			}
		}
		sort.SliceStable(runs, func(i, j int) bool { return runs[i].Ordinal < runs[j].Ordinal })
		return nil
	})
}

// updateReasons are the reasons of skips that updates record.
var updateReasons = []hourbell.SkipReason{hourbell.SkipDisabled, hourbell.SkipChanged, hourbell.SkipRemoved, hourbell.SkipRulesChanged}

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

// Events implements [hourbell.Store] for queries that select by nothing but the
// limit.
func (s *Session) Events(_ context.Context, q hourbell.EventQuery) (list []hourbell.Event, err error) {
	return list, s.statement(func(tx *transaction) error {
		for _, e := range slices.Backward(slices.Concat(s.db.Events, tx.events)) {
			if len(list) < q.Limit {
				list = append(list, e.Event)
			}
		}
		return nil
	})
}

// LatestEvents implements [hourbell.Store].
func (s *Session) LatestEvents(_ context.Context, ids []string, kinds []hourbell.EventKind) (list []hourbell.Event, err error) {
	type key struct {
		id   string
		kind hourbell.EventKind
	}
	return list, s.statement(func(tx *transaction) error {
		latest := map[key]hourbell.Event{}
		for _, e := range slices.Concat(s.db.Events, tx.events) {
			if slices.Contains(ids, e.ScheduleID) && slices.Contains(kinds, e.Kind) {
				latest[key{e.ScheduleID, e.Kind}] = e.Event
			}
		}
		list = slices.Collect(maps.Values(latest))
		sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
		return nil
	})
}
