package hourbell

import (
	"context"
	"fmt"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/internal/text"
	"github.com/hourbell/hourbell/internal/timing"
)

// Why a slot fires once
//
// The lock does not ensure it. A process that was paused for an hour continues
// as the holder of its lock, which another replica has taken over in the
// meantime. The lock only divides work among replicas, and shows operators
// which replica works on a schedule.
//
// The fenced advance ensures it. Each schedule's row has a version, which
// increments whenever enabled, removed, cron, zone, next_run_at, unfinished
// claim or lock changes. To advance a schedule is to move next_run_at past the
// slot. The transaction that inserts a slot's runs starts with the advance. The
// advance has a condition, the fence: version and lock holder must still be
// those of the claim. Releases and failures have the same fence.
//
// So only one transaction inserts the runs of a slot. It leaves a newer
// version, so that every older claim fails the fence. It also leaves a
// next_run_at past the slot, from which later claims start. Nothing moves
// next_run_at back to a settled slot: operators and deploys only plan slots
// after settled_through.
//
// A unique index over the cron fires is the backstop. As long as the fence is
// correct, no insert violates it.
//
// The database clock decides what is due. The claiming statement reads it and
// returns it with the claim. The advance reads it again and refuses slots that
// it has not reached.
//
// Four files implement this. schedule.go has the loop, lock.go the claim,
// decide.go the choice of what fires, and fire.go the fenced transaction. The
// fast path in fastpath.go is an optimization with the same conditions.

// A loop is behind if a claim is full and its earliest slot has been due for
// longer than behindAfter. It then claims first the schedules that have not
// fired for the longest time, until behindFor has passed without another such
// claim. In the order of slots, schedules that are always due would delay a
// daily one beyond its grace.
//
// behindFor exceeds a day. If many daily schedules share a slot, those that
// were skipped are then claimed first the next day.
const (
	behindAfter = 5 * time.Second
	behindFor   = 25 * time.Hour
)

// claim locks a batch of due schedules for this worker, and reports whether the
// batch is full. It leaves out those that this worker has locked since
// excludeOwnSince, because another connection of the tick processes them. The
// zero time leaves out none.
func (p *pass) claim(ctx context.Context, excludeOwnSince time.Time) (result storage.ClaimResult, full bool, err error) {
	s := p.scheduler
	ctx, cancel := context.WithTimeout(ctx, s.cfg.callTimeout())
	defer cancel()
	request := s.claimRequest()
	request.ExcludeOwnSince = excludeOwnSince
	sent := timing.Now()
	result, err = s.store.Claim(ctx, request)
	if err != nil {
		return storage.ClaimResult{}, false, fmt.Errorf("hourbell: claim due schedules: %w", err)
	}
	s.noteTick(result.At, sent)
	full = len(result.Claims) >= request.Limit
	p.count(TickReport{Claimed: len(result.Claims)})
	if len(result.Claims) == 0 {
		p.noteIdle(result.At, result.WakeAt, result.HeldByOthers)
	}
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	switch {
	case full && result.At.Sub(result.Claims[0].NextRunAt) > behindAfter:
		s.loop.behindSince = result.At
	case result.At.Sub(s.loop.behindSince) > behindFor:
		s.loop.behindSince = time.Time{}
	}
	return result, full, nil
}

// claimRequest returns the request for the next batch. Only a process that has
// reached the database lately declares other workers dead (rule O1).
func (s *Scheduler) claimRequest() storage.ClaimRequest {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	request := storage.ClaimRequest{
		Worker: s.worker.ID, Limit: s.loop.batchSize, LockTTL: s.cfg.LockTTL, MaxBackoff: s.cfg.PollInterval,
		Exclude: s.exclusions(), LeastRecentFirst: !s.loop.behindSince.IsZero(),
	}
	if s.contact.mayDeclareDead() {
		request.DeadAfter = deadAfter
	}
	return request
}

// release clears the locks of claims that this tick does not settle, so that
// any replica can claim the rows at once. Unfinished claims remain.
func (s *Scheduler) release(ctx context.Context, claims []storage.Claim) error {
	if len(claims) == 0 {
		return nil
	}
	timeout := s.cfg.callTimeout()
	if ctx.Err() != nil { // the process is stopping: one short attempt
		ctx, timeout = context.WithoutCancel(ctx), min(timeout, 500*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.store.Release(ctx, s.worker.ID, claims); err != nil {
		return fmt.Errorf("hourbell: release %d claims: %w", len(claims), err)
	}
	return nil
}

// recordTakeovers records the locks that were taken over from a worker that has
// stopped, is dead or is stalled.
func (s *Scheduler) recordTakeovers(ctx context.Context, claims []storage.Claim) {
	var events []Event
	for _, c := range claims {
		if c.HeldBy == "" || c.HeldBy == s.worker.ID {
			continue
		}
		events = append(events, Event{
			ScheduleID: c.ID, Kind: EventLockExpired, Actor: s.worker.ID,
			Detail: "taken over from worker " + c.HeldBy,
		})
	}
	if len(events) == 0 {
		return
	}
	s.log.WarnContext(ctx, "hourbell: locks taken over", "count", len(events), "first", events[0].ScheduleID)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.callTimeout())
	defer cancel()
	if err := s.store.InsertEvents(ctx, events); err != nil {
		s.log.ErrorContext(ctx, "hourbell: recording takeovers failed", "error", err)
	}
}

// exclude leaves a row out of further claims as long as it has this definition,
// which another build declares (rule D8). It also asks for a resync.
func (s *Scheduler) exclude(c storage.Claim) {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	s.process.excluded[c.ID] = c.DefinitionHash
	s.process.needsResync = true
}

// exclusions lists the excluded rows in the form of ClaimRequest.Exclude.
func (s *Scheduler) exclusions() []string {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	list := make([]string, 0, len(s.process.excluded))
	for id, hash := range s.process.excluded {
		list = append(list, id+" "+hash)
	}
	return list
}

// newFailure returns what to record for a schedule whose slot could not be
// decided or fired. The next attempt follows after a backoff that doubles from
// one second to the poll interval, and no later than the next slot (rule E4).
func (s *Scheduler) newFailure(c *claimedSchedule, err error) storage.Failure {
	backoff := time.Second << min(c.ConsecutiveFailures, 20)
	return storage.Failure{
		Claim: c.Claim, Error: truncate(err.Error()), Backoff: min(backoff, s.cfg.PollInterval),
		Until: c.next, UnfinishedSince: c.unfinishedSince,
	}
}

// truncate limits an error message that is stored to 2,000 bytes. An engine's
// message may contain a whole request.
func truncate(message string) string {
	const limit = 2000
	if len(message) <= limit {
		return message
	}
	return text.Truncate(message, limit) + "…"
}

// recordFailures records failures in their rows, which it unlocks, and as
// events. It leaves out claims that are no longer valid.
func (p *pass) recordFailures(ctx context.Context, failures []storage.Failure) error {
	if len(failures) == 0 {
		return nil
	}
	s := p.scheduler
	p.count(TickReport{Failed: len(failures)})
	events := make(map[string]Event, len(failures))
	for _, f := range failures {
		s.log.ErrorContext(ctx, "hourbell: enqueue failed", "schedule", f.ID, "attempt", f.ConsecutiveFailures+1, "retry", f.Backoff, "error", f.Error)
		events[f.ID] = Event{ScheduleID: f.ID, Kind: EventEnqueueFailed, Actor: s.worker.ID, Detail: f.Error}
	}
	err := s.transaction(ctx, func(ctx context.Context, st Store) error {
		ids, err := st.RecordFailures(ctx, s.worker.ID, failures)
		if err != nil {
			return err
		}
		recorded := make([]Event, len(ids))
		for i, id := range ids {
			recorded[i] = events[id]
		}
		return st.InsertEvents(ctx, recorded)
	})
	if err != nil {
		return fmt.Errorf("hourbell: record %d failures: %w", len(failures), err)
	}
	return nil
}
