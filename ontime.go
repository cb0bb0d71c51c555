package hourbell

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// The second road.
//
// Between a claim and its fire host code may run, so that the lock is committed for all to see: two transactions, of
// which the first costs a third of the whole. Where there is no Enqueuer, and a row is free and on time, nothing runs
// in between, and one statement claims, advances and inserts. It fires only what the first road would fire too: its
// conditions are those of claim, decide and fence together, judged by its own clock, and whatever does not meet them it
// leaves to the first road, which follows in the same tick. A row fired by it has never been locked, and owes nothing.

// few is how many fires are so few that the statement which fires them can say at once what a claim after it would
// find, for it must look past each that fired.
const few = 100

// fireOnTime fires what has come due since the last tick and meets no obstacle. It says whether the pass is over: whether
// it is known that a claim would find nothing more.
func (p *pass) fireOnTime(stop, ctx context.Context) (over bool, err error) {
	if p.cfg.Enqueuer != nil {
		return false, nil
	}
	due := p.coming.due(p.estimate())
	count := 0
	for _, l := range due {
		count += len(l.definitions)
	}
	for batch := range p.punctual(due) {
		if stop.Err() != nil || p.coming == nil {
			return false, nil
		}
		var then *ClaimRequest
		if len(batch) == count && count <= few {
			request := p.claimRequest()
			then = &request
		}
		if over, err = p.fireBatchOnTime(ctx, batch, then); err != nil {
			return false, err
		}
	}
	return over, nil
}

func (p *pass) fireBatchOnTime(ctx context.Context, batch []Fire, then *ClaimRequest) (over bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.fireDeadline())
	defer cancel()
	asked := wallClock()
	fired, err := p.store.FireOnTime(ctx, batch, then)
	switch {
	case err != nil && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy)):
		p.limit = max(p.limit/2, 1)
		return false, fmt.Errorf("hourbell: fire %d schedules on time: %w", len(batch), err)
	case err != nil: // of one of them; the first road finds out which
		p.log.WarnContext(ctx, "hourbell: could not fire at once; will claim first", "schedules", len(batch), "error", err)
		return false, nil
	}
	if fired.At.IsZero() { // the store has no second road
		p.coming = nil
		return false, nil
	}
	p.limit = min(p.limit*2, p.cfg.BatchSize)
	p.contact.seen()
	p.ticked(fired.At, asked)
	p.report.Claimed += fired.Slots
	p.report.Fired += fired.Slots
	p.report.Enqueued += fired.Runs
	p.logFired(ctx, fired.Slots, fired.Runs)
	if fired.Idle {
		p.rest(fired.At, fired.Wake, false)
	}
	return fired.Idle, nil
}

// punctual makes batches of the schedules that share the lines given.
func (p *pass) punctual(due []*line) iter.Seq[[]Fire] {
	return func(yield func([]Fire) bool) {
		var batch []Fire
		var jobs []FireJob
		for _, l := range due {
			for _, d := range l.definitions {
				if len(batch) >= p.limit || len(batch) > 0 && len(jobs)+len(d.jobs) > maxRuns {
					if !yield(batch) {
						return
					}
					batch, jobs = batch[:0], jobs[:0]
				}
				first := len(jobs)
				for _, j := range d.jobs {
					jobs = append(jobs, FireJob{j.Name, j.Group, j.args})
				}
				batch = append(batch, Fire{ScheduleID: d.ID, DefinitionHash: d.hash, Slot: l.coming, Next: l.then, Jobs: jobs[first:]})
			}
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}
