package hourbell

import "time"

// pace says how long the loop sleeps between passes (rule T3).
type pace struct {
	poll                         time.Duration // at most
	idle, busy, courtesy, faults backoff
	expected                     time.Time // when something was to come due
}

func newPace(poll time.Duration) *pace {
	return &pace{
		poll:     poll,
		idle:     backoff{least: 10 * time.Millisecond, most: 320 * time.Millisecond},
		busy:     backoff{least: 100 * time.Millisecond, most: poll},
		courtesy: backoff{least: 20 * time.Millisecond, most: 80 * time.Millisecond},
		faults:   backoff{least: time.Second, most: poll},
	}
}

// afterFault is the pause after a pass that failed.
func (p *pace) afterFault() time.Duration { return jitter(p.faults.next()) }

// after is the pause after a pass that did not, at an instant of the clock that judges.
func (p *pace) after(report TickReport, now time.Time) time.Duration {
	p.faults.reset()
	expected := p.expected
	p.expected = report.Wake
	switch {
	case report.Wake.IsZero():
		return p.poll
	case !report.Wake.After(report.at): // due, but somebody else is at it
		return jitter(p.idle.next())
	}
	p.idle.reset()
	pause := max(report.Wake.Sub(now), time.Millisecond)
	switch {
	case report.Claimed > 0:
		p.courtesy.reset()
	case !expected.IsZero() && !expected.After(report.at):
		// Somebody was faster. Let them go first the next time too: two at once are slower than one.
		pause += jitter(p.courtesy.next())
	}
	if report.busy { // what is held may be given back any moment, long before its lock would end
		pause = min(pause, jitter(p.busy.next()))
	} else {
		p.busy.reset()
	}
	return min(pause, p.poll)
}
