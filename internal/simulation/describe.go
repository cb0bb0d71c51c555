package simulation

import (
	"fmt"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// none is the result of an operation that returns only an error.
type none struct{}

// formatTime formats a time of day for a history.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return strings.TrimSuffix(t.Format("15:04:05.000"), ".000")
}

// formatSlots formats the first and the last of several slots, with their
// number.
func formatSlots(slots []time.Time) string {
	return fmt.Sprintf("%d slots from %s to %s", len(slots), formatTime(slots[0]), formatTime(slots[len(slots)-1]))
}

// isEmpty reports whether a result is left out of the history.
func isEmpty(result any) bool {
	switch v := result.(type) {
	case storage.ClaimResult:
		return len(v.Claims) == 0
	case storage.FireResult:
		return v.Slots == 0
	}
	return false
}

// describe formats the result of an operation for a history.
func describe(result any) string {
	switch v := result.(type) {
	case none:
		return "done"
	case string:
		return fmt.Sprintf("held by %q", v)
	case time.Time:
		return formatTime(v)
	case []string:
		return strings.Join(v, " ")
	case storage.ClaimResult:
		var claims []string
		for _, c := range v.Claims {
			claims = append(claims, fmt.Sprintf("%s@%s version %d unfinished since %s", c.ID, formatTime(c.NextRunAt), c.Version, formatTime(c.UnfinishedSince)))
		}
		return strings.Join(claims, ", ")
	case storage.FireResult:
		return fmt.Sprintf("%d slots, %d runs", v.Slots, v.Runs)
	case []hourbell.JobRun:
		var runs []string
		for _, r := range v {
			runs = append(runs, fmt.Sprintf("%s@%s/%s", r.ScheduleID, formatTime(r.ScheduledFor), r.Job))
		}
		return strings.Join(runs, ", ")
	case []hourbell.Event:
		var events []string
		for _, e := range v {
			events = append(events, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.ScheduleID, e.Kind, describeSkip(e))))
		}
		return strings.Join(events, ", ")
	case []hourbell.Worker:
		return fmt.Sprintf("%d workers", len(v))
	case storage.Stored: // its digest covers the unique name of the zone
		return fmt.Sprintf("%d schedules", v.Count)
	case []storage.Schedule:
		return fmt.Sprintf("%d rows", len(v))
	}
	return fmt.Sprint(result)
}

// describeSkip formats the slots of a skip. For other events it returns "".
func describeSkip(e hourbell.Event) string {
	if e.SlotFrom.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s %s–%s (%d)", e.Reason, formatTime(e.SlotFrom), formatTime(e.SlotTo), e.SlotCount)
}
