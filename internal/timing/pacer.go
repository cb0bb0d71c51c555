package timing

import "time"

// Pacer decides how long the loop sleeps between ticks (rule T3).
type Pacer struct {
	poll     time.Duration // the longest sleep
	due      Backoff       // while a schedule is due that the ticks cannot claim
	held     Backoff       // while other workers hold due rows
	yield    Backoff       // added while another replica is faster
	failure  Backoff       // after ticks that failed
	expected time.Time     // the wake-up time that the last tick reported
}

// Tick is what a Pacer needs to know of a tick. Times are by the database
// clock.
type Tick struct {
	At           time.Time // when the tick found nothing more to claim; zero if it did not get so far
	WakeAt       time.Time // the earliest time at which another tick can find something; zero for never
	Claimed      bool      // the tick claimed or fired something
	HeldByOthers bool      // other workers hold due rows
}

// NewPacer returns a Pacer that sleeps for poll at most.
func NewPacer(poll time.Duration) *Pacer {
	return &Pacer{
		poll:    poll,
		due:     Backoff{Min: 10 * time.Millisecond, Max: 320 * time.Millisecond},
		held:    Backoff{Min: 100 * time.Millisecond, Max: poll},
		yield:   Backoff{Min: 20 * time.Millisecond, Max: 80 * time.Millisecond},
		failure: Backoff{Min: time.Second, Max: poll},
	}
}

// AfterFailure returns the pause after a tick that failed.
func (p *Pacer) AfterFailure() time.Duration { return Jitter(p.failure.Next()) }

// After returns the pause after a tick that succeeded. now is the current
// database time.
func (p *Pacer) After(tick Tick, now time.Time) time.Duration {
	p.failure.Reset()
	expected := p.expected
	p.expected = tick.WakeAt
	switch {
	case tick.WakeAt.IsZero():
		return p.poll
	case !tick.WakeAt.After(tick.At): // due, but another transaction has the row
		return Jitter(p.due.Next())
	}
	p.due.Reset()
	pause := max(tick.WakeAt.Sub(now), time.Millisecond)
	switch {
	case tick.Claimed:
		p.yield.Reset()
	case !expected.IsZero() && !expected.After(tick.At):
		// The tick came for a slot that another replica had fired already.
		// Yield to that replica at the next slot too: two replicas that fire
		// the same slots are slower than one.
		pause += Jitter(p.yield.Next())
	}
	if tick.HeldByOthers { // a held row may be released long before its lock ends
		pause = min(pause, Jitter(p.held.Next()))
	} else {
		p.held.Reset()
	}
	return min(pause, p.poll)
}
