package model

import (
	"context"
	"errors"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// errRunsExist reports that FireOnTime met the unique index over slots.
var errRunsExist = errors.New("a slot has its runs already")

// FireOnTime implements [hourbell.Store].
func (s *Session) FireOnTime(_ context.Context, request storage.FireRequest) (result storage.FireResult, err error) {
	fires := request.Fires
	now := s.decisionTime()
	err = s.statement(func(tx *transaction) error {
		result.At = now
		result.AlreadySettled = s.settled(tx, fires[0]) && s.settled(tx, fires[len(fires)-1])
		var next time.Time // the earliest next slot of the fired schedules
		var fired []string
		for _, f := range fires {
			before, found := tx.read(f.ScheduleID)
			if result.AlreadySettled || !found || !s.onTime(tx, before, f, now) {
				continue
			}
			after := before
			after.NextRunAt, after.SettledThrough, after.LastRunAt, after.LastScheduledFor, after.UpdatedAt = f.Next, f.Slot, now, f.Slot, now
			after.Version++
			tx.write("fire-on-time", "", s.db.Now, before, after)
			runs := newRuns(f)
			inserted, err := s.insertRuns(tx, runs, "")
			if err != nil {
				return err
			}
			if len(inserted) < len(runs) {
				return errRunsExist
			}
			result.Slots++
			result.Runs += len(runs)
			if len(result.Names) < 10 {
				result.Names = append(result.Names, f.ScheduleID)
			}
			fired = append(fired, f.ScheduleID+" "+before.DefinitionHash)
			next = earlier(next, f.Next)
		}
		if request.FindNext {
			others := storage.ClaimRequest{Exclude: append(fired, request.Exclude...)}
			result.Idle = !s.anyDue(tx, others, now, func(storage.Schedule) bool { return true })
			if result.Idle {
				result.WakeAt = earlier(next, s.nextClaimAt(tx, others, now))
			}
		}
		return nil
	})
	if err != nil {
		result = storage.FireResult{}
	}
	return result, err
}

// newRuns returns the runs that a fire enqueues.
func newRuns(f storage.SlotFire) []hourbell.JobRun {
	runs := make([]hourbell.JobRun, len(f.Jobs))
	for i, job := range f.Jobs {
		runs[i] = hourbell.JobRun{
			Job: job.Name, Group: job.Group, Args: job.Args, Trigger: hourbell.TriggerCron, ScheduleID: f.ScheduleID,
			ScheduledFor: f.Slot, Ordinal: i, Status: hourbell.RunQueued,
		}
	}
	return runs
}

// settled reports whether a slot was fired or recorded before.
func (s *Session) settled(tx *transaction, f storage.SlotFire) bool {
	row, found := tx.read(f.ScheduleID)
	return found && !f.Slot.IsZero() && !row.SettledThrough.Before(f.Slot)
}

// onTime reports whether a row may fire without a claim.
func (s *Session) onTime(tx *transaction, row storage.Schedule, f storage.SlotFire, now time.Time) bool {
	owner := s.db.schedules[row.ID].owner
	return (owner == nil || owner == tx) && row.Enabled && row.RemovedAt.IsZero() &&
		(row.DefinitionHash == f.DefinitionHash || s.db.Omit.DefinitionHash) &&
		row.NextRunAt.Equal(f.Slot) && row.SettledThrough.Before(f.Slot) && !f.Slot.After(now) && f.Next.After(now) && !now.After(f.Slot.Add(row.Grace)) &&
		row.LockedBy == "" && row.UnfinishedSince.IsZero() && row.RetryAt.IsZero() && row.ConsecutiveFailures == 0
}
