package model

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
)

// decisionTime returns the time with which claims and fires are decided: the
// database clock, or RequestedAt if the statement clock is omitted.
func (s *Session) decisionTime() time.Time {
	if s.db.Omit.StatementClock && !s.RequestedAt.IsZero() {
		return s.RequestedAt
	}
	return s.db.Now
}

// Claim implements [hourbell.Store]. It leaves out rows that another
// transaction has locked.
func (s *Session) Claim(_ context.Context, r storage.ClaimRequest) (result storage.ClaimResult, err error) {
	now := s.decisionTime()
	result.At = now
	return result, s.statement(func(tx *transaction) error {
		rows := slices.DeleteFunc(s.claimable(tx, r, now), func(row storage.Schedule) bool {
			owner := s.db.schedules[row.ID].owner
			return owner != nil && owner != tx
		})
		sort.SliceStable(rows, func(i, j int) bool { return rows[i].NextRunAt.Before(rows[j].NextRunAt) })
		for _, row := range rows[:min(len(rows), r.Limit)] {
			result.Claims = append(result.Claims, s.claimRow(tx, row, r, now))
		}
		if len(result.Claims) == 0 {
			result.WakeAt = s.nextClaimAt(tx, r, now)
			result.HeldByOthers = s.anyDue(tx, r, now, func(row storage.Schedule) bool { return s.heldByOther(row, r, now) })
		}
		return nil
	})
}

// claimable returns the due rows that a worker may claim, whether or not
// another transaction has locked them.
func (s *Session) claimable(tx *transaction, r storage.ClaimRequest, now time.Time) (rows []storage.Schedule) {
	for _, id := range tx.ids() {
		row, _ := tx.read(id)
		if isDue(row, r, now) && !backingOff(row, r, now) && !s.heldByOther(row, r, now) {
			rows = append(rows, row)
		}
	}
	return rows
}

// claimRow locks a row for the requesting worker.
func (s *Session) claimRow(tx *transaction, row storage.Schedule, r storage.ClaimRequest, now time.Time) storage.Claim {
	after := row
	after.LockedAt, after.LockedBy, after.UpdatedAt = now, r.Worker, now
	after.Version++
	continued := !row.UnfinishedSince.IsZero() && !row.UnfinishedSince.After(now) && within(row.UpdatedAt, now, r.LockTTL+row.Grace)
	if !continued {
		after.UnfinishedSince = now
	}
	if s.db.Omit.UnfinishedClaims {
		after.UnfinishedSince = time.Time{}
	}
	tx.write("claim", r.Worker, s.db.Now, row, after)
	claim := storage.Claim{
		ID: row.ID, DefinitionHash: row.DefinitionHash, At: now, NextRunAt: row.NextRunAt, SettledThrough: row.SettledThrough, Version: after.Version,
		UnfinishedSince: after.UnfinishedSince, ConsecutiveFailures: row.ConsecutiveFailures, HeldBy: row.LockedBy,
	}
	claim.Abandoned = !row.UnfinishedSince.IsZero() && !row.UnfinishedSince.Equal(after.UnfinishedSince)
	if s.db.Omit.UnfinishedClaims {
		claim.UnfinishedSince = now // each claim looks like the first
	}
	return claim
}

// within reports whether two times are at most d apart.
func within(a, b time.Time, d time.Duration) bool { return a.Sub(b).Abs() <= d }

// isFireable reports whether a row has slots that the requesting worker can
// fire.
func isFireable(row storage.Schedule, r storage.ClaimRequest) bool {
	return row.Enabled && row.RemovedAt.IsZero() && !row.NextRunAt.IsZero() && !slices.Contains(r.Exclude, row.ID+" "+row.DefinitionHash)
}

func isDue(row storage.Schedule, r storage.ClaimRequest, now time.Time) bool {
	return isFireable(row, r) && !row.NextRunAt.After(now)
}

// backingOff reports whether a failed row is not to be retried yet.
func backingOff(row storage.Schedule, r storage.ClaimRequest, now time.Time) bool {
	return row.RetryAt.After(now) && !row.RetryAt.After(now.Add(r.MaxBackoff))
}

// heldByOther reports whether a lock keeps the requesting worker from claiming
// a row. Expired locks and those of dead workers do not.
func (s *Session) heldByOther(row storage.Schedule, r storage.ClaimRequest, now time.Time) bool {
	claimedNow := !r.ExcludeOwnSince.IsZero() && !row.LockedAt.Before(r.ExcludeOwnSince)
	if row.LockedBy == "" || row.LockedBy == r.Worker && !claimedNow || !row.LockedAt.After(now.Add(-r.LockTTL)) || row.LockedAt.After(now.Add(r.LockTTL)) {
		return false
	}
	w, found := s.db.workers[row.LockedBy]
	return !found || w.StoppedAt.IsZero() && (r.DeadAfter == 0 || isActive(w, now, r.DeadAfter))
}

// nextClaimAt returns the earliest time at which a claim can find a row. It
// returns the zero time if no row has a next slot.
func (s *Session) nextClaimAt(tx *transaction, r storage.ClaimRequest, now time.Time) (earliest time.Time) {
	for _, id := range tx.ids() {
		row, _ := tx.read(id)
		if !isFireable(row, r) {
			continue
		}
		w, found := s.db.workers[row.LockedBy]
		at := row.LockedAt.Add(r.LockTTL)
		switch deadAt := w.HeartbeatAt.Add(r.DeadAfter); {
		case row.NextRunAt.After(now):
			at = row.NextRunAt
		case backingOff(row, r, now):
			at = row.RetryAt
		case !s.heldByOther(row, r, now):
			at = now
		case found && r.DeadAfter > 0 && deadAt.Before(at):
			at = deadAt.Add(time.Microsecond)
		}
		earliest = earlier(earliest, at)
	}
	return earliest
}

// anyDue reports whether a due row matches.
func (s *Session) anyDue(tx *transaction, r storage.ClaimRequest, now time.Time, matches func(storage.Schedule) bool) bool {
	return slices.ContainsFunc(tx.ids(), func(id string) bool {
		row, _ := tx.read(id)
		return isDue(row, r, now) && matches(row)
	})
}

// earlier returns the earlier of two times. It ignores zero times.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
