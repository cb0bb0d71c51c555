package simulation

import (
	"fmt"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// done is the answer of a verb that has none.
type done struct{}

// clock is how the history tells an instant.
func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return strings.TrimSuffix(t.Format("15:04:05.000"), ".000")
}

// idle says whether an answer is one that need not be told.
func idle(answer any) bool {
	switch v := answer.(type) {
	case hourbell.Claims:
		return len(v.Rows) == 0
	case hourbell.Fired:
		return v.Slots == 0
	}
	return false
}

// describe says in a few words what a verb answered.
func describe(answer any) string {
	switch v := answer.(type) {
	case done:
		return "done"
	case string:
		return fmt.Sprintf("held by %q", v)
	case time.Time:
		return clock(v)
	case []string:
		return strings.Join(v, " ")
	case hourbell.Claims:
		var rows []string
		for _, c := range v.Rows {
			rows = append(rows, fmt.Sprintf("%s@%s token %d owed since %s", c.ID, clock(c.NextRunAt), c.LockToken, clock(c.OwedSince)))
		}
		return strings.Join(rows, ", ")
	case hourbell.Fired:
		return fmt.Sprintf("%d slots, %d runs", v.Slots, v.Runs)
	case []hourbell.JobRun:
		var runs []string
		for _, r := range v {
			runs = append(runs, fmt.Sprintf("%s@%s/%s", r.ScheduleID, clock(r.ScheduledFor), r.Job))
		}
		return strings.Join(runs, ", ")
	case []hourbell.Event:
		var events []string
		for _, e := range v {
			events = append(events, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.ScheduleID, e.Kind, span(e))))
		}
		return strings.Join(events, ", ")
	case []hourbell.Worker:
		return fmt.Sprintf("%d workers", len(v))
	case []hourbell.Schedule:
		return fmt.Sprintf("%d rows", len(v))
	}
	return fmt.Sprint(answer)
}

// span says which slots an event is about.
func span(e hourbell.Event) string {
	if e.SlotFrom.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s %s–%s (%d)", e.Reason, clock(e.SlotFrom), clock(e.SlotTo), e.SlotCount)
}
