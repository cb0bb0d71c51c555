package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/text"
)

// The functions below format values for the pages. page.js formats relative
// times in the same way.

// relTime is a time relative to the time of the page.
type relTime struct{ Time, Now time.Time }

// Relative returns the distance in words: "in 12 min", "3 h 5 min ago".
func (t relTime) Relative() string {
	d := t.Time.Sub(t.Now)
	switch {
	case d.Abs() < time.Second:
		return "now"
	case d > 0:
		return "in " + formatDuration(d)
	}
	return formatDuration(d) + " ago"
}

// ISO formats the time as RFC 3339 in UTC.
func (t relTime) ISO() string { return t.Time.UTC().Format(time.RFC3339) }

// IsZero reports whether the time is missing.
func (t relTime) IsZero() bool { return t.Time.IsZero() }

// UTC formats the time for operators, in UTC.
func (t relTime) UTC() string { return localTime(t.Time, time.UTC, t.Now) }

// formatDuration formats a duration in its largest unit, or its largest two for
// hours and days. It ignores the sign.
func formatDuration(d time.Duration) string {
	d = d.Abs()
	switch s := int64(d / time.Second); {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 86400:
		return twoUnits(s/3600, "h", s%3600/60, "min")
	case s < 10*86400:
		return twoUnits(s/86400, "d", s%86400/3600, "h")
	default:
		return fmt.Sprintf("%d d", s/86400)
	}
}

func twoUnits(large int64, largeUnit string, small int64, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d %s", large, largeUnit)
	}
	return fmt.Sprintf("%d %s %d %s", large, largeUnit, small, smallUnit)
}

func formatSeconds(s float64) string { return formatDuration(time.Duration(s * float64(time.Second))) }

// localTime formats a time in a zone, with the zone. The year is omitted if it
// is the year of now.
func localTime(at time.Time, zone *time.Location, now time.Time) string {
	local := at.In(zone)
	format := "Mon 2 Jan "
	if local.Year() != now.In(zone).Year() {
		format = "Mon 2 Jan 2006 "
	}
	return local.Format(format) + timeOfDay(local) + " " + zoneName(local)
}

// timeOfDay formats the time of day. It omits the seconds of a full minute.
func timeOfDay(local time.Time) string {
	if local.Second() != 0 || local.Nanosecond() != 0 {
		return local.Format("15:04:05")
	}
	return local.Format("15:04")
}

// zoneName returns the abbreviation of the time's zone, or its offset if it has
// no abbreviation.
func zoneName(local time.Time) string {
	name := local.Format("MST")
	if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") {
		return "UTC" + local.Format("-07:00")
	}
	return name
}

func formatISO(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func add(a, b int) int { return a + b }

// plural formats a number of things. Counts of slots are exact only up to
// maxCount.
func plural(n int, singular string) string {
	switch {
	case n == 1:
		return "1 " + singular
	case n >= maxCount && singular == "slot":
		return strconv.Itoa(n) + " or more " + singular + "s"
	}
	return strconv.Itoa(n) + " " + singular + "s"
}

// lower returns the text for an enumeration value that needs no other text.
func lower(value any) string { return strings.ToLower(fmt.Sprint(value)) }

func capitalize(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// triggerText returns the text for a trigger.
func triggerText(trigger hourbell.Trigger) string {
	switch trigger {
	case hourbell.TriggerCron:
		return "schedule"
	case hourbell.TriggerManual:
		return "run now"
	case hourbell.TriggerAPI:
		return "enqueue call"
	}
	return lower(trigger)
}

// reasonText explains why slots were skipped.
func reasonText(reason hourbell.SkipReason) string {
	switch reason {
	case hourbell.SkipLate:
		return "no worker claimed it within its grace"
	case hourbell.SkipSuperseded:
		return "a later slot came due first"
	case hourbell.SkipAbandoned:
		return "a worker claimed it, but none finished it in time"
	case hourbell.SkipDisabled:
		return "the schedule was disabled"
	case hourbell.SkipChanged:
		return "the schedule was changed in code"
	case hourbell.SkipRemoved:
		return "the schedule was removed from code"
	case hourbell.SkipRulesChanged:
		return "the time zone's rules have changed"
	case hourbell.SkipNotASlot:
		return "the stored time was not a slot of the expression"
	}
	return lower(reason)
}

// eventText returns the text for a kind of event.
func eventText(kind hourbell.EventKind) string {
	switch kind {
	case hourbell.EventRunNow:
		return "run now"
	case hourbell.EventLockExpired:
		return "lock taken over"
	case hourbell.EventEnqueueFailed:
		return "enqueueing failed"
	}
	return lower(kind)
}

// targetText describes what a schedule enqueues.
func targetText(t targetJSON) string {
	switch {
	case t.Kind == "ALL_JOBS":
		return fmt.Sprintf("All jobs (%d)", len(t.Jobs))
	case t.Kind == "GROUP":
		return fmt.Sprintf("Group %s (%d)", t.Group, len(t.Jobs))
	case len(t.Jobs) > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(t.Jobs[:2], ", "), len(t.Jobs)-2)
	}
	return strings.Join(t.Jobs, ", ")
}

// latenessText describes how late a run was enqueued. Less than a second is on
// time.
func latenessText(ms *int64) string {
	switch {
	case ms == nil:
		return ""
	case *ms < 1000:
		return "on time"
	}
	return formatDuration(time.Duration(*ms)*time.Millisecond) + " late"
}

// runsText describes the runs of a fire by status and returns the worst status,
// or "" if the runs are unknown.
func runsText(r *runsJSON) (worst hourbell.RunStatus, text string) {
	if r == nil {
		return "", "enqueued"
	}
	var parts []string
	worst = hourbell.RunSucceeded
	for _, tally := range []struct {
		status hourbell.RunStatus
		count  int
	}{{hourbell.RunSucceeded, r.Succeeded}, {hourbell.RunQueued, r.Queued}, {hourbell.RunRunning, r.Running}, {hourbell.RunFailed, r.Failed}} {
		if tally.count > 0 {
			worst = tally.status
			parts = append(parts, fmt.Sprintf("%d %s", tally.count, lower(tally.status)))
		}
	}
	text = strings.Join(parts, ", ")
	if r.AtLeast {
		text = "at least " + text
	}
	return worst, text
}

// outcomeText describes an outcome.
func outcomeText(o hourbell.Outcome, zone *time.Location, now time.Time) string {
	switch {
	case o.Kind == hourbell.OutcomeSkipped && o.SlotTo.After(o.SlotFrom):
		return fmt.Sprintf("%s to %s: %s skipped, %s", localTime(o.SlotFrom, zone, now), localTime(o.SlotTo, zone, now), plural(o.Count, "slot"), reasonText(o.Reason))
	case o.Kind == hourbell.OutcomeSkipped:
		return localTime(o.SlotFrom, zone, now) + ": skipped, " + reasonText(o.Reason)
	}
	text := localTime(o.At, zone, now) + ": run now"
	if o.Trigger == hourbell.TriggerCron {
		text = localTime(o.SlotFrom, zone, now) + ": fired " + latenessText(lateness(o.SlotFrom, o.At))
	} else if o.Actor != "" {
		text += " by " + o.Actor
	}
	if o.Kind == hourbell.OutcomeFailed {
		text += ", a run failed"
	}
	return text
}

// The sizes in bytes up to which a page shows what a caller has stored.
const (
	maxArgs = 64 << 10
	maxText = 8 << 10 // above those of the notes and errors that are limited when they are stored
)

// maxNesting is the depth of arguments above which their indentation could be
// much longer than the arguments.
const maxNesting = 50

// argsText returns what the page shows of a run's arguments, and whether that
// is all of them. It returns "" for none. It indents the arguments if they then
// are not too long.
func argsText(args json.RawMessage) (shown string, isWhole bool) {
	var indented bytes.Buffer
	switch {
	case len(args) == 0 || string(args) == "null":
		return "", true
	case len(args) > maxArgs:
		return text.Truncate(string(args), maxArgs), false
	case nesting(args) <= maxNesting && json.Indent(&indented, args, "", "  ") == nil && indented.Len() <= maxArgs:
		return indented.String(), true
	}
	return string(args), true
}

// nesting returns how deep the arrays and objects of a JSON text are nested.
func nesting(text []byte) (deepest int) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	for depth := 0; ; {
		token, err := decoder.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
			deepest = max(deepest, depth)
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
	}
}

// clip returns a stored text as a page shows it. It cuts a text that is too
// long.
func clip(stored string) string {
	if len(stored) <= maxText {
		return stored
	}
	return text.Truncate(stored, maxText) + "… (the beginning of " + formatSize(len(stored)) + ")"
}

// formatSize formats a number of bytes.
func formatSize(n int) string {
	if n < 1<<20 {
		return strconv.Itoa((n+1023)>>10) + " KB"
	}
	return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
}
