package model

import (
	"context"
	"errors"
	"time"

	"github.com/hourbell/hourbell"
)

// errTaken is what an insert says that meets a unique index, and was told nothing of it.
var errTaken = errors.New("a slot has its runs already")

// FireOnTime implements [hourbell.Store].
//
// Its statements are instants, so that every lane is free.
func (s *Session) FireOnTime(_ context.Context, request hourbell.FireRequest) (fired hourbell.Fired, err error) {
	list := request.Fires
	now := s.asked()
	err = s.statement(func(tx *transaction) error {
		fired.At = now
		fired.Overtaken = s.settled(tx, list[0]) && s.settled(tx, list[len(list)-1])
		var next time.Time // of those that fired
		var ids []string
		for _, f := range list {
			before, there := tx.read(f.ScheduleID)
			if fired.Overtaken || !there || !s.punctual(tx, before, f, now) {
				continue
			}
			after := before
			after.NextRunAt, after.SettledUntil, after.LastRunAt, after.LastScheduledFor, after.UpdatedAt = f.Next, f.Slot, now, f.Slot, now
			after.LockToken++
			tx.write("fire-on-time", "", s.db.Now, before, after)
			runs := make([]hourbell.JobRun, len(f.Jobs))
			for i, job := range f.Jobs {
				runs[i] = hourbell.JobRun{
					Job: job.Name, Group: job.Group, Args: job.Args, Trigger: "CRON", ScheduleID: f.ScheduleID,
					ScheduledFor: f.Slot, Ordinal: i, Status: "QUEUED",
				}
			}
			inserted, err := s.insertRuns(tx, runs)
			if err != nil {
				return err
			}
			if len(inserted) < len(runs) {
				return errTaken
			}
			fired.Slots++
			fired.Runs += len(runs)
			ids = append(ids, f.ScheduleID+" "+before.DefinitionHash)
			next = sooner(next, f.Next)
		}
		if request.Ask {
			r := hourbell.ClaimRequest{Except: append(ids, request.Except...)}
			wake := s.wake(tx, r, now)
			if fired.Idle = !s.pending(tx, r, now); fired.Idle {
				fired.Wake = sooner(next, wake)
			}
		}
		return nil
	})
	if err != nil {
		fired = hourbell.Fired{}
	}
	return fired, err
}

// settled says whether a slot had been dealt with before.
func (s *Session) settled(tx *transaction, f hourbell.Fire) bool {
	row, there := tx.read(f.ScheduleID)
	return there && !f.Slot.IsZero() && !row.SettledUntil.Before(f.Slot)
}

// punctual says whether a row may fire without a claim.
func (s *Session) punctual(tx *transaction, row hourbell.Schedule, f hourbell.Fire, now time.Time) bool {
	owner := s.db.schedules[row.ID].owner
	return (owner == nil || owner == tx) && row.Enabled && row.RemovedAt.IsZero() &&
		(row.DefinitionHash == f.DefinitionHash || s.db.Without.Definition) &&
		row.NextRunAt.Equal(f.Slot) && !f.Slot.After(now) && f.Next.After(now) && !now.After(f.Slot.Add(row.Grace)) &&
		row.LockedBy == "" && row.OwedSince.IsZero() && row.HeldUntil.IsZero() && row.Failures == 0
}

// sooner is the earlier of two instants, of which either may be none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// OneByOne implements [hourbell.Store].
func (s *Session) OneByOne() bool { return false }
