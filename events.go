package hourbell

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Event is a stored fact that is not a run.
type Event struct {
	ID         int64
	Namespace  string
	ScheduleID string // empty where it concerns none
	// Kind is SKIPPED, ENABLED, DISABLED, RUN_NOW, UNLOCKED, LOCK_EXPIRED, DEFINED, CHANGED, REMOVED or ENQUEUE_FAILED.
	Kind string
	// Reason says why slots were skipped: LATE, SUPERSEDED, LAPSED, DISABLED, CHANGED or REMOVED.
	Reason    string
	At        time.Time
	Actor     string // whom the host named, or a Worker's id
	Note      string
	SlotFrom  time.Time // the first slot skipped
	SlotTo    time.Time // the last
	SlotCount int       // exact up to 1,000; Detail says where there are more
	Detail    string
}

// The kinds of event, as stored.
const (
	eventSkipped       = "SKIPPED"
	eventEnabled       = "ENABLED"
	eventDisabled      = "DISABLED"
	eventRunNow        = "RUN_NOW"
	eventUnlocked      = "UNLOCKED"
	eventLockExpired   = "LOCK_EXPIRED"
	eventDefined       = "DEFINED"
	eventChanged       = "CHANGED"
	eventRemoved       = "REMOVED"
	eventEnqueueFailed = "ENQUEUE_FAILED"
)

// event is the SKIPPED event of a range of slots.
func (s *skip) event(scheduleID string, by By) Event {
	e := Event{
		ScheduleID: scheduleID, Kind: eventSkipped, Reason: s.reason, Actor: by.Actor, Note: by.Note,
		SlotFrom: s.from, SlotTo: s.to, SlotCount: s.count,
	}
	if s.atLeast {
		e.Detail = fmt.Sprintf("at least %d slots", s.count)
	}
	return e
}

// EventQuery selects events. Its zero value selects the newest 100 of all.
type EventQuery struct {
	ScheduleID string
	Kind       string
	Before     int64 // only those with a smaller id: the last one of the page before
	Limit      int   // 1 to 1,000. Defaults to 100.
}

// Events lists events, newest first. The error is a [*QueryError] where the query is at fault.
func (s *Scheduler) Events(ctx context.Context, query EventQuery) ([]Event, error) {
	err := errors.Join(checkLimit(&query.Limit), oneOf("Kind", query.Kind, eventSkipped, eventEnabled, eventDisabled, eventRunNow,
		eventUnlocked, eventLockExpired, eventDefined, eventChanged, eventRemoved, eventEnqueueFailed))
	if err != nil {
		return nil, err
	}
	return s.store.Events(ctx, query)
}
