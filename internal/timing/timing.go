// Package timing sleeps, backs off and estimates the database clock.
package timing

import (
	"context"
	"math/rand/v2"
	"runtime"
	"time"
)

// Now is the clock of this process. It never decides what is due: that is for
// the database clock. It serves to measure clock skew, to estimate the database
// clock, and to notice how long the database was not reached. Tests set it to
// simulate a machine with a wrong clock.
var Now = time.Now

// CheckEvery is how often a process compares the stored schedules with its
// definitions. Tests shorten it.
var CheckEvery = time.Minute

// Elapsed returns the time between two readings of [Now]: by the monotonic
// clock or by the wall clock, whichever is longer. The monotonic clock may stop
// while the machine is suspended.
func Elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// Sleep waits for d or until ctx ends.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// SleepUntil waits until t, by time.Now, or until ctx ends. A
// timer may be a millisecond late, so SleepUntil spends the last millisecond in
// a busy loop.
func SleepUntil(ctx context.Context, t time.Time) {
	Sleep(ctx, time.Until(t)-time.Millisecond)
	for ctx.Err() == nil && time.Now().Before(t) {
		runtime.Gosched()
	}
}

// Jitter returns d less a random part of up to a quarter, so that replicas do
// not act in step.
func Jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// Backoff is a pause that doubles from Min to Max. It is not safe for
// concurrent use.
type Backoff struct {
	Min, Max time.Duration
	last     time.Duration
}

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	b.last = min(max(2*b.last, b.Min), b.Max)
	return b.last
}

// Reset makes the next pause Min again.
func (b *Backoff) Reset() { b.last = 0 }

// DelayCancel returns a context that ends d after its parent does, or when the
// returned function is called. Callers must call it to release resources.
func DelayCancel(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		Sleep(ctx, d)
		cancel()
	})
	return ctx, func() {
		stop()
		cancel()
	}
}
