package model

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/hourbell/hourbell"
)

// asked is the instant that judges a claim.
func (s *Session) asked() time.Time {
	if s.db.Without.OwnClock && !s.Asked.IsZero() {
		return s.Asked
	}
	return s.db.Now
}

// Claim implements [hourbell.Store].
func (s *Session) Claim(_ context.Context, r hourbell.ClaimRequest) (claims hourbell.Claims, err error) {
	now := s.asked()
	claims.At = now
	return claims, s.statement(func(tx *transaction) error {
		due := slices.DeleteFunc(s.due(tx, r, now), func(row hourbell.Schedule) bool {
			owner := s.db.schedules[row.ID].owner
			return owner != nil && owner != tx
		})
		sort.SliceStable(due, func(i, j int) bool { return due[i].NextRunAt.Before(due[j].NextRunAt) })
		for _, row := range due[:min(len(due), r.Limit)] {
			claims.Rows = append(claims.Rows, s.take(tx, row, r, now))
		}
		if len(claims.Rows) == 0 {
			claims.Wake, claims.Busy = s.wake(tx, r, now), s.busy(tx, r, now)
		}
		return nil
	})
}

// due are the rows that can be claimed, unless another transaction is at them.
func (s *Session) due(tx *transaction, r hourbell.ClaimRequest, now time.Time) (due []hourbell.Schedule) {
	for _, id := range tx.all() {
		row, _ := tx.read(id)
		if s.live(row, r) && !row.NextRunAt.IsZero() && !row.NextRunAt.After(now) && !held(row, r, now) && !s.locked(row, r, now) {
			due = append(due, row)
		}
	}
	return due
}

// take claims a row.
func (s *Session) take(tx *transaction, row hourbell.Schedule, r hourbell.ClaimRequest, now time.Time) hourbell.Claim {
	after := row
	after.LockedAt, after.LockedBy, after.UpdatedAt = now, r.Worker, now
	after.LockToken++
	alive := !row.OwedSince.IsZero() && !row.OwedSince.After(now) && near(row.UpdatedAt, now, r.LockTTL+row.Grace)
	if !alive {
		after.OwedSince = now
	}
	if s.db.Without.Debt {
		after.OwedSince = time.Time{}
	}
	tx.write("claim", r.Worker, s.db.Now, row, after)
	claim := hourbell.Claim{
		ID: row.ID, DefinitionHash: row.DefinitionHash, At: now, NextRunAt: row.NextRunAt, LockToken: after.LockToken,
		OwedSince: after.OwedSince, Failures: row.Failures, HeldBy: row.LockedBy,
	}
	claim.Lapsed = !row.OwedSince.IsZero() && !row.OwedSince.Equal(after.OwedSince)
	if s.db.Without.Debt {
		claim.OwedSince = now // as of a row that was never claimed before
	}
	return claim
}

// near says whether two instants lie no further apart than d.
func near(a, b time.Time, d time.Duration) bool { return a.Sub(b).Abs() <= d }

func (s *Session) live(row hourbell.Schedule, r hourbell.ClaimRequest) bool {
	return row.Enabled && row.RemovedAt.IsZero() && !slices.Contains(r.Except, row.ID+" "+row.DefinitionHash)
}

func held(row hourbell.Schedule, r hourbell.ClaimRequest, now time.Time) bool {
	return row.HeldUntil.After(now) && !row.HeldUntil.After(now.Add(r.MaxHold))
}

// locked says whether somebody else holds the row, and has not held it for too long, nor is dead.
func (s *Session) locked(row hourbell.Schedule, r hourbell.ClaimRequest, now time.Time) bool {
	underway := !r.Underway.IsZero() && !row.LockedAt.Before(r.Underway)
	if row.LockedBy == "" || row.LockedBy == r.Worker && !underway || !row.LockedAt.After(now.Add(-r.LockTTL)) || row.LockedAt.After(now.Add(r.LockTTL)) {
		return false
	}
	w, known := s.db.workers[row.LockedBy]
	return !known || w.StoppedAt.IsZero() && (r.Dead == 0 || near(w.HeartbeatAt, now, r.Dead))
}

// wake is when another claim can find something.
func (s *Session) wake(tx *transaction, r hourbell.ClaimRequest, now time.Time) (at time.Time) {
	for _, id := range tx.all() {
		row, _ := tx.read(id)
		if !s.live(row, r) || row.NextRunAt.IsZero() {
			continue
		}
		w, known := s.db.workers[row.LockedBy]
		free := row.LockedAt.Add(r.LockTTL)
		switch silent := w.HeartbeatAt.Add(r.Dead); {
		case row.NextRunAt.After(now):
			free = row.NextRunAt
		case held(row, r, now):
			free = row.HeldUntil
		case !s.locked(row, r, now):
			free = now
		case known && r.Dead > 0 && silent.Before(free):
			free = silent.Add(time.Microsecond)
		}
		at = sooner(at, free)
	}
	return at
}

// busy says whether others hold what is due.
func (s *Session) busy(tx *transaction, r hourbell.ClaimRequest, now time.Time) bool {
	return s.anyDue(tx, r, now, func(row hourbell.Schedule) bool { return s.locked(row, r, now) })
}

// pending says whether anything is due, held or not.
func (s *Session) pending(tx *transaction, r hourbell.ClaimRequest, now time.Time) bool {
	return s.anyDue(tx, r, now, func(hourbell.Schedule) bool { return true })
}

func (s *Session) anyDue(tx *transaction, r hourbell.ClaimRequest, now time.Time, is func(hourbell.Schedule) bool) bool {
	return slices.ContainsFunc(tx.all(), func(id string) bool {
		row, _ := tx.read(id)
		return s.live(row, r) && !row.NextRunAt.IsZero() && !row.NextRunAt.After(now) && is(row)
	})
}
