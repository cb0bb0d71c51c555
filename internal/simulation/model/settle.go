package model

import (
	"context"
	"time"

	"github.com/hourbell/hourbell"
)

// fenced changes those rows of a batch that the worker still has as it had claimed them, and returns their ids. It locks
// them first, and then reads the clock.
func (s *Session) fenced(verb, worker string, claims []hourbell.Claim, change func(i int, row *hourbell.Schedule, now time.Time) bool) (ids []string, err error) {
	return ids, s.statement(func(tx *transaction) error {
		at := make(map[string]int, len(claims))
		wanted := make([]string, len(claims))
		for i, c := range claims {
			at[c.ID], wanted[i] = i, c.ID
		}
		still := func(row hourbell.Schedule) bool {
			return s.db.Without.Fence || row.LockToken == claims[at[row.ID]].LockToken && row.LockedBy == worker
		}
		if err := s.lock(tx, wanted, still); err != nil {
			return err
		}
		for _, id := range tx.all() {
			i, asked := at[id]
			before, _ := tx.read(id)
			if !asked || !still(before) {
				continue
			}
			after := before
			after.LockedAt, after.LockedBy, after.UpdatedAt = time.Time{}, "", s.db.Now
			after.LockToken++
			if change(i, &after, s.db.Now) {
				tx.write(verb, worker, s.db.Now, before, after)
				ids = append(ids, id)
			}
		}
		return nil
	})
}

// Advance implements [hourbell.Store].
func (s *Session) Advance(_ context.Context, worker string, list []hourbell.Settlement) ([]string, error) {
	claims := make([]hourbell.Claim, len(list))
	for i := range list {
		claims[i] = list[i].Claim
	}
	return s.fenced("advance", worker, claims, func(i int, row *hourbell.Schedule, now time.Time) bool {
		c := list[i]
		if row.DefinitionHash != c.DefinitionHash && !s.db.Without.Definition || c.Through.After(now) {
			return false
		}
		row.NextRunAt, row.SettledUntil, row.OwedSince, row.HeldUntil = c.Next, c.Through, time.Time{}, time.Time{}
		if !c.Fired.IsZero() {
			row.LastRunAt, row.LastScheduledFor, row.Failures, row.LastError = now, c.Fired, 0, ""
		}
		return true
	})
}

// GiveBack implements [hourbell.Store].
func (s *Session) GiveBack(_ context.Context, worker string, claims []hourbell.Claim) error {
	_, err := s.fenced("give-back", worker, claims, func(int, *hourbell.Schedule, time.Time) bool { return true })
	return err
}

// Hold implements [hourbell.Store].
func (s *Session) Hold(_ context.Context, worker string, list []hourbell.Failure) ([]string, error) {
	claims := make([]hourbell.Claim, len(list))
	for i := range list {
		claims[i] = list[i].Claim
	}
	return s.fenced("hold", worker, claims, func(i int, row *hourbell.Schedule, now time.Time) bool {
		f := list[i]
		row.Failures++
		row.LastError, row.HeldUntil = f.Error, now.Add(f.For)
		if !f.Until.IsZero() && f.Until.Before(row.HeldUntil) {
			row.HeldUntil = f.Until
		}
		if !f.Owed.IsZero() && !s.db.Without.Debt {
			row.OwedSince = f.Owed
		}
		return true
	})
}

// Unlock implements [hourbell.Store].
func (s *Session) Unlock(_ context.Context, id string) (holder string, err error) {
	return holder, s.statement(func(tx *transaction) error {
		isLocked := func(row hourbell.Schedule) bool { return row.LockedBy != "" }
		if err := s.lock(tx, []string{id}, isLocked); err != nil {
			return err
		}
		before, _ := tx.read(id)
		if holder = before.LockedBy; holder == "" {
			return nil
		}
		after := before
		after.LockedAt, after.LockedBy = time.Time{}, ""
		after.LockToken++
		tx.write("unlock", "", s.db.Now, before, after)
		return nil
	})
}
