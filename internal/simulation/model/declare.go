package model

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/hourbell/hourbell"
)

// Bind implements [hourbell.Store]. The clock is the database's own, whatever the process takes it for.
func (s *Session) Bind(string, func() time.Time) (hourbell.Store, error) { return s, nil }

// Ready implements [hourbell.Store].
func (s *Session) Ready(context.Context) error { return nil }

// Now implements [hourbell.Store].
func (s *Session) Now(context.Context) (time.Time, error) {
	s.seen = s.db.Now
	return s.db.Now, nil
}

// Schedules implements [hourbell.Store].
func (s *Session) Schedules(_ context.Context, ids ...string) (list []hourbell.Schedule, err error) {
	return list, s.statement(func(tx *transaction) error {
		for _, id := range tx.all() {
			if len(ids) == 0 || slices.Contains(ids, id) {
				row, _ := tx.read(id)
				list = append(list, row)
			}
		}
		return nil
	})
}

// DefinitionHashes implements [hourbell.Store].
func (s *Session) DefinitionHashes(ctx context.Context) (hashes []string, err error) {
	list, err := s.Schedules(ctx)
	for _, row := range list {
		if row.RemovedAt.IsZero() {
			hashes = append(hashes, row.DefinitionHash)
		}
	}
	return hashes, err
}

// stale says whether the clock has reached the instant at which what was computed no longer holds.
func (s *Session) stale(r hourbell.Revision, now time.Time) bool {
	return !s.db.Without.CompareAndSet && !r.Until.IsZero() && !r.Until.After(now)
}

// Insert implements [hourbell.Store]. It reads the clock, and then waits for whoever is adding the same.
func (s *Session) Insert(_ context.Context, rows []hourbell.Revision) (ids []string, err error) {
	rows = slices.Clone(rows)
	sort.Slice(rows, func(i, j int) bool { return rows[i].ID < rows[j].ID })
	now := s.db.Now
	return ids, s.statement(func(tx *transaction) error {
		for _, r := range rows {
			if s.stale(r, now) {
				continue
			}
			err := s.unblocked(tx, func() bool {
				other := s.db.schedules[r.ID]
				return other != nil && !other.there && other.owner != tx
			})
			if err != nil {
				return err
			}
			if s.db.schedules[r.ID] != nil {
				continue
			}
			added := codeOwned(hourbell.Schedule{Namespace: r.Namespace, ID: r.ID, CreatedAt: now, UpdatedAt: now}, r.Schedule)
			added.Enabled, added.NextRunAt = r.Enabled, r.NextRunAt
			s.db.schedules[r.ID] = &row{owner: tx}
			tx.write("insert", "", now, hourbell.Schedule{}, added)
			ids = append(ids, r.ID)
		}
		return nil
	})
}

// codeOwned is a row with what code owns written over.
func codeOwned(row, by hourbell.Schedule) hourbell.Schedule {
	row.Name, row.Description, row.Cron, row.TimeZone = by.Name, by.Description, by.Cron, by.TimeZone
	row.TargetKind, row.Target, row.Grace, row.DefinitionHash = by.TargetKind, by.Target, by.Grace, by.DefinitionHash
	return row
}

// Revise implements [hourbell.Store]. It locks the rows, and then reads the clock.
func (s *Session) Revise(_ context.Context, rows []hourbell.Revision) (ids []string, err error) {
	return ids, s.statement(func(tx *transaction) error {
		at := make(map[string]hourbell.Revision, len(rows))
		wanted := make([]string, len(rows))
		for i, r := range rows {
			at[r.ID], wanted[i] = r, r.ID
		}
		asRead := func(row hourbell.Schedule) bool {
			r := at[row.ID]
			return row.LockToken == r.LockToken && row.DefinitionHash == r.ReadHash || s.db.Without.CompareAndSet
		}
		if err := s.lock(tx, wanted, asRead); err != nil {
			return err
		}
		for _, id := range tx.all() {
			before, _ := tx.read(id)
			r, asked := at[id]
			if !asked || !asRead(before) || s.stale(r, s.db.Now) {
				continue
			}
			tx.write("revise", "", s.db.Now, before, s.revised(before, r))
			ids = append(ids, id)
		}
		return nil
	})
}

func (s *Session) revised(before hourbell.Schedule, r hourbell.Revision) hourbell.Schedule {
	after := codeOwned(before, r.Schedule)
	if !r.Settles {
		return after
	}
	after.Enabled, after.EnabledNote, after.NextRunAt, after.SettledUntil, after.RemovedAt = r.Enabled, r.EnabledNote, r.NextRunAt, r.SettledUntil, r.RemovedAt
	if s.db.Without.Settling {
		return after
	}
	after.LockedAt, after.LockedBy, after.OwedSince, after.HeldUntil = time.Time{}, "", time.Time{}, time.Time{}
	after.Failures, after.LastError, after.UpdatedAt = 0, "", s.db.Now
	after.LockToken++
	return after
}
