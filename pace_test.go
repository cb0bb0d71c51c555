package hourbell

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// jittered requires a pause that up to a quarter was taken off.
func jittered(t *testing.T, want, got time.Duration) {
	t.Helper()
	require.LessOrEqual(t, got, want)
	require.GreaterOrEqual(t, got, want*3/4)
}

// T3: how long the loop sleeps.
func TestPace(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := newPace(time.Minute)
	after := func(claimed int, wake time.Time) time.Duration {
		return p.after(TickReport{Claimed: claimed, Wake: wake, at: at}, at.Add(5*time.Millisecond))
	}
	require.Equal(t, time.Minute, after(0, time.Time{}), "nothing is ever due")
	require.Equal(t, time.Minute, after(0, at.Add(time.Hour)), "the next slot is far away")
	require.Equal(t, 20*time.Second, after(0, at.Add(20*time.Second+5*time.Millisecond)))
	require.Equal(t, 20*time.Second, after(1, at.Add(20*time.Second+5*time.Millisecond)))
	require.Equal(t, time.Millisecond, after(1, at.Add(time.Millisecond)), "it has come meanwhile")

	for _, want := range []time.Duration{10, 20, 40, 80, 160, 320, 320} { // somebody else is at what is due
		jittered(t, want*time.Millisecond, after(0, at))
	}
	after(1, at.Add(time.Second))
	jittered(t, 10*time.Millisecond, after(0, at))
}

// Whoever finds that others were faster lets them go first, until it finds something itself.
func TestTheSlowerReplicaLetsOthersGoFirst(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := newPace(time.Minute)
	wake := func(claimed int) time.Duration {
		pause := p.after(TickReport{Claimed: claimed, Wake: at.Add(time.Second), at: at}, at)
		at = at.Add(time.Second)
		return pause - time.Second
	}
	require.Zero(t, wake(0), "nothing had been expected")
	for _, want := range []time.Duration{20, 40, 80, 80} {
		jittered(t, want*time.Millisecond, wake(0))
	}
	require.Zero(t, wake(1))
	jittered(t, 20*time.Millisecond, wake(0))
}

// T3: what another worker holds is looked at again soon, and less and less often.
func TestWhatIsHeldIsLookedAtAgain(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := newPace(time.Second)
	after := func(busy bool, wake time.Duration) time.Duration {
		return p.after(TickReport{Wake: at.Add(wake), at: at, busy: busy}, at)
	}
	for _, want := range []time.Duration{100, 200, 400, 800, 1000} {
		jittered(t, want*time.Millisecond, after(true, time.Hour))
	}
	require.Equal(t, 5*time.Millisecond, after(true, 5*time.Millisecond), "something else comes due before")
	require.Equal(t, time.Second, after(false, time.Hour))
	jittered(t, 100*time.Millisecond, after(true, time.Hour))
}

// O1: faults back off, with jitter, to the poll interval.
func TestFaultsBackOff(t *testing.T) {
	p := newPace(10 * time.Second)
	for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		jittered(t, want*time.Second, p.afterFault())
	}
	p.after(TickReport{}, time.Time{})
	jittered(t, time.Second, p.afterFault())
}

// Lanes come to rest in any order. The one that was asked last knows best when to wake, and at one instant the one that sees
// furthest.
func TestTheLaneThatWasAskedLastSaysWhenToWake(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := &pass{Scheduler: &Scheduler{}}
	for _, said := range []struct{ at, wake, want time.Time }{
		{at, at, at},
		{at, at.Add(time.Hour), at.Add(time.Hour)},
		{at, at, at.Add(time.Hour)},
		{at.Add(-time.Second), at.Add(time.Minute), at.Add(time.Hour)},
		{at.Add(time.Second), at.Add(time.Minute), at.Add(time.Minute)},
	} {
		p.rest(said.at, said.wake, said.wake.Equal(said.at))
		require.Equal(t, said.want, p.report.Wake)
		require.Equal(t, said.want.Equal(at), p.report.busy)
	}
}
