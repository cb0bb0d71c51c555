package admin

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// How the pages say things. The script says the distances in time the same way.

// moment is an instant as it is seen from another.
type moment struct{ At, From time.Time }

// Ago is the distance in words: "in 12 min", "3 h 5 min ago".
func (m moment) Ago() string {
	d := m.At.Sub(m.From)
	switch {
	case d.Abs() < time.Second:
		return "now"
	case d > 0:
		return "in " + span(d)
	}
	return span(d) + " ago"
}

// ISO is the instant for programs.
func (m moment) ISO() string { return m.At.UTC().Format(time.RFC3339) }

// IsZero says whether there is none.
func (m moment) IsZero() bool { return m.At.IsZero() }

// UTC is the instant for people.
func (m moment) UTC() string { return clockFace(m.At, time.UTC, m.From) }

// span is a duration, in its one or two largest units.
func span(d time.Duration) string {
	d = d.Abs()
	switch s := int64(d / time.Second); {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 86400:
		return two(s/3600, "h", s%3600/60, "min")
	case s < 10*86400:
		return two(s/86400, "d", s%86400/3600, "h")
	default:
		return fmt.Sprintf("%d d", s/86400)
	}
}

func two(large int64, unit string, small int64, rest string) string {
	if small == 0 {
		return fmt.Sprintf("%d %s", large, unit)
	}
	return fmt.Sprintf("%d %s %d %s", large, unit, small, rest)
}

func seconds(s float64) string { return span(time.Duration(s * float64(time.Second))) }

func millis(ms *int64) string { return span(time.Duration(*ms) * time.Millisecond) }

// clockFace is an instant as a clock in a zone shows it, with the zone; with the year where it is not that of from.
func clockFace(at time.Time, zone *time.Location, from time.Time) string {
	local := at.In(zone)
	format := "Mon 2 Jan "
	if local.Year() != from.In(zone).Year() {
		format = "Mon 2 Jan 2006 "
	}
	return local.Format(format) + timeOfDay(local) + " " + zoneName(local)
}

// timeOfDay leaves seconds out where there are none, as in most slots.
func timeOfDay(local time.Time) string {
	if local.Second() != 0 || local.Nanosecond() != 0 {
		return local.Format("15:04:05")
	}
	return local.Format("15:04")
}

// zoneName is a zone's abbreviation, or its offset where it has none.
func zoneName(local time.Time) string {
	name := local.Format("MST")
	if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") {
		return "UTC" + local.Format("-07:00")
	}
	return name
}

func iso(t any) string {
	if wire, is := t.(instant); is {
		t = wire.Time
	}
	return t.(time.Time).UTC().Format(time.RFC3339)
}

func add(a, b int) int { return a + b }

// plural is a number of things.
func plural(n int, one string) string {
	switch {
	case n == 1:
		return "1 " + one
	case n >= hourbell.TallyLimit && one == "slot": // exact only up to there
		return strconv.Itoa(n) + " or more " + one + "s"
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// several words for what is stored in capitals; others are their own, in small letters.
var phrases = map[string]string{
	"CRON": "schedule", "MANUAL": "run now", "API": "enqueued by hand",
	"LATE":       "nobody claimed it within its grace",
	"SUPERSEDED": "a later slot came due first",
	"LAPSED":     "its claim was lost, and its grace had passed",
	"DISABLED":   "the schedule was disabled",
	"CHANGED":    "the schedule was changed in code",
	"REMOVED":    "the schedule was removed from code",
}

// word says a stored value.
func word(stored string) string {
	if phrase, is := phrases[stored]; is {
		return phrase
	}
	return strings.ToLower(stored)
}

// eventWords says what kind of thing happened.
func eventWords(kind string) string {
	switch kind {
	case "RUN_NOW":
		return "run now"
	case "LOCK_EXPIRED":
		return "lock taken over"
	case "ENQUEUE_FAILED":
		return "enqueueing failed"
	}
	return strings.ToLower(kind)
}

// targetWords says what a schedule enqueues, in brief.
func targetWords(t targetJSON) string {
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

// lateWords says how late a run was enqueued; up to a second nobody minds.
func lateWords(ms *int64) string {
	switch {
	case ms == nil:
		return ""
	case *ms < 1000:
		return "on time"
	}
	return millis(ms) + " late"
}

// runsWords says how the runs of a fire are doing, and the worst of it in one word.
func runsWords(r *runsJSON) (worst, text string) {
	if r == nil {
		return "FIRED", "enqueued"
	}
	var parts []string
	worst = "SUCCEEDED"
	for _, status := range []struct {
		name  string
		count int
	}{{"SUCCEEDED", r.Succeeded}, {"QUEUED", r.Queued}, {"RUNNING", r.Running}, {"FAILED", r.Failed}} {
		if status.count > 0 {
			worst = status.name
			parts = append(parts, fmt.Sprintf("%d %s", status.count, strings.ToLower(status.name)))
		}
	}
	text = strings.Join(parts, ", ")
	if r.AtLeast {
		text = "at least " + text
	}
	return worst, text
}

// outcomeWords says what became of a slot.
func outcomeWords(o hourbell.Outcome, zone *time.Location, from time.Time) string {
	switch {
	case o.Kind == "SKIPPED" && o.SlotTo.After(o.SlotFrom):
		return fmt.Sprintf("%s to %s: %s skipped, %s", clockFace(o.SlotFrom, zone, from), clockFace(o.SlotTo, zone, from), plural(o.Count, "slot"), word(o.Reason))
	case o.Kind == "SKIPPED":
		return clockFace(o.SlotFrom, zone, from) + ": skipped, " + word(o.Reason)
	}
	text := clockFace(o.At, zone, from) + ": run now"
	if o.Trigger == "CRON" {
		text = clockFace(o.SlotFrom, zone, from) + ": fired " + lateWords(lateness(o.SlotFrom, o.At))
	} else if o.Actor != "" {
		text += " by " + o.Actor
	}
	if o.Kind == "FAILED" {
		text += ", a run failed"
	}
	return text
}

// argsWords shows arguments as a person reads JSON.
func argsWords(args any) string {
	text, err := json.MarshalIndent(args, "", "  ")
	if err != nil || string(text) == "null" {
		return ""
	}
	return string(text)
}
