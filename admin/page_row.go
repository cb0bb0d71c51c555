package admin

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// rowView is a schedule in the list, and on its own page.
type rowView struct {
	shown
	From        time.Time // when the page was made
	Zone        *time.Location
	Coming      []slotView
	Flagged     bool   // a clock change moves or repeats one of them
	LastWord    string // how its last runs are doing: a status
	LastText    string
	History     []bar
	HistoryText string
	FailedRuns  int // fires in a row whose runs failed
	Switch, Run control
	Release     control // of its lock
}

// slotView is a slot to come.
type slotView struct {
	moment
	Local string
	Kind  string // of what a clock change does to it
	Flag  string // the same in words
}

// bar is an outcome in a few pixels.
type bar struct{ Kind, Text string }

// control is a button, or why it cannot be used.
type control struct {
	ID, Label, About  string
	Method, Action    string
	Refused           string
	Key, Seen, Back   string
	Switch, On, Asked bool // Asked: a dialog comes first
}

// row is a schedule with what the page says of it.
func (h *handler) row(c *call, s shown, at time.Time, slots int) rowView {
	row := rowView{shown: s, From: at, Zone: time.UTC}
	if s.slots != nil {
		row.Zone = s.slots.Location()
	}
	for from := unsettled(s.row, at); s.slots != nil && len(row.Coming) < slots; {
		next, err := s.slots.Next(from)
		if err != nil {
			break // there are no more
		}
		slot := slotView{moment: moment{next, at}, Local: clockFace(next, row.Zone, at)}
		if change := changeOf(s.slots.Change(next)); change != nil {
			slot.Flag, slot.Kind = change.Detail, change.Kind
			row.Flagged = true
		}
		row.Coming, from = append(row.Coming, slot), next
	}
	if s.LastRun != nil {
		row.LastWord, row.LastText = runsWords(s.LastRun.Runs)
	}
	row.History, row.HistoryText = history(s.outcomes[:min(recent, len(s.outcomes))], row.Zone, at)
	row.FailedRuns = failedInARow(s.outcomes)
	h.controls(c, &row)
	return row
}

// failedInARow counts the newest fires that failed. What was skipped in between tells nothing.
func failedInARow(outcomes []hourbell.Outcome) (n int) {
	for _, o := range outcomes {
		switch o.Kind {
		case "FAILED":
			n++
		case "FIRED":
			return n
		}
	}
	return n
}

// controls are the buttons of a schedule.
func (h *handler) controls(c *call, row *rowView) {
	path := "schedules/" + url.PathEscape(row.ID)
	row.Switch = control{
		ID: "switch-" + row.ID, About: row.Name, Switch: true, On: row.Enabled, Seen: row.Fingerprint, Method: "post", Action: path + "/enable",
	}
	verb := Enable
	if row.Enabled {
		verb = Disable
		row.Switch.Method, row.Switch.Action, row.Switch.Asked, row.Switch.Seen = "get", path+"/disable", true, ""
	}
	row.Switch = h.control(c, Action{Verb: verb, ScheduleID: row.ID}, row.Switch)
	row.Run = h.control(c, Action{Verb: Run, ScheduleID: row.ID}, control{ID: "run-" + row.ID, Label: "Run now", About: row.Name, Action: path + "/run", Asked: true})
	if row.State == "REMOVED" {
		row.Switch.Refused, row.Run.Refused = "it was removed from code", "it was removed from code"
	}
	if row.Lock != nil {
		row.Release = h.control(c, Action{Verb: Unlock, ScheduleID: row.ID}, control{ID: "unlock-" + row.ID, Label: "Unlock", About: row.Name, Action: path + "/unlock", Asked: true})
	}
}

// control asks the host whether the person may use a button, so that the page offers nothing in vain. That it offers
// something allows nothing: the action itself is asked for again.
func (h *handler) control(c *call, action Action, b control) control {
	if b.Method == "" {
		b.Method = "get"
	}
	if _, err := h.cfg.Authorize(c.r, action); err != nil {
		b.Refused = err.Error()
	} else if h.cfg.ReadOnly {
		b.Refused = readOnly
	}
	return b
}

// At is the button on a page whose root is elsewhere.
func (b control) At(root string) control {
	b.Action = root + b.Action
	return b
}

// history are outcomes as bars, oldest first.
func history(outcomes []hourbell.Outcome, zone *time.Location, at time.Time) (bars []bar, text string) {
	fired, failed, skipped := 0, 0, 0
	for _, o := range slices.Backward(outcomes) {
		switch o.Kind {
		case "FAILED":
			failed++
		case "SKIPPED":
			skipped++
		default:
			fired++
		}
		bars = append(bars, bar{kindOf(o), outcomeWords(o, zone, at)})
	}
	return bars, "last " + plural(len(outcomes), "outcome") + ": " + strconv.Itoa(fired) + " fired, " + strconv.Itoa(failed) + " failed, " + strconv.Itoa(skipped) + " skipped"
}

// The texts that the templates ask a row for.

// TargetText says what the schedule enqueues.
func (r rowView) TargetText() string { return targetWords(r.Target) }

// Face is an instant in the schedule's zone.
func (r rowView) Face(t instant) string { return clockFace(t.Time, r.Zone, r.From) }

// NextFlag is what a clock change does to the next slot, in brief.
func (r rowView) NextFlag() string {
	if len(r.Coming) == 0 || r.Coming[0].Kind == "" || !r.Coming[0].At.Equal(r.NextRunAt.Time) {
		return ""
	}
	return strings.ToLower(r.Coming[0].Kind) + " by a clock change"
}

// LateText says how late the last run was.
func (r rowView) LateText() string { return lateWords(r.LastRun.LatenessMs) }

// LastID is the last run's number.
func (r rowView) LastID() string {
	if r.LastRun.RunID == nil {
		return ""
	}
	return strconv.FormatInt(*r.LastRun.RunID, 10)
}

// Held says that it waits before it tries again what failed.
func (r rowView) Held() bool { return r.HeldUntil.After(r.From) }

// Seen is an instant as it is seen from when the page was made.
func (r rowView) Seen(t instant) moment { return moment{t.Time, r.From} }
