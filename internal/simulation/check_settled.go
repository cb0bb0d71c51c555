package simulation

import (
	"slices"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/simulation/model"
)

// debt is what a row owes by the rule L4, worked out from who was at it and when.
type debt struct {
	since   time.Time // the claim that opened it; zero for none
	inTime  time.Time // the first claim since then that was in time for the slot that was the latest; zero for none
	touched time.Time // when somebody was last at the row
	free    bool      // nobody held the row at the last claim, nor was it held back
	lapsed  bool      // a debt had lapsed at the last claim
	claims  map[string]time.Time
}

// touch takes in that somebody was at the row without settling it.
func (a *account) touch(c model.Change) {
	switch c.Verb {
	case "claim":
		alive := !a.debt.since.IsZero() && !a.debt.since.After(c.At) && c.At.Sub(a.touched).Abs() <= a.lockTTL+a.row.Grace
		a.free = c.Before.LockedBy == "" && c.Before.HeldUntil.IsZero() && a.debt.since.IsZero()
		a.lapsed = !a.debt.since.IsZero() && !alive
		if !alive {
			a.debt.since, a.inTime = c.At, time.Time{}
		}
		if a.inTime.IsZero() && a.inGrace(c.At) {
			a.inTime = c.At
		}
		if a.claims == nil {
			a.claims = map[string]time.Time{}
		}
		a.claims[c.Worker] = c.At
	case "hold": // a failure in time keeps the debt open, or opens it
		if at := a.claims[c.Worker]; !a.owes(at) && a.inGrace(at) {
			a.debt.since = at
		}
	}
	a.touched = c.At
}

// latest is the last slot due at an instant that is not in the account; zero if none is.
func (a *account) latest(at time.Time) time.Time {
	if pending := a.pending(at); len(pending) > 0 {
		return pending[len(pending)-1]
	}
	return time.Time{}
}

func (a *account) inGrace(at time.Time) bool { return at.Sub(a.latest(at)) <= a.row.Grace }

// owes says whether a claim at an instant finds a debt that was opened in time.
func (a *account) owes(at time.Time) bool {
	return !a.debt.since.IsZero() && a.debt.since.Before(at) && a.inGrace(a.debt.since)
}

// attended says whether the latest slot came due while a debt was open.
func (a *account) attended(at time.Time) bool {
	return !a.debt.since.IsZero() && a.latest(at).After(a.debt.since)
}

// settled takes in that the loop has settled the row.
func (a *account) settled(c model.Change) {
	at := c.At // when it was judged
	if c.Verb == "advance" {
		at = a.claims[c.Worker]
	}
	inGrace, owes, attended, latest := a.inGrace(at), a.owes(at), a.attended(at), a.latest(at)
	fired := a.fires(c)
	switch {
	case len(fired) > 1:
		a.wrong(FiredTwice, "%d slots at once at %s", len(fired), clock(c.At))
	case len(fired) == 0 && len(a.skips(c)) == 0 && a.db.Without == (model.Without{}):
		a.wrong(Lost, "the row was settled at %s, and neither fired nor recorded", clock(c.At))
	}
	for _, slot := range fired {
		a.take(slot, "fired", c)
		switch {
		case !slot.Equal(latest):
			a.wrong(NotLatest, "%s, claimed at %s, when %s was the latest", clock(slot), clock(at), clock(latest))
		case !inGrace && !owes && !attended:
			a.wrong(Late, "%s, claimed at %s", clock(slot), clock(at))
		case c.Elapsed > a.calmed && (a.free || c.Verb == "fire-on-time") && c.At.Sub(slot) > 2*time.Second:
			a.wrong(Tardy, "%s, at %s", clock(slot), clock(c.At))
		}
	}
	for _, e := range a.skips(c) {
		a.reason(e, c, len(fired) == 1, at, owes)
		a.skip(e, c)
	}
	if len(fired) == 0 && (inGrace || owes || !a.inTime.IsZero()) {
		a.wrong(Owed, "%s, claimed at %s; the first claim in time was at %s", clock(latest), clock(at), clock(a.inTime))
	}
	a.debt = debt{}
}

// reason wants the reason of a skip by the loop to be true.
func (a *account) reason(e model.Event, c model.Change, fired bool, at time.Time, owes bool) {
	late := at.Sub(e.SlotTo) > a.row.Grace && !(fired && owes)
	right := false
	switch e.Reason {
	case "SUPERSEDED":
		right = fired && !late
	case "LATE":
		right = late && !a.lapsed
	case "LAPSED":
		right = late && a.lapsed
	}
	if !right {
		a.wrong(WrongReason, "%s, at %s", span(e.Event), clock(c.At))
	}
}

// fires are the slots that a transaction fired, and wants the jobs of each to be those of the row's target.
func (a *account) fires(c model.Change) (fired []time.Time) {
	var got []string
	for _, run := range a.runs[c.Tx] {
		got = append(got, run.Job)
		if !slices.Contains(fired, run.ScheduledFor) {
			fired = append(fired, run.ScheduledFor)
		}
	}
	if want := a.targets(c.Before); len(fired) == 1 && !slices.Equal(got, want) {
		a.wrong(WrongJobs, "%s: %q for %q, at %s", clock(fired[0]), got, want, clock(c.At))
	}
	return fired
}

// targets are the jobs that a stored row is about, by the hash of its definition.
func (a *account) targets(row hourbell.Schedule) []string {
	for _, b := range a.builds {
		for _, d := range b.definitions {
			if b.rows[d.ID].DefinitionHash != row.DefinitionHash {
				continue
			}
			switch d.Target.String() {
			case hourbell.AllJobs().String():
				return []string{"import", "publish", "report"}
			case hourbell.Group("feed").String():
				return []string{"import", "publish"}
			case hourbell.Jobs("import").String():
				return []string{"import"}
			case hourbell.Jobs("report").String():
				return []string{"report"}
			}
			return []string{"publish", "report"}
		}
	}
	return nil
}
