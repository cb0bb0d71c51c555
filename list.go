package hourbell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hourbell/hourbell/cron"
)

// QueryError says which field of a query is wrong.
type QueryError struct {
	Field string // as in Go, such as Limit
	Err   error
}

func (e *QueryError) Error() string { return fmt.Sprintf("hourbell: query: %s %v", e.Field, e.Err) }

func (e *QueryError) Unwrap() error { return e.Err }

// oneOf checks a field that has a few values; empty is any.
func oneOf(field, value string, known ...string) error {
	if value == "" || slices.Contains(known, value) {
		return nil
	}
	return &QueryError{Field: field, Err: fmt.Errorf("%q is none of %q", value, known)}
}

// checkLimit fills in and checks a page's size.
func checkLimit(limit *int) error {
	if *limit == 0 {
		*limit = 100
	}
	if *limit < 1 || *limit > 1000 {
		return &QueryError{Field: "Limit", Err: fmt.Errorf("%d is not in 1-1000", *limit)}
	}
	return nil
}

// ScheduleQuery selects stored schedules. Its zero value selects the first 100 by id.
type ScheduleQuery struct {
	// Search is a text in the id, the name, the description, or the names of the group or the jobs targeted. The letters
	// A to Z match in either case.
	Search string
	// State is ENABLED, DISABLED, OVERDUE (out of grace and not settled), FAILING (the last attempt to enqueue failed)
	// or REMOVED (from code). A removed schedule has no other state. Empty: any.
	State string
	// Sort is id, name, nextRunAt (the earliest first) or lastRunAt (the latest first); schedules without such an instant
	// come last. Only by id are pages complete while schedules fire in between. Defaults to id.
	Sort  string
	After string // the Next of the page before
	Limit int    // 1 to 1,000. Defaults to 100.
}

// The states and orders of schedules.
var (
	states = []string{"ENABLED", "DISABLED", "OVERDUE", "FAILING", "REMOVED"}
	orders = []string{"id", "name", "nextRunAt", "lastRunAt"}
)

// SchedulePage is a part of the stored schedules.
type SchedulePage struct {
	At        time.Time // when it was read, by the database's clock: what its counts and states are judged by
	Schedules []Schedule
	Counts    ScheduleCounts
	Next      string // the After of the next page; empty at the end
}

// ScheduleCounts counts the schedules that a query's Search finds, in all and by state.
type ScheduleCounts struct{ All, Enabled, Disabled, Overdue, Failing, Removed int }

// Schedules lists stored schedules, those removed from code included, in a number of statements that does not grow with
// them. The error is a [*QueryError] where the query is at fault.
func (s *Scheduler) Schedules(ctx context.Context, query ScheduleQuery) (SchedulePage, error) {
	if query.Sort == "" {
		query.Sort = "id"
	}
	err := errors.Join(checkLimit(&query.Limit), oneOf("State", query.State, states...), oneOf("Sort", query.Sort, orders...))
	if err != nil {
		return SchedulePage{}, err
	}
	return s.store.ListSchedules(ctx, query)
}

// Schedule reads one schedule, or returns [ErrUnknownSchedule].
func (s *Scheduler) Schedule(ctx context.Context, id string) (Schedule, error) {
	rows, err := s.store.Schedules(ctx, id)
	if err != nil {
		return Schedule{}, err
	}
	if len(rows) == 0 {
		return Schedule{}, fmt.Errorf("hourbell: %w: %q", ErrUnknownSchedule, id)
	}
	return rows[0], nil
}

// slots parses the stored expression and zone, which another build may have written.
func (r Schedule) slots() (cron.Schedule, error) {
	return Definition{ID: r.ID, Cron: r.Cron, TimeZone: r.TimeZone}.slots()
}

// Overdue says whether the schedule's next slot is out of grace at an instant of the database's clock, and still not
// settled.
func (r Schedule) Overdue(at time.Time) bool {
	return r.Enabled && r.RemovedAt.IsZero() && !r.NextRunAt.IsZero() && at.Sub(r.NextRunAt) > r.Grace
}

// Fingerprint changes with what people and code have set of the schedule, and not when it fires. See [By].
func (r Schedule) Fingerprint() string {
	return hashOf([]any{r.Enabled, r.EnabledNote, r.DefinitionHash, r.RemovedAt})
}

// ErrChanged says that a schedule is no longer as the person saw it who asked for a change.
var ErrChanged = errors.New("the schedule was changed in the meantime")

// unchanged returns ErrChanged unless a schedule is as the person saw it.
func (b By) unchanged(row Schedule) error {
	if b.Seen != "" && b.Seen != row.Fingerprint() {
		return fmt.Errorf("hourbell: schedule %q: %w", row.ID, ErrChanged)
	}
	return nil
}

// LockExpiry is the instant from which anybody may take over the schedule's lock: that of LockTTL, or as soon as its
// holder has stopped or fallen silent. workers are those that [Scheduler.Workers] lists. It is zero without a lock.
func (s *Scheduler) LockExpiry(row Schedule, workers []Worker) time.Time {
	if row.LockedBy == "" || row.LockedAt.IsZero() {
		return time.Time{}
	}
	expiry := row.LockedAt.Add(s.cfg.LockTTL)
	for _, w := range workers {
		if w.ID != row.LockedBy {
			continue
		}
		silent := w.HeartbeatAt.Add(deadAfter)
		if !w.StoppedAt.IsZero() {
			silent = w.StoppedAt
		}
		if silent.Before(expiry) {
			return later(silent, row.LockedAt)
		}
	}
	return expiry
}

// Now is the clock that judges: the database's, or Config.Now.
func (s *Scheduler) Now(ctx context.Context) (time.Time, error) { return s.store.Now(ctx) }

// Jobs lists the declared jobs in their order, with their arguments as JSON.
func (s *Scheduler) Jobs() []Job { return s.catalog.declared(s.catalog.jobs) }

// JobsOf lists the declared jobs that a stored schedule targets, or returns [ErrUnknownJob] or [ErrUnknownGroup]: other
// builds may know them.
func (s *Scheduler) JobsOf(row Schedule) ([]Job, error) {
	target, err := storedTarget(row)
	if err != nil {
		return nil, err
	}
	jobs, err := s.catalog.resolve(target)
	return s.catalog.declared(jobs), err
}

// Declares says whether a stored schedule is as this process declares it. If not, this process does not fire it.
func (s *Scheduler) Declares(row Schedule) bool {
	own := s.catalog.definitions[row.ID]
	return own != nil && own.hash == row.DefinitionHash
}

// Upcoming lists the next n slots of a stored schedule after now, in UTC, whether it is enabled or not; n is 1 to 1,000.
// Slots already settled, as after a step back of the clock, are left out.
func (s *Scheduler) Upcoming(ctx context.Context, id string, n int) ([]time.Time, error) {
	if n < 1 || n > 1000 {
		return nil, fmt.Errorf("hourbell: upcoming slots: %d is not in 1-1000", n)
	}
	row, err := s.Schedule(ctx, id)
	if err != nil {
		return nil, err
	}
	now, err := s.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	slots, err := row.slots()
	if err != nil {
		return nil, err
	}
	upcoming := make([]time.Time, 0, n)
	for at := later(now, row.SettledUntil); len(upcoming) < n; {
		if at, err = slots.Next(at); err != nil {
			return upcoming, err
		}
		upcoming = append(upcoming, at)
	}
	return upcoming, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
