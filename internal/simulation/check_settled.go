package simulation

import (
	"slices"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/simulation/model"
	"github.com/hourbell/hourbell/internal/storage"
)

// unfinishedClaim is the state of a row's unfinished claim (L4), derived from
// the operations on the row.
type unfinishedClaim struct {
	since        time.Time // the claim that opened it; zero if there is none
	firstInGrace time.Time // the first claim since then that was within grace; zero if there is none
	lastUsed     time.Time // the last claim, release or recorded failure
	wasFree      bool      // at the last claim the row was unlocked, not backing off and without an unfinished claim
	abandoned    bool      // the last claim found an abandoned unfinished claim
	claims       map[string]time.Time
}

// applyAttempt checks a claim, a release or a recorded failure.
func (l *ledger) applyAttempt(c model.Change) {
	u := &l.unfinished
	switch c.Operation {
	case "claim":
		continued := !u.since.IsZero() && !u.since.After(c.At) && c.At.Sub(u.lastUsed).Abs() <= l.lockTTL+l.row.Grace
		u.wasFree = c.Before.LockedBy == "" && c.Before.RetryAt.IsZero() && u.since.IsZero()
		u.abandoned = !u.since.IsZero() && !continued
		if !continued {
			u.since, u.firstInGrace = c.At, time.Time{}
		}
		if u.firstInGrace.IsZero() && l.inGrace(c.At) {
			u.firstInGrace = c.At
		}
		if u.claims == nil {
			u.claims = map[string]time.Time{}
		}
		u.claims[c.Worker] = c.At
	case "record-failures": // a failure within grace keeps the claim unfinished
		if at := u.claims[c.Worker]; !l.mustFire(at) && l.inGrace(at) {
			u.since = at
		}
	}
	u.lastUsed = c.At
}

// latestDue returns the latest slot that is due at a time and not recorded. It
// returns the zero time if there is none.
func (l *ledger) latestDue(at time.Time) time.Time {
	if slots := l.unrecorded(at); len(slots) > 0 {
		return slots[len(slots)-1]
	}
	return time.Time{}
}

// inGrace reports whether the latest due slot is within grace at a time.
func (l *ledger) inGrace(at time.Time) bool { return at.Sub(l.latestDue(at)) <= l.row.Grace }

// mustFire reports whether a claim finds an unfinished claim that was opened
// within grace.
func (l *ledger) mustFire(at time.Time) bool {
	since := l.unfinished.since
	return !since.IsZero() && since.Before(at) && l.inGrace(since)
}

// dueSinceUnfinished reports whether the latest slot came due after the
// unfinished claim was opened.
func (l *ledger) dueSinceUnfinished(at time.Time) bool {
	return !l.unfinished.since.IsZero() && l.latestDue(at).After(l.unfinished.since)
}

// applySettle checks a row that the loop has settled.
func (l *ledger) applySettle(c model.Change) {
	at := c.At // the time with which the core decided
	if c.Operation == "advance" {
		at = l.unfinished.claims[c.Worker]
	}
	inGrace, mustFire, mayFire, latest := l.inGrace(at), l.mustFire(at), l.dueSinceUnfinished(at), l.latestDue(at)
	slots := l.firedSlots(c)
	switch {
	case len(slots) > 1:
		l.report(FiredTwice, "%d slots at once at %s", len(slots), formatTime(c.At))
	case len(slots) == 0 && len(l.skips(c)) == 0 && l.db.Omit == (model.Omissions{}):
		l.report(Lost, "the row was settled at %s without a fire or a skip", formatTime(c.At))
	}
	for _, slot := range slots {
		l.record(slot, fired, c)
		undisturbed := l.unfinished.wasFree || c.Operation == "fire-on-time"
		switch {
		case !slot.Equal(latest):
			l.report(NotLatest, "%s, claimed at %s, when %s was the latest", formatTime(slot), formatTime(at), formatTime(latest))
		case !inGrace && !mustFire && !mayFire:
			l.report(Late, "%s, claimed at %s", formatTime(slot), formatTime(at))
		case c.Elapsed > l.steadyFrom && undisturbed && c.At.Sub(slot) > 2*time.Second:
			l.report(Delayed, "%s, at %s", formatTime(slot), formatTime(c.At))
		}
	}
	for _, e := range l.skips(c) {
		l.checkReason(e, c, len(slots) == 1, at, mustFire)
		l.recordSkip(e, c)
	}
	if len(slots) == 0 && (inGrace || mustFire || !l.unfinished.firstInGrace.IsZero()) {
		l.report(NotFired, "%s, claimed at %s; the first claim within grace was at %s", formatTime(latest), formatTime(at), formatTime(l.unfinished.firstInGrace))
	}
	l.unfinished = unfinishedClaim{}
}

// checkReason checks the reason of a skip that the loop recorded.
func (l *ledger) checkReason(e model.Event, c model.Change, hasFired bool, at time.Time, mustFire bool) {
	late := at.Sub(e.SlotTo) > l.row.Grace && !(hasFired && mustFire)
	correct := false
	switch e.Reason {
	case hourbell.SkipSuperseded:
		correct = hasFired && !late
	case hourbell.SkipLate:
		correct = late && !l.unfinished.abandoned
	case hourbell.SkipAbandoned:
		correct = late && l.unfinished.abandoned
	}
	if !correct {
		l.report(WrongReason, "%s, at %s", describeSkip(e.Event), formatTime(c.At))
	}
}

// firedSlots returns the slots that the change's transaction fired. It checks
// that their jobs are those of the row's target.
func (l *ledger) firedSlots(c model.Change) (slots []time.Time) {
	var enqueued []string
	for _, run := range l.runs[c.Tx] {
		enqueued = append(enqueued, run.Job)
		if !slices.Contains(slots, run.ScheduledFor) {
			slots = append(slots, run.ScheduledFor)
		}
	}
	if want := l.targetJobs(c.Before); len(slots) == 1 && !slices.Equal(enqueued, want) {
		l.report(WrongJobs, "%s: %q for %q, at %s", formatTime(slots[0]), enqueued, want, formatTime(c.At))
	}
	return slots
}

// targetJobs returns the jobs of a row's target. It finds the definition by the
// row's hash.
func (l *ledger) targetJobs(row storage.Schedule) []string {
	for _, b := range l.builds {
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
