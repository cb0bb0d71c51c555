package hourbell

import (
	"context"
	"time"
)

// maxRuns is how many runs one transaction inserts at most, unless a single schedule has more.
const maxRuns = 10_000

// split makes batches of at most maxRuns runs. A schedule that failed before goes alone until it has succeeded.
func split(ready []*due) [][]*due {
	var batches [][]*due
	var batch []*due
	runs := 0
	for _, d := range ready {
		if d.Failures > 0 {
			batches = append(batches, []*due{d})
			continue
		}
		if runs += len(d.jobs); runs > maxRuns && len(batch) > 0 {
			batches = append(batches, batch)
			batch, runs = nil, len(d.jobs)
		}
		batch = append(batch, d)
	}
	if len(batch) > 0 {
		// Before the ones that failed, which may take long.
		batches = append([][]*due{batch}, batches...)
	}
	return batches
}

// fire settles a batch in one transaction: the fenced advance, then the runs and the skips of what was advanced. All
// of it commits or none. It returns the claims that no longer held.
func (p *pass) fire(ctx context.Context, batch []*due) (lost []Claim, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.fireDeadline())
	defer cancel()
	settlements := make([]Settlement, len(batch))
	for i, d := range batch {
		settlements[i] = Settlement{Claim: d.Claim, Through: d.slot, Next: d.next}
		if d.fire {
			settlements[i].Fired = d.slot
		}
	}
	var kept []*due
	var runs []JobRun
	err = p.store.Transaction(ctx, p.fireDeadline(), func(st Store, tx Tx) error {
		advanced, err := st.Advance(ctx, p.worker.ID, settlements)
		if err != nil {
			return err
		}
		kept, lost = sortOut(batch, advanced)
		if skips := p.skips(kept); len(skips) > 0 {
			if err := st.InsertEvents(ctx, skips); err != nil {
				return err
			}
		}
		runs, err = p.enqueue(ctx, st, tx, p.runs(kept))
		return err
	})
	if err != nil {
		return nil, err
	}
	p.account(ctx, kept, lost, runs)
	return lost, nil
}

// sortOut tells the schedules that were advanced from those whose claim no longer held.
func sortOut(batch []*due, advanced []string) (kept []*due, lost []Claim) {
	if len(advanced) == len(batch) {
		return batch, nil
	}
	still := make(map[string]bool, len(advanced))
	for _, id := range advanced {
		still[id] = true
	}
	for _, d := range batch {
		if still[d.ID] {
			kept = append(kept, d)
		} else {
			lost = append(lost, d.Claim)
		}
	}
	return kept, lost
}

// runs lists the runs of what fires.
func (p *pass) runs(kept []*due) []JobRun {
	count := 0
	for _, d := range kept {
		if d.fire {
			count += len(d.jobs)
		}
	}
	runs := make([]JobRun, 0, count)
	for _, d := range kept {
		if !d.fire {
			continue
		}
		for i, j := range d.jobs {
			runs = append(runs, JobRun{
				Namespace: p.cfg.Namespace, Job: j.Name, Group: j.Group, Trigger: triggerCron, ScheduleID: d.ID,
				ScheduledFor: d.slot, Ordinal: i, Status: statusQueued, Args: j.Args,
			})
		}
	}
	return runs
}

// skips lists the events of what does not fire.
func (p *pass) skips(kept []*due) []Event {
	var events []Event
	for _, d := range kept {
		if d.skipped != nil {
			events = append(events, d.skipped.event(d.ID, By{Actor: p.worker.ID}))
		}
	}
	return events
}

// account reports and logs what a committed batch did.
func (p *pass) account(ctx context.Context, kept []*due, lost []Claim, runs []JobRun) {
	done := TickReport{Enqueued: len(runs), LockLost: len(lost)}
	fired := make(map[string]bool, len(kept))
	for _, run := range runs {
		fired[run.ScheduleID] = true
	}
	for _, d := range kept {
		if d.skipped != nil {
			done.Skipped += d.skipped.count
			p.log.WarnContext(ctx, "hourbell: slots skipped", "schedule", d.ID, "reason", d.skipped.reason,
				"from", d.skipped.from.Format(time.RFC3339), "to", d.skipped.to.Format(time.RFC3339),
				"count", d.skipped.count, "at_least", d.skipped.atLeast)
		}
		switch {
		case d.fire && fired[d.ID]:
			done.Fired++
		case d.fire:
			p.log.WarnContext(ctx, "hourbell: slot had already fired; nothing inserted", "schedule", d.ID, "slot", d.slot.Format(time.RFC3339))
		}
	}
	if len(lost) > 0 {
		p.log.WarnContext(ctx, "hourbell: lock lost before the slot could fire; nothing changed", "count", len(lost), "first", lost[0].ID)
	}
	p.logFired(ctx, len(fired), len(runs))
	p.count(done)
}

func (p *pass) logFired(ctx context.Context, schedules, runs int) {
	if runs > 0 {
		p.log.InfoContext(ctx, "hourbell: fired", "schedules", schedules, "runs", runs)
	}
}
