package timing

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The estimate is as exact as the fastest request and the fastest response
// allow, however slow the others are.
func TestClockEstimateUsesFastestResponses(t *testing.T) {
	local := time.Now()
	remote := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) // what the other clock shows at local
	var e ClockEstimate
	require.Zero(t, e.At(local))
	now := time.Duration(0)
	request := func(before, after time.Duration) { // the travel times of request and response
		e.Observe(remote.Add(now+before), local.Add(now), local.Add(now+before+after))
		now += before + after
	}
	deviation := func() time.Duration { return e.At(local.Add(now)).Sub(remote.Add(now)) }

	request(3*time.Millisecond, 5*time.Millisecond)
	require.Equal(t, -time.Millisecond, deviation())
	request(time.Millisecond, 9*time.Millisecond)
	require.InDelta(t, -2*time.Millisecond, deviation(), float64(10*time.Microsecond))
	request(30*time.Millisecond, time.Millisecond)
	require.InDelta(t, 0, deviation(), float64(20*time.Microsecond))
	for range 20 {
		request(5*time.Millisecond, 50*time.Millisecond)
		require.InDelta(t, 0, deviation(), float64(200*time.Microsecond), "slow responses do not worsen the estimate")
	}
	now += time.Hour // both clocks may have drifted
	request(time.Millisecond, time.Millisecond)
	require.InDelta(t, 0, deviation(), float64(time.Millisecond))

	for _, step := range []time.Duration{-time.Minute, time.Hour} {
		remote = remote.Add(step)
		request(time.Millisecond, 2*time.Millisecond)
		require.InDelta(t, 0, deviation(), float64(time.Millisecond), "the other clock was stepped")
	}
}

// T2: a slot is not reached early. The sleep ends when the context does.
func TestSleepUntilIsNeverEarly(t *testing.T) {
	for _, d := range []time.Duration{-time.Second, 0, 300 * time.Microsecond, 3 * time.Millisecond} {
		end := time.Now().Add(d)
		SleepUntil(t.Context(), end)
		require.False(t, time.Now().Before(end))
	}
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, stop)
	SleepUntil(ctx, time.Now().Add(time.Hour))
	require.Error(t, ctx.Err())
}

// requireJittered requires a pause with a jitter of up to a quarter.
func requireJittered(t *testing.T, want, got time.Duration) {
	t.Helper()
	require.LessOrEqual(t, got, want)
	require.GreaterOrEqual(t, got, want*3/4)
}

// T3: how long the loop sleeps.
func TestPacerSleepsUntilWakeUp(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := NewPacer(time.Minute)
	after := func(claimed bool, wakeAt time.Time) time.Duration {
		return p.After(Tick{Claimed: claimed, WakeAt: wakeAt, At: at}, at.Add(5*time.Millisecond))
	}
	require.Equal(t, time.Minute, after(false, time.Time{}), "nothing is planned")
	require.Equal(t, time.Minute, after(false, at.Add(time.Hour)), "the next slot is later than the poll interval")
	require.Equal(t, 20*time.Second, after(false, at.Add(20*time.Second+5*time.Millisecond)))
	require.Equal(t, 20*time.Second, after(true, at.Add(20*time.Second+5*time.Millisecond)))
	require.Equal(t, time.Millisecond, after(true, at.Add(time.Millisecond)), "the slot is due already")

	for _, want := range []time.Duration{10, 20, 40, 80, 160, 320, 320} { // another worker is processing what is due
		requireJittered(t, want*time.Millisecond, after(false, at))
	}
	after(true, at.Add(time.Second))
	requireJittered(t, 10*time.Millisecond, after(false, at))
}

// T3: a replica that loses a race yields, until it fires something itself.
func TestPacerYieldsAfterLostRace(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := NewPacer(time.Minute)
	delay := func(claimed bool) time.Duration {
		pause := p.After(Tick{Claimed: claimed, WakeAt: at.Add(time.Second), At: at}, at)
		at = at.Add(time.Second)
		return pause - time.Second
	}
	require.Zero(t, delay(false), "no slot was expected")
	for _, want := range []time.Duration{20, 40, 80, 80} {
		requireJittered(t, want*time.Millisecond, delay(false))
	}
	require.Zero(t, delay(true))
	requireJittered(t, 20*time.Millisecond, delay(false))
}

// T3: rows that another worker holds are checked again soon, then less often.
func TestPacerChecksHeldRowsAgain(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p := NewPacer(time.Second)
	after := func(held bool, wakeIn time.Duration) time.Duration {
		return p.After(Tick{WakeAt: at.Add(wakeIn), At: at, HeldByOthers: held}, at)
	}
	for _, want := range []time.Duration{100, 200, 400, 800, 1000} {
		requireJittered(t, want*time.Millisecond, after(true, time.Hour))
	}
	require.Equal(t, 5*time.Millisecond, after(true, 5*time.Millisecond), "something else comes due first")
	require.Equal(t, time.Second, after(false, time.Hour))
	requireJittered(t, 100*time.Millisecond, after(true, time.Hour))
}

// O1: failures back off, with jitter, to the poll interval.
func TestPacerBacksOffAfterFailures(t *testing.T) {
	p := NewPacer(10 * time.Second)
	for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		requireJittered(t, want*time.Second, p.AfterFailure())
	}
	p.After(Tick{}, time.Time{})
	requireJittered(t, time.Second, p.AfterFailure())
}

// O3: work in progress gets some more time after its context has ended.
func TestDelayCancel(t *testing.T) {
	parent, stop := context.WithCancel(t.Context())
	ctx, cancel := DelayCancel(parent, 10*time.Millisecond)
	defer cancel()
	stop()
	require.NoError(t, ctx.Err())
	<-ctx.Done()

	parent, stop = context.WithCancel(t.Context())
	ctx, cancel = DelayCancel(parent, time.Hour)
	stop()
	cancel()
	require.Error(t, ctx.Err(), "the caller can end it before")
}
