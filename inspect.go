package hourbell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/internal/timing"
)

// ScheduleState is the state of a schedule. A schedule that meets the
// conditions of several states has the first of REMOVED, MANUAL, DISABLED,
// FAILING, OVERDUE and ENABLED.
type ScheduleState string

// The schedule states.
const (
	StateEnabled  ScheduleState = "ENABLED"
	StateDisabled ScheduleState = "DISABLED"
	StateOverdue  ScheduleState = "OVERDUE" // the slot NextRunAt is out of grace
	StateFailing  ScheduleState = "FAILING" // the last attempt to enqueue failed
	StateManual   ScheduleState = "MANUAL"  // never due, enabled or not: see [Definition]
	StateRemoved  ScheduleState = "REMOVED" // code no longer declares the schedule
)

var (
	scheduleStates = []ScheduleState{StateEnabled, StateDisabled, StateOverdue, StateFailing, StateManual, StateRemoved}
	scheduleOrders = []string{"id", "name", "nextRunAt", "lastRunAt"}
)

// stateOf returns the state of a schedule at a database time.
func stateOf(row *storage.Schedule, at time.Time) ScheduleState {
	switch {
	case !row.RemovedAt.IsZero():
		return StateRemoved
	case row.Manual:
		return StateManual
	case !row.Enabled:
		return StateDisabled
	case row.ConsecutiveFailures > 0:
		return StateFailing
	case isOverdue(row, at):
		return StateOverdue
	}
	return StateEnabled
}

// isOverdue reports whether the next slot of an enabled schedule is out of
// grace at a database time.
func isOverdue(row *storage.Schedule, at time.Time) bool {
	return row.Enabled && row.RemovedAt.IsZero() && !row.NextRunAt.IsZero() && at.Sub(row.NextRunAt) > row.Grace
}

// QueryError reports an invalid field of a query.
type QueryError struct {
	// Field is the name of the query's Go field, such as Limit.
	Field string
	// Err says what is wrong with the field.
	Err error
}

// Error returns the field and what is wrong with it.
func (e *QueryError) Error() string { return fmt.Sprintf("hourbell: query: %s %v", e.Field, e.Err) }

// Unwrap returns Err.
func (e *QueryError) Unwrap() error { return e.Err }

// checkOneOf checks a field that is empty or has one of a fixed set of values.
func checkOneOf[T ~string](field string, value T, allowed []T) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return &QueryError{Field: field, Err: fmt.Errorf("%q is not one of %q", value, allowed)}
}

// checkLimit sets the default of a query's Limit, and checks it.
func checkLimit(limit *int) error {
	if *limit == 0 {
		*limit = 100
	}
	if *limit < 1 || *limit > 1000 {
		return &QueryError{Field: "Limit", Err: fmt.Errorf("%d is not in 1-1000", *limit)}
	}
	return nil
}

// ScheduleQuery selects stored schedules. The zero value selects the first 100
// by id.
type ScheduleQuery struct {
	// IDs selects these schedules, at most 1,000. Defaults to all.
	IDs []string
	// Search selects schedules with this text in their ID, name, description or
	// target. The letters A to Z match in either case. Defaults to all.
	Search string
	// State selects schedules that meet the condition of a state, even if their
	// State is another one. For example, an overdue schedule also meets
	// ENABLED. A removed schedule meets only REMOVED, and a manual one only
	// MANUAL. Defaults to all.
	State ScheduleState
	// Sort is id, name, nextRunAt (earliest first) or lastRunAt (latest first).
	// Schedules without the time come last. If schedules fire while a caller
	// reads pages by a time, the pages may omit or repeat them. Defaults to id.
	Sort string
	// After is the Next of the previous page. Defaults to none, which selects
	// the first page.
	After string
	// Limit is the number of schedules on a page at most, 1 to 1,000. Defaults
	// to 100.
	Limit int
	// Outcomes is how many of the newest outcomes to return for each schedule,
	// 0 to 1,000. Defaults to 0.
	Outcomes int
	// OutcomesSince leaves out outcomes of slots and RunNow calls before this
	// time. Defaults to the beginning of the history.
	OutcomesSince time.Time
}

// SchedulePage is one page of stored schedules.
type SchedulePage struct {
	// At is the database time of the read, in UTC, at which the states hold.
	At        time.Time
	Schedules []Schedule
	// Total is the number of schedules that IDs and Search select, on all
	// pages.
	Total int
	// Counts is how many of them meet the condition of each state. A schedule
	// may meet several, as described at ScheduleQuery.State.
	Counts map[ScheduleState]int
	// Next is the After of the next page; empty on the last page.
	Next string
}

// Schedules returns a page of stored schedules, removed ones included. The
// number of statements does not depend on the number of schedules. The error is
// a [*QueryError], or several that are joined, if the query is invalid.
func (s *Scheduler) Schedules(ctx context.Context, query ScheduleQuery) (SchedulePage, error) {
	if query.Sort == "" {
		query.Sort = "id"
	}
	errs := []error{
		checkLimit(&query.Limit),
		checkOneOf("State", query.State, scheduleStates),
		checkOneOf("Sort", query.Sort, scheduleOrders),
	}
	if len(query.IDs) > 1000 {
		errs = append(errs, &QueryError{Field: "IDs", Err: fmt.Errorf("has %d entries, more than 1,000", len(query.IDs))})
	}
	if query.Outcomes < 0 || query.Outcomes > 1000 {
		errs = append(errs, &QueryError{Field: "Outcomes", Err: fmt.Errorf("%d is not in 0-1000", query.Outcomes)})
	}
	if err := errors.Join(errs...); err != nil {
		return SchedulePage{}, err
	}
	stored, err := s.store.ListSchedules(ctx, query)
	if err != nil {
		return SchedulePage{}, err
	}
	page := SchedulePage{At: stored.At, Total: stored.Total, Counts: make(map[ScheduleState]int, len(stored.Counts)), Next: stored.Next}
	for state, count := range stored.Counts {
		page.Counts[ScheduleState(state)] = count
	}
	if page.Schedules, err = s.toSchedules(ctx, stored.Schedules); err != nil {
		return SchedulePage{}, err
	}
	return page, s.addOutcomes(ctx, page.Schedules, query)
}

// Schedule returns one stored schedule, or [ErrUnknownSchedule] if there is
// none with the ID.
func (s *Scheduler) Schedule(ctx context.Context, id string) (Schedule, error) {
	row, err := s.readRow(ctx, s.store, id)
	if err != nil {
		return Schedule{}, err
	}
	list, err := s.toSchedules(ctx, []storage.Schedule{*row})
	if err != nil {
		return Schedule{}, err
	}
	return list[0], nil
}

// toSchedules converts rows to schedules as hosts see them. It reads the
// workers, in one statement, if a row is locked.
func (s *Scheduler) toSchedules(ctx context.Context, rows []storage.Schedule) ([]Schedule, error) {
	var workers []Worker
	isLocked := func(row storage.Schedule) bool { return row.LockedBy != "" }
	if slices.ContainsFunc(rows, isLocked) {
		var err error
		if workers, err = s.Workers(ctx); err != nil {
			return nil, err
		}
	}
	list := make([]Schedule, len(rows))
	for i := range rows {
		list[i] = s.toSchedule(&rows[i], workers)
	}
	return list, nil
}

// toSchedule is the only conversion of a row to a [Schedule].
func (s *Scheduler) toSchedule(row *storage.Schedule, workers []Worker) Schedule {
	schedule := Schedule{
		Namespace: row.Namespace, ID: row.ID, Name: row.Name, Description: row.Description,
		Cron: row.Cron, TimeZone: row.TimeZone, Manual: row.Manual, TargetKind: row.TargetKind, Target: row.Target,
		Grace: row.Grace, DefinitionHash: row.DefinitionHash, FormerID: row.FormerID, Enabled: row.Enabled, EnabledNote: row.EnabledNote,
		NextRunAt: row.NextRunAt, LastRunAt: row.LastRunAt, LastScheduledFor: row.LastScheduledFor,
		SettledThrough: row.SettledThrough, LockedAt: row.LockedAt, LockedBy: row.LockedBy, Version: row.Version,
		UnfinishedSince: row.UnfinishedSince, ConsecutiveFailures: row.ConsecutiveFailures,
		LastError: row.LastError, RetryAt: row.RetryAt, RemovedAt: row.RemovedAt,
		CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,

		ReadAt: row.ReadAt, State: stateOf(row, row.ReadAt), Overdue: isOverdue(row, row.ReadAt), ETag: etag(row),
		LockExpiresAt: s.lockExpiry(row, workers), DeclaredHere: s.catalog.declares(row.ID, row.DefinitionHash),
	}
	if target, err := storedTarget(row); err == nil {
		if jobs, err := s.catalog.resolve(target); err == nil {
			schedule.Jobs = s.catalog.toJobs(jobs)
		}
	}
	return schedule
}

// lockExpiry returns when any replica may take over a schedule's lock, or zero
// if it is not locked.
func (s *Scheduler) lockExpiry(row *storage.Schedule, workers []Worker) time.Time {
	if row.LockedBy == "" || row.LockedAt.IsZero() {
		return time.Time{}
	}
	expiry := row.LockedAt.Add(s.cfg.LockTTL)
	for _, w := range workers {
		if w.ID != row.LockedBy {
			continue
		}
		dead := w.HeartbeatAt.Add(deadAfter)
		switch {
		case !w.StoppedAt.IsZero():
			dead = w.StoppedAt
		case !w.Active && dead.After(row.ReadAt): // the heartbeat is in the future (rule T5)
			dead = row.ReadAt
		}
		if dead.Before(expiry) {
			return later(dead, row.LockedAt)
		}
	}
	return expiry
}

// Jobs returns the declared jobs in the order of declaration, with Args as
// json.RawMessage, or nil for none.
func (s *Scheduler) Jobs() []Job { return s.catalog.toJobs(s.catalog.jobs) }

// Upcoming returns the next n slots of a stored schedule, in UTC and in
// ascending order. n is 1 to 1,000. The first is NextRunAt if that is in the
// future. The schedule may be disabled or removed. After the clock was stepped
// back, Upcoming leaves out future slots that are already settled.
//
// It returns [ErrUnknownSchedule] if the schedule is not stored. If there are
// fewer than n slots, it returns them with an error that wraps cron.ErrNever.
func (s *Scheduler) Upcoming(ctx context.Context, id string, n int) ([]time.Time, error) {
	if n < 1 || n > 1000 {
		return nil, fmt.Errorf("hourbell: upcoming slots: %d is not in 1-1000", n)
	}
	row, err := s.readRow(ctx, s.store, id)
	if err != nil {
		return nil, err
	}
	slots, err := s.newCalendars().get(row.Cron, row.TimeZone)
	if err != nil {
		return nil, invalidSlots(id, row.Cron, row.TimeZone)
	}
	upcoming := make([]time.Time, 0, n)
	at := later(row.ReadAt, row.SettledThrough)
	if row.NextRunAt.After(at) {
		at = row.NextRunAt
		upcoming = append(upcoming, at)
	}
	for len(upcoming) < n {
		if at, err = slots.next(at); err != nil {
			return upcoming, fmt.Errorf("hourbell: schedule %q: %w", id, err)
		}
		upcoming = append(upcoming, at)
	}
	return upcoming, nil
}

// Workers returns the processes that run the loop, or have run it within about
// the last 24 hours. The latest start is first.
func (s *Scheduler) Workers(ctx context.Context) ([]Worker, error) {
	return s.store.Workers(ctx, deadAfter)
}

// Health is the state of this process's loop, and of all replicas of the
// namespace. Times are UTC and by the database clock; the zero time means none.
type Health struct {
	At       time.Time // when the state was read
	WorkerID string    // this process's ID among the workers
	Running  bool      // Run was called in this process and has not returned
	Synced   bool      // Running, and the first sync has succeeded
	RunError string    // why the last call of Run failed; empty if it did not
	// Stalled reports that the loop has not ticked for too long since the first
	// sync. That is two poll intervals, or the deadline of a fire if that is
	// longer.
	Stalled    bool
	LastTickAt time.Time     // the last tick of this process that reached the database
	Workers    int           // active workers
	NewestTick time.Time     // the latest tick of an active worker
	MaxSkew    time.Duration // the largest clock skew of an active worker, without sign
	Overdue    int           // schedules that are overdue: see [Schedule]
	OldestDue  time.Time     // the oldest slot of an overdue schedule
	// Late are the first 100 overdue schedules, oldest slot first.
	Late []Schedule
	// Mismatched are the IDs of schedules in Late that are not DeclaredHere,
	// and that are neither locked nor waiting for a retry. If no other build is
	// running, they wait for a deploy.
	Mismatched []string
	// Missing are the IDs of the declared schedules that this process's last
	// comparison, about once a minute, found missing from the table.
	// MissingError is the error of restoring them; empty if they were restored.
	Missing      []string
	MissingError string
	// ClockBehind is how far the database clock is behind the last settled slot
	// of an enabled schedule. It is positive after the clock was stepped back.
	// Until the clock has caught up, such schedules do not fire.
	ClockBehind time.Duration
}

// Health returns the state of the loop and of all replicas. The number of
// statements does not depend on the number of schedules.
//
// If there is an error, WorkerID, Running, Synced, RunError, Stalled,
// LastTickAt, Missing and MissingError are still valid. If ctx has ended,
// Health sends no statement, and returns those fields with the context's error.
func (s *Scheduler) Health(ctx context.Context) (Health, error) {
	h := s.processHealth()
	if err := ctx.Err(); err != nil {
		return h, err
	}
	stored, err := s.store.Health(ctx, deadAfter)
	if err != nil {
		return h, err
	}
	late, err := s.toSchedules(ctx, stored.Late)
	if err != nil {
		return h, err
	}
	h.At, h.Workers, h.NewestTick, h.MaxSkew = stored.At, stored.Workers, stored.NewestTick, stored.MaxSkew
	h.Overdue, h.OldestDue, h.Late, h.ClockBehind = stored.Overdue, stored.OldestDue, late, stored.ClockBehind
	for _, schedule := range late {
		if schedule.LockedBy == "" && !schedule.RetryAt.After(h.At) && !schedule.DeclaredHere {
			h.Mismatched = append(h.Mismatched, schedule.ID)
		}
	}
	return h, nil
}

// processHealth returns the state of this process.
func (s *Scheduler) processHealth() Health {
	p := &s.process
	p.mu.Lock()
	defer p.mu.Unlock()
	h := Health{
		WorkerID: s.worker.ID, Running: p.running, Synced: p.synced, RunError: p.runError, LastTickAt: p.lastTick,
		Missing: slices.Clone(p.missing), MissingError: p.missingError,
	}
	h.Stalled = h.Synced && timing.Elapsed(p.tickedAt, timing.Now()) > max(2*s.cfg.PollInterval, s.cfg.fireTimeout())
	return h
}
