package hourbell

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hourbell/hourbell/internal/storage"
)

// EventKind says what an [Event] records.
type EventKind string

// The event kinds.
const (
	EventSkipped       EventKind = "SKIPPED"        // slots got no run
	EventEnabled       EventKind = "ENABLED"        // an operator enabled the schedule
	EventDisabled      EventKind = "DISABLED"       // an operator disabled the schedule
	EventRunNow        EventKind = "RUN_NOW"        // RunNow, or an enqueue call with actor or note
	EventUnlocked      EventKind = "UNLOCKED"       // an operator cleared the lock
	EventLockExpired   EventKind = "LOCK_EXPIRED"   // a replica took over the lock
	EventDefined       EventKind = "DEFINED"        // a sync stored the schedule, or code declares it again
	EventChanged       EventKind = "CHANGED"        // a sync changed the definition
	EventRemoved       EventKind = "REMOVED"        // code no longer declares the schedule
	EventEnqueueFailed EventKind = "ENQUEUE_FAILED" // an attempt to enqueue failed
)

// SkipReason says why slots were skipped.
type SkipReason string

// The skip reasons.
const (
	SkipLate       SkipReason = "LATE"       // no worker claimed the slots within grace
	SkipSuperseded SkipReason = "SUPERSEDED" // a later slot was due too, and only the latest may fire
	SkipAbandoned  SkipReason = "ABANDONED"  // a worker claimed a slot, but none finished it in time
	SkipDisabled   SkipReason = "DISABLED"   // an operator disabled the schedule
	SkipChanged    SkipReason = "CHANGED"    // a sync changed the expression or time zone
	SkipRemoved    SkipReason = "REMOVED"    // code no longer declares the schedule
	// A sync found other rules of the time zone, by which the slot was due.
	SkipRulesChanged SkipReason = "RULES_CHANGED"
	// The stored next run was not an unsettled slot. The loop skipped the slots
	// since SettledThrough.
	SkipNotASlot SkipReason = "NOT_A_SLOT"
)

var eventKinds = []EventKind{
	EventSkipped, EventEnabled, EventDisabled, EventRunNow, EventUnlocked, EventLockExpired,
	EventDefined, EventChanged, EventRemoved, EventEnqueueFailed,
}

// Event is something that happened to a schedule, other than a run. Times are
// UTC and by the database clock; the zero time means none.
type Event struct {
	ID         int64
	Namespace  string
	ScheduleID string // empty if the event concerns no schedule
	Kind       EventKind
	Reason     SkipReason // only for EventSkipped
	At         time.Time
	Actor      string    // the Actor of the call, or the ID of a [Worker]; empty for a sync
	Note       string    // the Note of the call
	SlotFrom   time.Time // the first slot that was skipped
	SlotTo     time.Time // the last slot that was skipped
	SlotCount  int       // how many were skipped, exact up to 1,000; Detail says if there were more
	Detail     string    // more about the event, in words
}

// event returns the SKIPPED event of a range of slots.
func (s *skip) event(scheduleID string, options ChangeOptions) Event {
	e := Event{
		ScheduleID: scheduleID, Kind: EventSkipped, Reason: s.reason, Actor: options.Actor, Note: options.Note,
		SlotFrom: s.from, SlotTo: s.to, SlotCount: s.count, Detail: s.detail,
	}
	if s.atLeast {
		e.Detail = strings.TrimPrefix(s.detail+fmt.Sprintf("; at least %d slots", s.count), "; ")
	}
	return e
}

// EventQuery selects events. The zero value selects the newest 100.
type EventQuery struct {
	// ScheduleID and Kind select events by their fields. ScheduleID also
	// selects those of the schedule's former ID. Default to all.
	ScheduleID string
	Kind       EventKind
	// Before selects events with a smaller ID: for the next page, the last ID
	// of the previous page. Defaults to 0, which selects the newest.
	Before int64
	// Limit is the number of events at most, 1 to 1,000. Defaults to 100.
	Limit int
}

// Events returns events, newest first. The error is a [*QueryError] if the
// query is invalid.
func (s *Scheduler) Events(ctx context.Context, query EventQuery) ([]Event, error) {
	err := errors.Join(checkLimit(&query.Limit), checkOneOf("Kind", query.Kind, eventKinds))
	if err != nil {
		return nil, err
	}
	return s.store.Events(ctx, query)
}

// RunQuery selects runs. The zero value selects the newest 100.
type RunQuery struct {
	// ID selects one run. Defaults to 0, which selects all.
	ID int64
	// ScheduleID, Job, Group, Status and Trigger select runs by their fields.
	// ScheduleID also selects those of the schedule's former ID. Default to
	// all.
	ScheduleID, Job, Group string
	Status                 RunStatus
	Trigger                Trigger
	// OmitArgs leaves out Args, which may be large. Defaults to false.
	OmitArgs bool
	// Before selects runs with a smaller ID: for the next page, the last ID of
	// the previous page. Defaults to 0, which selects the newest.
	Before int64
	// Limit is the number of runs at most, 1 to 1,000. Defaults to 100.
	Limit int
}

// Runs returns runs, newest first. The error is a [*QueryError] if the query is
// invalid.
func (s *Scheduler) Runs(ctx context.Context, query RunQuery) ([]JobRun, error) {
	err := errors.Join(checkLimit(&query.Limit),
		checkOneOf("Status", query.Status, runStatuses),
		checkOneOf("Trigger", query.Trigger, triggers))
	if err != nil {
		return nil, err
	}
	return s.store.Runs(ctx, query)
}

// OutcomeKind is the kind of an [Outcome].
type OutcomeKind string

// The outcome kinds.
const (
	OutcomeFired   OutcomeKind = "FIRED"
	OutcomeFailed  OutcomeKind = "FAILED" // fired, and at least one run failed
	OutcomeSkipped OutcomeKind = "SKIPPED"
)

// Outcome is what became of a slot, of a range of slots that were skipped
// together, or of a call of RunNow. Times are UTC and by the database clock;
// the zero time means none.
type Outcome struct {
	ScheduleID string
	Kind       OutcomeKind
	Trigger    Trigger    // TriggerCron, or TriggerManual for a call of RunNow
	At         time.Time  // when the runs were enqueued, or the skip was recorded
	SlotFrom   time.Time  // the slot, or the first of them; zero for TriggerManual
	SlotTo     time.Time  // the slot, or the last of them; zero for TriggerManual
	Reason     SkipReason // only for OutcomeSkipped
	Count      int        // number of slots, exact up to 1,000; zero for TriggerManual
	RunID      int64      // ID of the first run; zero for OutcomeSkipped
	Actor      string     // who asked for the run or caused the skip; may be empty
	// Tally counts the runs by status. It is set only for the newest outcome of
	// a schedule that has runs.
	Tally *Tally
}

// Tally counts the runs of one fire, or of one call of RunNow, by status. It
// counts the first 1,000 runs at most.
type Tally struct{ Queued, Running, Succeeded, Failed int }

const maxTally = 1000

// addOutcomes sets the outcomes that a query asks for, in two statements.
func (s *Scheduler) addOutcomes(ctx context.Context, schedules []Schedule, query ScheduleQuery) error {
	if query.Outcomes == 0 || len(schedules) == 0 {
		return nil
	}
	ids := make([]string, len(schedules))
	position := make(map[string]int, len(schedules))
	for i := range schedules {
		ids[i] = schedules[i].ID
		position[schedules[i].ID] = i
	}
	outcomes, err := s.store.Outcomes(ctx, storage.OutcomeQuery{ScheduleIDs: ids, Since: query.OutcomesSince, Limit: query.Outcomes})
	if err != nil {
		return err
	}
	for _, outcome := range outcomes {
		schedule := &schedules[position[outcome.ScheduleID]]
		if len(schedule.Outcomes) < query.Outcomes {
			schedule.Outcomes = append(schedule.Outcomes, outcome)
		}
	}
	return s.addTallies(ctx, schedules)
}

// addTallies counts the runs of each schedule's newest outcome that has runs.
func (s *Scheduler) addTallies(ctx context.Context, schedules []Schedule) error {
	newest := make(map[int64]*Outcome, len(schedules))
	ids := make([]int64, 0, len(schedules))
	for _, schedule := range schedules {
		for i := range schedule.Outcomes {
			if outcome := &schedule.Outcomes[i]; outcome.RunID != 0 {
				newest[outcome.RunID] = outcome
				ids = append(ids, outcome.RunID)
				break
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	tallies, err := s.store.Tallies(ctx, ids, maxTally)
	for id, tally := range tallies {
		newest[id].Tally = &tally
	}
	return err
}
