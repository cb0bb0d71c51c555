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
	since        time.Time        // the claim that opened it; zero if there is none
	firstInGrace time.Time        // the first claim since then that was within grace; zero if there is none
	lastUsed     time.Time        // the last claim, release or recorded failure
	wasFree      bool             // at the last claim the row was unlocked, not backing off and without an unfinished claim
	abandoned    bool             // the last claim found an abandoned unfinished claim
	claims       map[string]claim // the last of each worker
}

// claim is a claim with what was known about the next run that it found.
type claim struct {
	at, nextRunAt time.Time
	isNext        bool // nextRunAt was a slot that was not settled
	nextRun       nextRun
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
			u.claims = map[string]claim{}
		}
		u.claims[c.Worker] = claim{c.At, l.row.NextRunAt, l.isNext(l.row), l.nextRun}
	case "record-failures": // a failure within grace keeps the claim unfinished
		if at := u.claims[c.Worker].at; !l.mustFire(at) && l.inGrace(at) {
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
	edited := false
	if c.Operation == "advance" {
		// Without the fence, a claim that the row has lost can be settled.
		claimed, valid := l.unfinished.claims[c.Worker]
		at, l.nextRun, edited = claimed.at, claimed.nextRun, claimed.nextRun.edited
		if valid && !claimed.isNext {
			l.applyCorrection(c, claimed)
			return
		}
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
		case !inGrace && !mustFire && !mayFire && !edited:
			l.report(Late, "%s, claimed at %s", formatTime(slot), formatTime(at))
		case c.Elapsed > l.steadyFrom && undisturbed && c.At.Sub(slot) > 2*time.Second:
			l.report(Delayed, "%s, at %s", formatTime(slot), formatTime(c.At))
		}
	}
	for _, e := range l.skips(c) {
		if !edited || e.Reason == hourbell.SkipNotASlot {
			l.checkReason(e, c, len(slots) == 1, at, mustFire)
		}
		l.recordSkip(e, c)
	}
	// A claim within grace does not count if the clock was stepped back since,
	// because its slot may no longer be due.
	first := l.unfinished.firstInGrace
	if len(slots) == 0 && !edited && (inGrace || mustFire || !first.IsZero() && !first.After(at)) {
		l.report(NotFired, "%s, claimed at %s; the first claim within grace was at %s", formatTime(latest), formatTime(at), formatTime(first))
	}
	l.unfinished = unfinishedClaim{}
	l.settleThrough(l.latestSlot)
}

// applyCorrection checks a row that the loop has settled after a claim whose
// next run was not a slot, or was settled. Nothing fires. All slots that are
// due are recorded with that reason. If there are none, the event has the wrong
// time.
func (l *ledger) applyCorrection(c model.Change, claimed claim) {
	for _, slot := range l.firedSlots(c) {
		l.report(NotASlot, "%s fired at %s, when the next run was %s", formatTime(slot), formatTime(c.At), formatTime(claimed.nextRunAt))
	}
	skips := l.skips(c)
	through := claimed.at
	switch {
	case len(skips) != 1 || skips[0].Reason != hourbell.SkipNotASlot:
		l.report(WrongReason, "the correction at %s of the next run %s has %d skips", formatTime(c.At), formatTime(claimed.nextRunAt), len(skips))
	case skips[0].SlotCount > 0:
		through = skips[0].SlotTo
		l.recordSkip(skips[0], c)
	case !skips[0].SlotFrom.Equal(claimed.nextRunAt) || !skips[0].SlotTo.Equal(claimed.nextRunAt):
		l.report(WrongCount, "%s for the next run %s", describeSkip(skips[0].Event), formatTime(claimed.nextRunAt))
	}
	if missing := l.unrecorded(claimed.at); len(missing) > 0 {
		l.report(Lost, "%s were not recorded when the next run was corrected at %s", formatSlots(missing), formatTime(c.At))
	}
	l.unfinished = unfinishedClaim{}
	l.settleThrough(through)
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
			if !slices.ContainsFunc(b.rows, func(rows map[string]storage.Schedule) bool { return rows[d.ID].DefinitionHash == row.DefinitionHash }) {
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
