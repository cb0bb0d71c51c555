package hourbell

import (
	"context"
	"errors"
	"fmt"
	"time"
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
	due := p.coming.due(p.estimate())
	if len(due) == 0 {
		return false, nil
	}
	lanes := p.lanes()
	batches := p.batches(due, lanes)
	var last Fired
	if len(batches) == 1 && len(due) <= few {
		last, err = p.fireBatchOnTime(ctx, due, FireRequest{Ask: true, Except: p.exceptions()})
	} else {
		left := newBurst(batches, min(lanes, len(batches)))
		err = sideBySide(len(left.parts), func(lane int) error { return p.work(stop, ctx, left, lane) })
		last = left.last
	}
	if last.Idle {
		p.rest(last.At, last.Wake, false)
	}
	return last.Idle, err
}

// patience is how often a lane that another replica is in is tried again before what is left is left to the first road.
const patience = 10

// work fires one batch of a burst after another in a lane. All replicas wake for a burst, and all at once are slower than a few:
// the fleet has no more lanes than a replica. Who finds another in its lane lets it go on, and stands by with one lane alone.
func (p *pass) work(stop, ctx context.Context, left *burst, lane int) error {
	pause := backoff{least: 40 * time.Millisecond, most: 160 * time.Millisecond}
	refused, others := 0, false // how often in a row; whether others were met
	for stop.Err() == nil && refused <= patience {
		batch := left.take(lane)
		if batch == nil {
			break
		}
		request := FireRequest{Lane: lane + 1}
		if others { // perhaps they have fired all of it
			request.Ask, request.Except = true, p.exceptions()
		}
		fired, err := p.fireBatchOnTime(ctx, batch, request)
		switch {
		case err != nil:
			left.end(Fired{})
			return err
		case fired.Idle:
			left.end(fired)
		case fired.Refused:
			left.putBack(lane, batch)
			if lane > 0 {
				return nil
			}
			refused, others = refused+1, true
			sleep(stop, jitter(pause.next()))
		default:
			refused, others = 0, fired.Overtaken
			pause.reset()
		}
	}
	return nil
}

// batches are of the same size, and as many as keep all lanes at work to the end.
func (p *pass) batches(due []arrival, lanes int) (batches [][]arrival) {
	p.guard.Lock()
	limit := p.limit
	p.guard.Unlock()
	if len(due) > few {
		rounds := (len(due) + limit*lanes - 1) / (limit * lanes)
		limit = (len(due) + rounds*lanes - 1) / (rounds * lanes)
	}
	first, runs := 0, 0
	for i, a := range due {
		if runs += len(a.jobs); i > first && (i-first >= limit || runs > maxRuns) {
			batches = append(batches, due[first:i])
			first, runs = i, len(a.jobs)
		}
	}
	return append(batches, due[first:])
}

// fireBatchOnTime fires a batch. What is in the way of all of it is left to the first road, which finds out whose it is.
func (p *pass) fireBatchOnTime(ctx context.Context, due []arrival, request FireRequest) (Fired, error) {
	ctx, cancel := context.WithTimeout(ctx, p.fireDeadline())
	defer cancel()
	asked := wallClock()
	request.Fires = fires(due)
	fired, err := p.store.FireOnTime(ctx, request)
	switch {
	case err != nil && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy)):
		p.shrink(false)
		return Fired{}, fmt.Errorf("hourbell: fire %d schedules on time: %w", len(due), err)
	case err != nil:
		p.log.WarnContext(ctx, "hourbell: could not fire at once; will claim first", "schedules", len(due), "error", err)
		return Fired{}, nil
	}
	p.contact.seen()
	p.ticked(fired.At, asked)
	if !fired.Refused {
		p.grow()
	}
	p.logFired(ctx, fired.Slots, fired.Runs)
	p.count(TickReport{Claimed: fired.Slots, Fired: fired.Slots, Enqueued: fired.Runs})
	return fired, nil
}

// fires are the slots that have come.
func fires(due []arrival) []Fire {
	list := make([]Fire, len(due))
	for i, a := range due {
		list[i] = Fire{ScheduleID: a.ID, DefinitionHash: a.hash, Slot: a.at.coming, Next: a.at.then, Jobs: a.jobs}
	}
	return list
}
