package hourbell

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// about requires a pause that jitter has taken up to a quarter off, and that some time has passed of.
func about(t *testing.T, want, got time.Duration) {
	t.Helper()
	require.LessOrEqual(t, got, want)
	require.GreaterOrEqual(t, got, want*3/4-50*time.Millisecond)
}

// T3: how long the loop sleeps.
func TestPace(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	pass := func(claimed int, wake time.Time) TickReport {
		return TickReport{Claimed: claimed, Wake: wake, at: at, seen: wallClock()}
	}
	p := newPace(time.Minute)
	require.Equal(t, time.Minute, p.after(pass(0, time.Time{})), "nothing is ever due")
	require.Equal(t, time.Minute, p.after(pass(0, at.Add(time.Hour))), "the next slot is far away")
	about(t, 20*time.Second, p.after(pass(0, at.Add(20*time.Second))))

	seen := pass(1, at.Add(20*time.Second))
	seen.seen = seen.seen.Add(-5 * time.Second)
	about(t, 15*time.Second, p.after(seen))
	seen.seen = seen.seen.Add(-time.Hour)
	require.LessOrEqual(t, p.after(seen), time.Duration(0), "late already")

	require.LessOrEqual(t, p.after(pass(1, at.Add(time.Millisecond))), time.Millisecond)
	require.Equal(t, 10*time.Millisecond, p.after(pass(0, at.Add(time.Millisecond))), "a pass that found nothing")

	for _, want := range []time.Duration{10, 20, 40, 80, 160, 320, 320} { // somebody else is at what is due
		about(t, want*time.Millisecond, p.after(pass(0, at)))
	}
}

// Whoever finds that others were faster lets them go first, until it finds something itself.
func TestTheSlowerReplicaLetsOthersGoFirst(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := newPace(time.Minute)
	wake := func(claimed int) time.Duration {
		pause := p.after(TickReport{Claimed: claimed, Wake: at.Add(time.Second), at: at, seen: wallClock()})
		at = at.Add(time.Second)
		return pause - time.Second
	}
	require.LessOrEqual(t, wake(0), time.Duration(0), "nothing had been expected")
	for _, want := range []time.Duration{20, 40, 80, 80} {
		got := wake(0)
		require.Greater(t, got, want*time.Millisecond*3/4-5*time.Millisecond)
		require.LessOrEqual(t, got, want*time.Millisecond)
	}
	require.LessOrEqual(t, wake(1), time.Duration(0))
	require.LessOrEqual(t, wake(0), 20*time.Millisecond)
}

// O1: faults back off, with jitter, to the poll interval.
func TestFaultsBackOff(t *testing.T) {
	p := newPace(10 * time.Second)
	for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		about(t, want*time.Second, p.afterFault())
	}
	p.after(TickReport{})
	about(t, time.Second, p.afterFault())
}
