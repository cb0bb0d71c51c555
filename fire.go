package hourbell

import (
	"context"
	"time"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell/internal/storage"
)

// maxRuns is how many runs one transaction inserts at most, unless a single
// schedule has more jobs.
const maxRuns = 10_000

// splitBatches splits schedules into batches of at most maxRuns runs. A
// schedule whose last attempt failed is in a batch of its own, so that it
// cannot fail others. Those batches come last, because they may take long.
func splitBatches(ready []*claimedSchedule) [][]*claimedSchedule {
	var batches, retries [][]*claimedSchedule
	var batch []*claimedSchedule
	runs := 0
	for _, c := range ready {
		if c.ConsecutiveFailures > 0 {
			retries = append(retries, []*claimedSchedule{c})
			continue
		}
		if runs += len(c.jobs); runs > maxRuns && len(batch) > 0 {
			batches = append(batches, batch)
			batch, runs = nil, len(c.jobs)
		}
		batch = append(batch, c)
	}
	if len(batch) > 0 {
		batches = append(batches, batch)
	}
	return append(batches, retries...)
}

// fire settles a batch in one transaction. First the fenced advance moves the
// schedules past their slots. For those that it moved, fire then inserts skips
// and runs, and calls the Enqueuer. Everything commits or nothing does. fire
// returns the claims that were no longer valid.
func (p *pass) fire(ctx context.Context, batch []*claimedSchedule) (lost []storage.Claim, err error) {
	s := p.scheduler
	timeout := s.cfg.fireTimeout()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rows := make([]storage.Advance, len(batch))
	for i, c := range batch {
		rows[i] = storage.Advance{Claim: c.Claim, Through: c.slot, Next: c.next}
		if c.fire {
			rows[i].Fired = c.slot
		}
	}
	var advanced []*claimedSchedule
	var runs []JobRun
	err = s.store.Transaction(ctx, timeout, func(st Store, tx *gorm.DB) error {
		ids, err := st.Advance(ctx, s.worker.ID, rows)
		if err != nil {
			return err
		}
		advanced, lost = partition(batch, ids)
		if err := st.InsertEvents(ctx, s.skipEvents(advanced)); err != nil {
			return err
		}
		runs, err = s.enqueue(ctx, st, tx, s.cronRuns(advanced))
		return err
	})
	if err != nil {
		return nil, err
	}
	p.reportFire(ctx, advanced, lost, runs)
	return lost, nil
}

// partition separates the schedules that were advanced from the claims that
// were no longer valid.
func partition(batch []*claimedSchedule, advancedIDs []string) (advanced []*claimedSchedule, lost []storage.Claim) {
	if len(advancedIDs) == len(batch) {
		return batch, nil
	}
	valid := make(map[string]bool, len(advancedIDs))
	for _, id := range advancedIDs {
		valid[id] = true
	}
	for _, c := range batch {
		if valid[c.ID] {
			advanced = append(advanced, c)
		} else {
			lost = append(lost, c.Claim)
		}
	}
	return advanced, lost
}

// cronRuns returns the runs to insert for the slots that fire.
func (s *Scheduler) cronRuns(advanced []*claimedSchedule) []JobRun {
	count := 0
	for _, c := range advanced {
		if c.fire {
			count += len(c.jobs)
		}
	}
	runs := make([]JobRun, 0, count)
	for _, c := range advanced {
		if !c.fire {
			continue
		}
		for i, job := range c.jobs {
			run := s.newRun(job, i, TriggerCron, c.ID)
			run.ScheduledFor = c.slot
			runs = append(runs, run)
		}
	}
	return runs
}

// skipEvents returns the events of the slots that are skipped.
func (s *Scheduler) skipEvents(advanced []*claimedSchedule) []Event {
	var events []Event
	for _, c := range advanced {
		if c.skipped != nil {
			events = append(events, c.skipped.event(c.ID, ChangeOptions{Actor: s.worker.ID}))
		}
	}
	return events
}

// reportFire counts and logs what a committed batch did.
func (p *pass) reportFire(ctx context.Context, advanced []*claimedSchedule, lost []storage.Claim, runs []JobRun) {
	log := p.scheduler.log
	done := TickReport{Enqueued: len(runs), LockLost: len(lost)}
	fired := make(map[string]bool, len(advanced))
	for i := range runs {
		fired[runs[i].ScheduleID] = true
	}
	for _, c := range advanced {
		if c.skipped != nil {
			done.Skipped += c.skipped.count
			log.WarnContext(ctx, "hourbell: slots skipped", "schedule", c.ID, "reason", c.skipped.reason,
				"from", c.skipped.from.Format(time.RFC3339), "to", c.skipped.to.Format(time.RFC3339),
				"count", c.skipped.count, "at_least", c.skipped.atLeast)
		}
		switch {
		case c.fire && fired[c.ID]:
			done.Fired++
		case c.fire: // the unique index already had the slot's first run
			log.WarnContext(ctx, "hourbell: slot had already fired", "schedule", c.ID, "slot", c.slot.Format(time.RFC3339))
		}
	}
	if len(lost) > 0 {
		log.WarnContext(ctx, "hourbell: locks lost before firing", "count", len(lost), "first", lost[0].ID)
	}
	p.scheduler.logFired(ctx, len(fired), len(runs))
	p.count(done)
}

// logFired logs how many schedules fired, and how many runs that inserted.
func (s *Scheduler) logFired(ctx context.Context, schedules, runs int) {
	if runs > 0 {
		s.log.InfoContext(ctx, "hourbell: fired", "schedules", schedules, "runs", runs)
	}
}
