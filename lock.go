package hourbell

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Why a slot fires once.
//
// The lock does not make it so. It only says who works on a schedule, so that replicas share the work instead of
// repeating it, and so that a person can see it. A lock can always be held by somebody who no longer should: its
// holder was stopped for an hour between two lines, and the lock was taken over in the meantime.
//
// What makes a slot fire once is the fenced advance. The token is the version of the row and grows with every change
// of enabled, removed, cron, zone, next_run_at, debt or lock. The transaction that inserts the runs of a slot moves
// next_run_at past it, and does so only where token and holder are still those of the claim. So of all that ever
// claimed a row at next_run_at, one commits, and who comes later finds another token. Giving back and recording a
// failure are fenced the same way.
//
// Behind it stands a unique index over CRON fires. With a right fence nothing ever reaches it.
//
// What is due is judged by one clock, the database's, read by the claiming statement itself and returned with the
// claim. No instant read earlier judges anything, and the advance checks once more that the clock has reached the slot.

// The heartbeat of a Worker, and when a Worker is taken for dead.
const (
	heartbeatEvery    = 10 * time.Second
	deadAfter         = 30 * time.Second
	heartbeatDeadline = 5 * time.Second
)

// A loop is behind when it claims as much as one claim takes, of which the earliest slot has been due for longer than behindAfter.
// For the time of behindFor it then sees to it that every schedule has its turn, those that are due once a day included.
const (
	behindAfter = 5 * time.Second
	behindFor   = 25 * time.Hour
)

// claim locks a batch of due schedules, but for those that this worker has locked since an instant, for its lanes are at them.
// It says whether it took as many as it could.
func (p *pass) claim(ctx context.Context, underway time.Time) (claims Claims, full bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.callDeadline())
	defer cancel()
	request := p.claimRequest()
	request.Underway = underway
	asked := wallClock()
	claims, err = p.store.Claim(ctx, request)
	if err != nil {
		return Claims{}, false, fmt.Errorf("hourbell: claim due schedules: %w", err)
	}
	p.contact.seen()
	p.ticked(claims.At, asked)
	full = len(claims.Rows) >= request.Limit
	p.count(TickReport{Claimed: len(claims.Rows)})
	if len(claims.Rows) == 0 {
		p.rest(claims.At, claims.Wake, claims.Busy)
	}
	p.guard.Lock()
	defer p.guard.Unlock()
	switch {
	case full && claims.At.Sub(claims.Rows[0].NextRunAt) > behindAfter:
		p.behind = claims.At
	case claims.At.Sub(p.behind) > behindFor:
		p.behind = time.Time{}
	}
	return claims, full, nil
}

func (p *pass) claimRequest() ClaimRequest {
	p.guard.Lock()
	defer p.guard.Unlock()
	request := ClaimRequest{
		Worker: p.worker.ID, Limit: p.limit, LockTTL: p.cfg.LockTTL, MaxHold: p.cfg.PollInterval, Except: p.exceptions(),
		Fairly: !p.behind.IsZero(),
	}
	if p.contact.steady() {
		request.Dead = deadAfter
	}
	return request
}

// giveBack clears the locks of claims that are not going to be settled; their debts stay.
func (s *Scheduler) giveBack(ctx context.Context, claims []Claim) error {
	if len(claims) == 0 {
		return nil
	}
	deadline := s.callDeadline()
	if ctx.Err() != nil { // a last word before the process ends
		ctx, deadline = context.WithoutCancel(ctx), min(deadline, 500*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	if err := s.store.GiveBack(ctx, s.worker.ID, claims); err != nil {
		return fmt.Errorf("hourbell: give back %d claims: %w", len(claims), err)
	}
	return nil
}

// noteTakeovers records the locks that were taken over from a worker that is stopped, dead or stalled.
func (s *Scheduler) noteTakeovers(ctx context.Context, claims []Claim) {
	var events []Event
	for _, c := range claims {
		if c.HeldBy == "" || c.HeldBy == s.worker.ID {
			continue
		}
		events = append(events, Event{
			ScheduleID: c.ID, Kind: eventLockExpired, Actor: s.worker.ID,
			Detail: "taken over from worker " + c.HeldBy,
		})
	}
	if len(events) == 0 {
		return
	}
	s.log.WarnContext(ctx, "hourbell: locks taken over", "count", len(events), "first", events[0].ScheduleID)
	ctx, cancel := context.WithTimeout(ctx, s.callDeadline())
	defer cancel()
	if err := s.store.InsertEvents(ctx, events); err != nil {
		s.log.ErrorContext(ctx, "hourbell: takeovers could not be recorded", "error", err)
	}
}

// Unlock clears a schedule's lock by hand. Whoever held it can no longer fire on it, and any replica may claim it at
// once. It does nothing on a schedule that is not locked.
func (s *Scheduler) Unlock(ctx context.Context, id string, by By) error {
	if _, err := s.Schedule(ctx, id); err != nil {
		return err
	}
	return s.transaction(ctx, func(ctx context.Context, st Store) error {
		holder, err := st.Unlock(ctx, id)
		switch {
		case err != nil:
			return err
		case by.Seen != "" && by.Seen != holder:
			return fmt.Errorf("hourbell: schedule %q: the lock is no longer that of worker %q: %w", id, by.Seen, ErrChanged)
		case holder == "":
			return nil
		}
		return st.InsertEvents(ctx, []Event{{
			ScheduleID: id, Kind: eventUnlocked, Actor: by.Actor, Note: by.Note, Detail: "held by worker " + holder,
		}})
	})
}

// except leaves a row out of further claims for as long as its definition is not this process's own (rule D8).
func (s *Scheduler) except(c Claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.excepted[c.ID] = c.DefinitionHash
	s.doubt = true
}

// exceptions lists the rows left out, as ClaimRequest wants them.
func (s *Scheduler) exceptions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]string, 0, len(s.excepted))
	for id, hash := range s.excepted {
		list = append(list, id+" "+hash)
	}
	return list
}

// failure is what an attempt that failed writes to its row: the next attempt comes after a back-off that doubles
// from a second to the poll interval, and at the latest at the next slot (rule E4).
func (s *Scheduler) failure(d *due, err error) Failure {
	wait := time.Second << min(d.Failures, 20)
	return Failure{Claim: d.Claim, Error: shortened(err.Error()), For: min(wait, s.cfg.PollInterval), Until: d.next, Owed: d.owed}
}

// shortened keeps what people read of an error within bounds: an engine's may hold a whole request.
func shortened(text string) string {
	const most = 2000
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// hold records failures on their rows and in the history.
func (p *pass) hold(ctx context.Context, failures []Failure) error {
	if len(failures) == 0 {
		return nil
	}
	p.count(TickReport{Failed: len(failures)})
	events := make(map[string]Event, len(failures))
	for _, f := range failures {
		p.log.ErrorContext(ctx, "hourbell: enqueue failed", "schedule", f.ID, "attempt", f.Failures+1, "retry", f.For, "error", f.Error)
		events[f.ID] = Event{ScheduleID: f.ID, Kind: eventEnqueueFailed, Actor: p.worker.ID, Detail: f.Error}
	}
	err := p.transaction(ctx, func(ctx context.Context, st Store) error {
		held, err := st.Hold(ctx, p.worker.ID, failures)
		if err != nil {
			return err
		}
		recorded := make([]Event, len(held))
		for i, id := range held {
			recorded[i] = events[id]
		}
		return st.InsertEvents(ctx, recorded)
	})
	if err != nil {
		return fmt.Errorf("hourbell: record %d failures: %w", len(failures), err)
	}
	return nil
}
