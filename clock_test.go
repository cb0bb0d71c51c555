package hourbell

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Another clock is known as well as the quickest question and the quickest answer allow, be the rest as slow as it may.
func TestADistantClockIsKnownByItsQuickestAnswers(t *testing.T) {
	own := time.Now()
	theirs := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) // what the other shows at own
	var d distant
	require.Zero(t, d.at(own))
	now := time.Duration(0)
	ask := func(before, after time.Duration) { // it is read so long after the question, and so long before the answer
		d.read(theirs.Add(now+before), own.Add(now), own.Add(now+before+after))
		now += before + after
	}
	wrong := func() time.Duration { return d.at(own.Add(now)).Sub(theirs.Add(now)) }

	ask(3*time.Millisecond, 5*time.Millisecond)
	require.Equal(t, -time.Millisecond, wrong())
	ask(time.Millisecond, 9*time.Millisecond)
	require.InDelta(t, -2*time.Millisecond, wrong(), float64(10*time.Microsecond))
	ask(30*time.Millisecond, time.Millisecond)
	require.InDelta(t, 0, wrong(), float64(20*time.Microsecond))
	for range 20 {
		ask(5*time.Millisecond, 50*time.Millisecond)
		require.InDelta(t, 0, wrong(), float64(200*time.Microsecond), "slow answers take nothing away")
	}
	now += time.Hour // after which either may have run ahead
	ask(time.Millisecond, time.Millisecond)
	require.InDelta(t, 0, wrong(), float64(time.Millisecond))

	for _, step := range []time.Duration{-time.Minute, time.Hour} {
		theirs = theirs.Add(step)
		ask(time.Millisecond, 2*time.Millisecond)
		require.InDelta(t, 0, wrong(), float64(time.Millisecond), "it was stepped")
	}
}

// A slot is never slept into early, and who is told to stop sleeps no longer.
func TestSleepingExactly(t *testing.T) {
	for _, d := range []time.Duration{-time.Second, 0, 300 * time.Microsecond, 3 * time.Millisecond} {
		began := time.Now()
		sleepExactly(t.Context(), d)
		require.GreaterOrEqual(t, time.Since(began), d)
	}
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, stop)
	sleepExactly(ctx, time.Hour)
	require.Error(t, ctx.Err())
}
