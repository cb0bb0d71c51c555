package admin

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// rowView is a schedule in the list and on its own page.
type rowView struct {
	scheduleView
	At          time.Time // when the schedule was read
	Zone        *time.Location
	Upcoming    []slotView
	ClockChange bool               // a clock change moves or repeats an upcoming slot
	LastStatus  hourbell.RunStatus // the worst status of the last runs; empty if unknown
	LastText    string
	History     []bar
	HistoryText string
	FailedFires int // consecutive fires with a failed run
	Switch, Run control
	Unlock      control
}

// slotView is an upcoming slot.
type slotView struct {
	relTime
	Local      string
	ChangeKind string // the kind of the clock change at the slot; empty for none
	ChangeText string
}

// bar is an outcome in the history column.
type bar struct{ Class, Text string }

// control is a button. If the user may not use it, Denied has the reason.
type control struct {
	ID, Label, Subject string
	Method, Action     string
	Denied             string
	IfMatch, Back      string
	Switch, On         bool
	Confirm            bool // the button opens a confirmation
	HostField          formField
}

// newRow adds to a schedule what the page shows of it, with up to slotLimit
// upcoming slots.
func (h *handler) newRow(c *call, s scheduleView, slotLimit int) rowView {
	at, outcomes := s.schedule.ReadAt, s.schedule.Outcomes
	row := rowView{scheduleView: s, At: at, Zone: time.UTC}
	if s.slots != nil {
		row.Zone = s.slots.Location()
		for _, next := range take(slotLimit, upcomingOf(s.schedule, *s.slots)) {
			slot := slotView{relTime: relTime{next, at}, Local: localTime(next, row.Zone, at)}
			if change := toChangeJSON(s.slots.Change(next)); change != nil {
				slot.ChangeText, slot.ChangeKind = change.Detail, change.Kind
				row.ClockChange = true
			}
			row.Upcoming = append(row.Upcoming, slot)
		}
	}
	if s.LastRun != nil {
		row.LastStatus, row.LastText = runsText(s.LastRun.Runs)
	}
	row.History, row.HistoryText = history(outcomes[:min(recentOutcomes, len(outcomes))], row.Zone, at)
	row.FailedFires = failedFires(outcomes)
	h.addControls(c, &row)
	return row
}

// failedFires counts the consecutive failed fires before now. Skipped slots in
// between do not count and do not end the count.
func failedFires(outcomes []hourbell.Outcome) (n int) {
	for _, o := range outcomes {
		switch o.Kind {
		case hourbell.OutcomeFailed:
			n++
		case hourbell.OutcomeFired:
			return n
		}
	}
	return n
}

// addControls sets the buttons of a row.
func (h *handler) addControls(c *call, row *rowView) {
	path := "schedules/" + url.PathEscape(row.ID)
	row.Switch = control{
		ID: "switch-" + row.ID, Subject: row.Name, Switch: true, On: row.Enabled, IfMatch: row.ETag, Method: "post", Action: path + "/enable",
	}
	verb := Enable
	if row.Enabled {
		verb = Disable
		row.Switch.Method, row.Switch.Action, row.Switch.Confirm, row.Switch.IfMatch = "get", path+"/disable", true, ""
	}
	row.Switch = h.authorizeControl(c, Action{Verb: verb, ScheduleID: row.ID}, row.Switch)
	row.Run = h.authorizeControl(c, Action{Verb: Run, ScheduleID: row.ID}, control{
		ID: "run-" + row.ID, Label: "Run now", Subject: row.Name, Action: path + "/run", Confirm: true,
	})
	if denied := removedText(row.schedule); denied != "" {
		row.Switch.Denied, row.Run.Denied = denied, denied
	} else if !row.DeclaredHere && row.Run.Denied == "" {
		row.Run.Denied = cmp.Or(row.Problem, "another build declares it, so this process cannot run it as stored")
	}
	if row.Lock != nil {
		row.Unlock = h.authorizeControl(c, Action{Verb: Unlock, ScheduleID: row.ID}, control{
			ID: "unlock-" + row.ID, Label: "Unlock", Subject: row.Name, Action: path + "/unlock", Confirm: true,
		})
	}
}

// removedText returns why a removed schedule cannot be enabled, disabled or
// run, or "" if the schedule is not removed.
func removedText(s hourbell.Schedule) string {
	if s.RemovedAt.IsZero() {
		return ""
	}
	return "it was removed from code"
}

// authorizeControl sets Denied if the user may not perform the action. An
// allowed control grants nothing: the action is authorized again when it is
// requested.
func (h *handler) authorizeControl(c *call, action Action, b control) control {
	if b.Method == "" {
		b.Method = "get"
	}
	if b.Method == "post" {
		b.HostField = h.formField(c.r)
	}
	if _, err := h.cfg.Authorize(c.r, action); err != nil {
		b.Denied = err.Error()
	} else if h.cfg.ReadOnly {
		b.Denied = readOnly
	}
	return b
}

// WithRoot returns the control with its action relative to a page's root link.
func (b control) WithRoot(root string) control {
	b.Action = root + b.Action
	return b
}

// history returns the outcomes as bars, oldest first, and a summary.
func history(outcomes []hourbell.Outcome, zone *time.Location, at time.Time) (bars []bar, text string) {
	fired, failed, skipped := 0, 0, 0
	for _, o := range slices.Backward(outcomes) {
		switch o.Kind {
		case hourbell.OutcomeFailed:
			failed++
		case hourbell.OutcomeSkipped:
			skipped++
		default:
			fired++
		}
		bars = append(bars, bar{outcomeClass(o), outcomeText(o, zone, at)})
	}
	return bars, "last " + plural(len(outcomes), "outcome") + ": " + strconv.Itoa(fired) + " fired, " + strconv.Itoa(failed) + " failed, " + strconv.Itoa(skipped) + " skipped"
}

// The methods below are called by the templates.

// TargetText describes what the schedule enqueues.
func (r rowView) TargetText() string { return targetText(r.Target) }

// LocalTime formats a time in the schedule's zone.
func (r rowView) LocalTime(t timestamp) string { return localTime(t.Time, r.Zone, r.At) }

// NextClockChange describes the effect of a clock change on the next slot.
func (r rowView) NextClockChange() string {
	if len(r.Upcoming) == 0 || r.Upcoming[0].ChangeKind == "" || !r.Upcoming[0].Time.Equal(r.NextRunAt.Time) {
		return ""
	}
	return strings.ToLower(r.Upcoming[0].ChangeKind) + " by a clock change"
}

// LatenessText describes how late the last run was enqueued.
func (r rowView) LatenessText() string { return latenessText(r.LastRun.LatenessMs) }

// LastID returns the id of the last run, or "".
func (r rowView) LastID() string {
	if r.LastRun.RunID == nil {
		return ""
	}
	return strconv.FormatInt(*r.LastRun.RunID, 10)
}

// BackingOff reports whether the schedule waits before it retries a failed
// attempt to enqueue.
func (r rowView) BackingOff() bool { return r.RetryAt.After(r.At) }

// Rel returns a time relative to the time of the read.
func (r rowView) Rel(t timestamp) relTime { return relTime{t.Time, r.At} }
