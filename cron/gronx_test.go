package cron_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/adhocore/gronx"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// The package avoids the bugs of gronx 1.20.4.
func TestScheduleAvoidsGronxBugs(t *testing.T) {
	assertRejected := func(t *testing.T, exprs ...string) {
		t.Helper()
		for _, expr := range exprs {
			_, err := cron.Parse(expr, "UTC")
			assert.Error(t, err, "%q", expr)
		}
	}
	// gronx.IsValid skips the list items after one that matches the start time
	// of the process.
	t.Run("1 validity is independent of the start time", func(t *testing.T) {
		assertRejected(t, "30-59,99 * * * *", "0-29,99 * * * *", "*,99 * * * *", "* *,24 * * *", "* * * * 0-7,8")
		for minute := range 60 {
			assertRejected(t, fmt.Sprintf("%d,99 * * * *", minute))
		}
	})
	// If gronx finds nothing, it returns its argument and no error.
	t.Run("2 result differs from the argument", func(t *testing.T) {
		assertRejected(t, "0 0 1 1 * 2026", "0 0 0 1 1 * 2026")
		s := mustParse(t, "0 0 31 12 *", "UTC")
		last := parseTime(t, "9999-12-31T00:00Z")
		_, err := s.Next(last)
		assert.ErrorIs(t, err, cron.ErrNever)
		s = mustParse(t, "0 0 1 1 *", "UTC")
		_, err = s.Prev(parseTime(t, "0002-01-01T00:00Z"))
		assert.ErrorIs(t, err, cron.ErrNever)
		// It also does so for some times in zones with clock changes.
		requireSlots(t, "0 12 * * 1", "America/Havana", "2026-03-02T12:00-05:00", "2026-03-09T12:00-04:00")
	})
	t.Run("3 month starts in a gap", func(t *testing.T) {
		requireSlots(t, "0 0 1 * *", "America/Asuncion", "2017-09-30T08:00-04:00", "2017-10-01T01:00-03:00", "2017-11-01T00:00-03:00")
	})
	t.Run("4 spelling does not change slots in an overlap", func(t *testing.T) {
		requireSlots(t, "0 * * * *", "America/New_York", "2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00", "2026-11-01T02:00-05:00")
		requireSlots(t, "30 1 * * *", "America/New_York", "2026-11-01T01:15-04:00", "2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00")
		requireSlots(t, "*/30 1 * * *", "America/New_York", "2026-11-01T01:15-04:00", "2026-11-01T01:30-04:00", "2026-11-02T01:00-05:00")
		requireSlots(t, "*/15 * * * *", "Australia/Lord_Howe", "2026-04-05T01:20+11:00",
			"2026-04-05T01:30+11:00", "2026-04-05T01:45+11:00", "2026-04-05T01:30+10:30", "2026-04-05T01:45+10:30", "2026-04-05T02:00+10:30")
	})
	t.Run("5 Prev in an overlap", func(t *testing.T) {
		prev, err := mustParse(t, "*/15 * * * *", "America/New_York").Prev(parseTime(t, "2026-11-01T01:10-05:00"))
		require.NoError(t, err)
		assert.Equal(t, parseTime(t, "2026-11-01T01:00-05:00").UTC(), prev)
		prev, err = mustParse(t, "0 * * * *", "America/New_York").Prev(parseTime(t, "2026-11-01T01:00-05:00"))
		require.NoError(t, err)
		assert.Equal(t, parseTime(t, "2026-11-01T01:00-04:00").UTC(), prev)
	})
	t.Run("6 day field with a step is restricted", func(t *testing.T) {
		requireSlots(t, "0 0 */2 * 1", "UTC", "2026-06-01T00:00Z", "2026-06-03T00:00Z", "2026-06-05T00:00Z", "2026-06-07T00:00Z", "2026-06-08T00:00Z")
		requireSlots(t, "0 0 10 * */3", "UTC", "2026-06-01T00:00Z", "2026-06-03T00:00Z", "2026-06-06T00:00Z", "2026-06-07T00:00Z", "2026-06-10T00:00Z")
	})
	t.Run("7 fixed times in a gap fire on the same day", func(t *testing.T) {
		requireSlots(t, "30 2 * * *", "America/New_York", "2026-03-07T07:00-05:00", "2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00")
	})
	t.Run("8 year field is rejected", func(t *testing.T) {
		assertRejected(t, "0 0 1 1 * 2020/2", "0 0 0 1 1 * 2020/2")
	})
	t.Run("9 invalid items are rejected", func(t *testing.T) {
		assertRejected(t, "70/5 * * * *", "1-5-9 * * * *", "+5 * * * *", "1-+5 * * * *", "MON * * * *", "1MON * * * *",
			"* * * * JAN", "* * * JANFEB *", "* * 0/5 * *", "* * * 0/5 *", "* * 0W * *", "* * 32W * *", "* * 99W * *",
			"* * 15W5 * *", "* * * * 1#6", "* * * * 1#0", "* * * * 9#1", "* * * * 1#1#1", "* * * * 8L", "* * * * 9L",
			"* * * * 5Lx", "*/100 * * * *")
	})
	t.Run("10 invalid steps and line breaks are rejected", func(t *testing.T) {
		assertRejected(t, "1-5/2/3 * * * *", "* * *\n* *")
		requireSlots(t, "\n0 * * * *\r\n", "UTC", "2026-06-01T12:00Z", "2026-06-01T13:00Z")
	})
}

// gronx is correct for well-formed expressions in UTC, so its results must be
// the same. This also verifies times of day, which the package matches itself.
func TestScheduleMatchesGronxInUTC(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(lo, hi int) int { return lo + random.IntN(hi-lo+1) }
	item := func(lo, hi int) string {
		a, b := pick(lo, hi), pick(lo, hi)
		a, b = min(a, b), max(a, b)
		return [...]string{
			fmt.Sprint(a), fmt.Sprintf("%d-%d", a, b), fmt.Sprintf("%d-%d/%d", a, b, pick(1, 7)),
		}[pick(0, 2)]
	}
	list := func(lo, hi int, specials ...func() string) string {
		if pick(0, 2) == 0 {
			return "*"
		}
		var items []string
		for range pick(1, 3) {
			if len(specials) > 0 && pick(0, 3) == 0 {
				items = append(items, specials[pick(0, len(specials)-1)]())
			} else {
				items = append(items, item(lo, hi))
			}
		}
		return strings.Join(items, ",")
	}
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	for range rounds {
		expr := strings.Join([]string{
			list(0, 59), list(0, 59), list(0, 23),
			list(1, 31, func() string { return "L" }, func() string { return fmt.Sprintf("%dW", pick(1, 31)) }),
			list(1, 12),
			list(0, 7, func() string { return fmt.Sprintf("%d#%d", pick(0, 7), pick(1, 5)) }, func() string { return fmt.Sprintf("%dL", pick(0, 7)) }),
		}, " ")
		s, err := cron.Parse(expr, "UTC")
		from := time.Unix(int64(pick(0, 4_000_000_000)), 0).UTC()
		if err != nil {
			require.ErrorIs(t, err, cron.ErrNever, expr)
			_, err = gronx.NextTickAfter(expr, from, false)
			require.Error(t, err, expr)
			continue
		}
		for range 3 {
			want, err := gronx.NextTickAfter(expr, from, false)
			require.NoError(t, err, expr)
			got, err := s.Next(from)
			require.NoError(t, err, expr)
			require.Equal(t, want, got, "%q after %s", expr, from)
			want, err = gronx.PrevTickBefore(expr, from, false)
			require.NoError(t, err, expr)
			prev, err := s.Prev(from)
			require.NoError(t, err, expr)
			require.Equal(t, want, prev, "%q before %s", expr, from)
			from = got
		}
	}
}
