package hourbell

import (
	"context"
	"math/rand/v2"
	"runtime"
	"time"
)

// wallClock is the process's own clock. It judges nothing: it serves to sleep, to measure its own skew, and to
// notice how long the process has not seen the database.
var wallClock = time.Now

// backoff doubles from least to most.
type backoff struct{ least, most, last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.least), b.most)
	return b.last
}

func (b *backoff) reset() { b.last = 0 }

// jitter takes off up to a quarter, so that replicas do not move in step.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// sleep waits for d or for ctx's end.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// sleepExactly does so to some microseconds. Timers are up to a millisecond late, for that is how finely the runtime waits for
// the network; so the last of it is spent awake.
func sleepExactly(ctx context.Context, d time.Duration) {
	until := time.Now().Add(d)
	sleep(ctx, d-time.Millisecond)
	for ctx.Err() == nil && time.Now().Before(until) {
		runtime.Gosched()
	}
}

// outlive returns a context that ends a while after its parent.
func outlive(parent context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		sleep(ctx, grace)
		cancel()
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// distant follows another machine's clock by what it answered. It judges nothing. The zero value knows nothing.
type distant struct {
	base, last time.Time // by this process's clock, of which only the distances count: when it was asked first, and last
	low, high  time.Time // between which lies what the other showed at base
}

// read takes an answer in, and when it was asked for and came. What the other showed is no older than the question and no
// younger than the answer, so that the quickest of many tell it best.
func (d *distant) read(shown, asked, answered time.Time) {
	if d.base.IsZero() {
		d.base, d.last = asked, asked
	}
	low, high := shown.Add(-answered.Sub(d.base)), shown.Add(-asked.Sub(d.base))
	drift := answered.Sub(d.last) / 10_000 // the two may run apart
	d.low, d.high, d.last = later(low, d.low.Add(-drift)), earlier(high, d.high.Add(drift)), answered
	if d.low.After(d.high) { // the first answer, or one of them was stepped
		d.low, d.high = low, high
	}
}

// at is about what the other shows at an instant of this process's clock; zero if nothing is known.
func (d *distant) at(local time.Time) time.Time {
	if d.base.IsZero() {
		return time.Time{}
	}
	return d.low.Add(d.high.Sub(d.low)/2 + local.Sub(d.base))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
