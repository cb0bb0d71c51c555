package cron_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// seeds are valid and invalid expressions of every form.
var seeds = []string{
	"* * * * *", "*/15 * * * *", "0 */2 * * *", "30 2 * * *", "*/30 1 * * *", "15,45 0-23 1-7 * MON-FRI", "0 0 L * *",
	"0 0 15W,L 2,feb 5L,2#5", "0 0 29 2 *", "0 0 * 2 MON#5", "59 59 23 31 12 ?", "*/7 * * * * *", "@daily", "@WEEKLY",
	"0 0 31 2 *", "1-5/2/3 * * * *", "?,? * * * *", "70/5 * * * *", "* * * * 7-2/2", "* * 0W * *", "TZ=UTC * * * * *", "\n",
}

// FuzzParse checks that no input panics or hangs, that an error concerns either
// the zone or the expression, and that each accepted expression has slots.
func FuzzParse(f *testing.F) {
	for i, expr := range seeds {
		f.Add(expr, append(changingZones, "", "Local", "Mars/Olympus", "../UTC")[i%(len(changingZones)+4)])
	}
	f.Add("* * * * *", "Local")
	f.Add("* * * * *", "../../etc/passwd")
	f.Fuzz(func(t *testing.T, expr, zone string) {
		start := time.Now()
		s, err := cron.Parse(expr, zone)
		if err != nil {
			assert.NotEmpty(t, err.Error())
			assert.False(t, errors.Is(err, cron.ErrNever) && errors.Is(err, cron.ErrZone))
			assert.Zero(t, s)
			return
		}
		before := time.Date(2097, 3, 1, 0, 0, 0, 500, time.UTC) // no 29 February until 2104: the longest search
		from := before
		for range 5 {
			slot, err := s.Next(from)
			require.NoError(t, err)
			require.True(t, slot.After(from) && slot.Nanosecond() == 0 && slot.Location() == time.UTC, slot)
			from = slot
		}
		n, err := s.Count(before, from, 100)
		require.NoError(t, err)
		require.Equal(t, 5, n)
		_, err = s.Prev(before)
		require.NoError(t, err)
		require.Less(t, time.Since(start), 5*time.Second, "%q in %q", expr, zone)
	})
}

// FuzzNext checks Next for any expression, zone and time (R5). Prev must be its
// inverse, and Between must agree. A search from any time between two slots
// must find the same slot.
func FuzzNext(f *testing.F) {
	for i, expr := range seeds {
		f.Add(expr, uint8(i), int64(1_772_953_199+i*15_778_800), int64(i), int64(i*977))
	}
	f.Add("0 * * * *", uint8(0), int64(-62_135_596_801), int64(0), int64(1))
	f.Add("0 * * * *", uint8(0), int64(253_402_300_799), int64(0), int64(1))
	f.Fuzz(func(t *testing.T, expr string, zone uint8, unix, nanosecond, between int64) {
		s, err := cron.Parse(expr, changingZones[int(zone)%len(changingZones)])
		if err != nil {
			return
		}
		from := time.Unix(unix%(1<<39), nanosecond%1_000_000_000)
		next, err := s.Next(from)
		if err != nil {
			require.ErrorIs(t, err, cron.ErrNever)
			require.Greater(t, from.UTC().Year(), 9950)
			return
		}
		require.True(t, next.After(from) && next.Nanosecond() == 0, next)

		// From any time between from and the slot, Next returns the slot.
		if seconds := next.Unix() - 1 - from.Unix(); seconds > 0 {
			later := time.Unix(from.Unix()+max(between, -between, 0)%seconds, 999_999_999)
			if !later.Before(from) {
				slot, err := s.Next(later)
				require.NoError(t, err)
				require.Equal(t, next, slot)
			}
		}
		prev, err := s.Prev(next)
		if err == nil {
			require.False(t, prev.After(from), "Prev of %s is %s, which is after %s", next, prev, from)
			slot, err := s.Next(prev)
			require.NoError(t, err)
			require.Equal(t, next, slot)
		}
		last, err := s.Prev(next.Add(1))
		require.NoError(t, err)
		require.Equal(t, next, last)

		slots, err := s.Between(from.Add(1), next.Add(1))
		require.NoError(t, err)
		require.Equal(t, []time.Time{next}, slots)
	})
}
