package model

import (
	"context"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
)

// fenced calls change for the rows whose claims are still valid, clears their
// locks, and returns the ids of the rows that change accepted. It locks the
// rows first. Then it reads the clock.
func (s *Session) fenced(operation, worker string, claims []storage.Claim, change func(i int, row *storage.Schedule, now time.Time) bool) (ids []string, err error) {
	return ids, s.statement(func(tx *transaction) error {
		index := make(map[string]int, len(claims))
		wanted := make([]string, len(claims))
		for i, c := range claims {
			index[c.ID], wanted[i] = i, c.ID
		}
		valid := func(row storage.Schedule) bool {
			return s.db.Omit.Fence || row.Version == claims[index[row.ID]].Version && row.LockedBy == worker
		}
		if err := s.lockRows(tx, wanted, valid); err != nil {
			return err
		}
		for _, id := range tx.ids() {
			i, found := index[id]
			before, _ := tx.read(id)
			if !found || !valid(before) {
				continue
			}
			after := before
			after.LockedAt, after.LockedBy, after.UpdatedAt = time.Time{}, "", s.db.Now
			after.Version++
			if change(i, &after, s.db.Now) {
				tx.write(operation, worker, s.db.Now, before, after)
				ids = append(ids, id)
			}
		}
		return nil
	})
}

// Advance implements [hourbell.Store].
func (s *Session) Advance(_ context.Context, worker string, advances []storage.Advance) ([]string, error) {
	claims := make([]storage.Claim, len(advances))
	for i := range advances {
		claims[i] = advances[i].Claim
	}
	return s.fenced("advance", worker, claims, func(i int, row *storage.Schedule, now time.Time) bool {
		a := advances[i]
		if row.DefinitionHash != a.DefinitionHash && !s.db.Omit.DefinitionHash || a.Through.After(now) {
			return false
		}
		row.NextRunAt, row.UnfinishedSince, row.RetryAt = a.Next, time.Time{}, time.Time{}
		if a.Through.After(row.SettledThrough) {
			row.SettledThrough = a.Through
		}
		if !a.Fired.IsZero() {
			row.LastRunAt, row.LastScheduledFor, row.ConsecutiveFailures, row.LastError = now, a.Fired, 0, ""
		}
		return true
	})
}

// Release implements [hourbell.Store].
func (s *Session) Release(_ context.Context, worker string, claims []storage.Claim) error {
	_, err := s.fenced("release", worker, claims, func(int, *storage.Schedule, time.Time) bool { return true })
	return err
}

// RecordFailures implements [hourbell.Store].
func (s *Session) RecordFailures(_ context.Context, worker string, failures []storage.Failure) ([]string, error) {
	claims := make([]storage.Claim, len(failures))
	for i := range failures {
		claims[i] = failures[i].Claim
	}
	return s.fenced("record-failures", worker, claims, func(i int, row *storage.Schedule, now time.Time) bool {
		f := failures[i]
		row.ConsecutiveFailures++
		row.LastError, row.RetryAt = f.Error, now.Add(f.Backoff)
		if !f.Until.IsZero() && f.Until.Before(row.RetryAt) {
			row.RetryAt = f.Until
		}
		if !f.UnfinishedSince.IsZero() && !s.db.Omit.UnfinishedClaims {
			row.UnfinishedSince = f.UnfinishedSince
		}
		return true
	})
}

// Unlock implements [hourbell.Store].
func (s *Session) Unlock(_ context.Context, id string) (holder string, err error) {
	return holder, s.statement(func(tx *transaction) error {
		isLocked := func(row storage.Schedule) bool { return row.LockedBy != "" }
		if err := s.lockRows(tx, []string{id}, isLocked); err != nil {
			return err
		}
		before, _ := tx.read(id)
		if holder = before.LockedBy; holder == "" {
			return nil
		}
		after := before
		after.LockedAt, after.LockedBy = time.Time{}, ""
		after.Version++
		tx.write("unlock", "", s.db.Now, before, after)
		return nil
	})
}
