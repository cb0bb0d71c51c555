package timing

import "time"

// ClockEstimate estimates what another machine's clock shows, from its past
// responses. The zero value knows nothing. It is not safe for concurrent use.
type ClockEstimate struct {
	// base and last are the times of this process at which the first and the
	// latest request were sent.
	base, last time.Time
	// low and high bound what the other clock showed at base.
	low, high time.Time
}

// maxDrift is the assumed drift between two clocks: one part in 10,000.
const maxDrift = 10_000

// Observe adds a response: the time that the other clock showed, and the times
// of this process at which the request was sent and the response arrived. The
// other clock was read between those two, so fast responses narrow the
// estimate most.
func (e *ClockEstimate) Observe(shown, sent, received time.Time) {
	if e.base.IsZero() {
		e.base, e.last = sent, sent
	}
	low, high := shown.Add(-received.Sub(e.base)), shown.Add(-sent.Sub(e.base))
	drift := received.Sub(e.last) / maxDrift
	e.low, e.high, e.last = later(low, e.low.Add(-drift)), earlier(high, e.high.Add(drift)), received
	if e.low.After(e.high) { // the first response, or one of the clocks was stepped
		e.low, e.high = low, high
	}
}

// At returns what the other clock shows at a time of this process, or the zero
// time before the first response.
func (e *ClockEstimate) At(local time.Time) time.Time {
	if e.base.IsZero() {
		return time.Time{}
	}
	return e.low.Add(e.high.Sub(e.low)/2 + local.Sub(e.base))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
