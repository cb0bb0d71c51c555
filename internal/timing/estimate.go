package timing

import "time"

// ClockEstimate estimates what another machine's clock shows, from its past
// responses. Before the first response, it is the zero value. It is not safe
// for concurrent use.
type ClockEstimate struct {
	// base is when the first request was sent, and last is when the latest
	// response arrived. Both are by this process's clock.
	base, last time.Time
	// low and high bound what the other clock showed at base.
	low, high time.Time
}

// driftFraction is the assumed drift between two clocks: one second in
// driftFraction seconds.
const driftFraction = 10_000

// Observe adds a response. shown is what the other clock showed. By this
// process's clock, sent is when the request was sent, and received is when the
// response arrived. The other clock was read in between, so fast responses
// narrow the estimate most.
func (e *ClockEstimate) Observe(shown, sent, received time.Time) {
	if e.base.IsZero() {
		e.base, e.last = sent, sent
	}
	low, high := shown.Add(-received.Sub(e.base)), shown.Add(-sent.Sub(e.base))
	drift := received.Sub(e.last) / driftFraction
	e.low, e.high, e.last = later(low, e.low.Add(-drift)), earlier(high, e.high.Add(drift)), received
	if e.low.After(e.high) { // the first response, or one of the clocks was stepped
		e.low, e.high = low, high
	}
}

// At returns what the other clock shows at a time by this process's clock, or
// the zero time before the first response.
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
