package model

import (
	"context"
	"errors"
	"time"

	"github.com/hourbell/hourbell"
)

// errRunsExist reports that FireOnTime met the unique index over slots.
var errRunsExist = errors.New("a slot has its runs already")

// FireOnTime implements [hourbell.Store].
func (s *Session) FireOnTime(_ context.Context, request hourbell.FireRequest) (result hourbell.Fired, err error) {
	fires := request.Fires
	now := s.decisionTime()
	err = s.statement(func(tx *transaction) error {
		result.At = now
		result.Overtaken = s.settled(tx, fires[0]) && s.settled(tx, fires[len(fires)-1])
		var next time.Time // the earliest next slot of the fired schedules
		var fired []string
		for _, f := range fires {
			before, found := tx.read(f.ScheduleID)
			if result.Overtaken || !found || !s.onTime(tx, before, f, now) {
				continue
			}
			after := before
			after.NextRunAt, after.SettledUntil, after.LastRunAt, after.LastScheduledFor, after.UpdatedAt = f.Next, f.Slot, now, f.Slot, now
			after.LockToken++
			tx.write("fire-on-time", "", s.db.Now, before, after)
			runs := newRuns(f)
			inserted, err := s.insertRuns(tx, runs)
			if err != nil {
				return err
			}
			if len(inserted) < len(runs) {
				return errRunsExist
			}
			result.Slots++
			result.Runs += len(runs)
			fired = append(fired, f.ScheduleID+" "+before.DefinitionHash)
			next = earlier(next, f.Next)
		}
		if request.Ask {
			others := hourbell.ClaimRequest{Except: append(fired, request.Except...)}
			result.Idle = !s.anyDue(tx, others, now, func(hourbell.Schedule) bool { return true })
			if result.Idle {
				result.Wake = earlier(next, s.nextClaimAt(tx, others, now))
			}
		}
		return nil
	})
	if err != nil {
		result = hourbell.Fired{}
	}
	return result, err
}

// newRuns returns the runs that a fire enqueues.
func newRuns(f hourbell.Fire) []hourbell.JobRun {
	runs := make([]hourbell.JobRun, len(f.Jobs))
	for i, job := range f.Jobs {
		runs[i] = hourbell.JobRun{
			Job: job.Name, Group: job.Group, Args: job.Args, Trigger: "CRON", ScheduleID: f.ScheduleID,
			ScheduledFor: f.Slot, Ordinal: i, Status: "QUEUED",
		}
	}
	return runs
}

// settled reports whether a slot was fired or recorded before.
func (s *Session) settled(tx *transaction, f hourbell.Fire) bool {
	row, found := tx.read(f.ScheduleID)
	return found && !f.Slot.IsZero() && !row.SettledUntil.Before(f.Slot)
}

// onTime reports whether a row may fire without a claim.
func (s *Session) onTime(tx *transaction, row hourbell.Schedule, f hourbell.Fire, now time.Time) bool {
	owner := s.db.schedules[row.ID].owner
	return (owner == nil || owner == tx) && row.Enabled && row.RemovedAt.IsZero() &&
		(row.DefinitionHash == f.DefinitionHash || s.db.Omit.DefinitionHash) &&
		row.NextRunAt.Equal(f.Slot) && !f.Slot.After(now) && f.Next.After(now) && !now.After(f.Slot.Add(row.Grace)) &&
		row.LockedBy == "" && row.OwedSince.IsZero() && row.HeldUntil.IsZero() && row.Failures == 0
}
