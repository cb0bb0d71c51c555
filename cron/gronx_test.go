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

// What gronx 1.20.4 does wrong by itself, and this package does not pass on.
func TestGronxTrapsDoNotReachTheCaller(t *testing.T) {
	refused := func(t *testing.T, exprs ...string) {
		t.Helper()
		for _, expr := range exprs {
			_, err := cron.Parse(expr, "UTC")
			assert.Error(t, err, "%q", expr)
		}
	}
	// The verdict hung on the minute at which the process started: items behind a due one were not looked at.
	t.Run("1 validity does not depend on when the process started", func(t *testing.T) {
		refused(t, "30-59,99 * * * *", "0-29,99 * * * *", "*,99 * * * *", "* *,24 * * *", "* * * * 0-7,8")
		for minute := range 60 {
			refused(t, fmt.Sprintf("%d,99 * * * *", minute))
		}
	})
	// With nothing left to fire the reference itself came back, without an error: a scheduler would spin.
	t.Run("2 the answer always moves", func(t *testing.T) {
		refused(t, "0 0 1 1 * 2026", "0 0 0 1 1 * 2026")
		s := parse(t, "0 0 31 12 *", "UTC")
		last := at(t, "9999-12-31T00:00Z")
		_, err := s.Next(last)
		assert.ErrorIs(t, err, cron.ErrNever)
		s = parse(t, "0 0 1 1 *", "UTC")
		_, err = s.Prev(at(t, "0002-01-01T00:00Z"))
		assert.ErrorIs(t, err, cron.ErrNever)
		// And where gronx was handed a zone in which it returned its argument.
		follow(t, "0 12 * * 1", "America/Havana", "2026-03-02T12:00-05:00", "2026-03-09T12:00-04:00")
	})
	t.Run("3 a month may start in a gap", func(t *testing.T) {
		follow(t, "0 0 1 * *", "America/Asuncion", "2017-09-30T08:00-04:00", "2017-10-01T01:00-03:00", "2017-11-01T00:00-03:00")
	})
	t.Run("4 no time is lost or doubled by spelling in an overlap", func(t *testing.T) {
		follow(t, "0 * * * *", "America/New_York", "2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00", "2026-11-01T02:00-05:00")
		follow(t, "30 1 * * *", "America/New_York", "2026-11-01T01:15-04:00", "2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00")
		follow(t, "*/30 1 * * *", "America/New_York", "2026-11-01T01:15-04:00", "2026-11-01T01:30-04:00", "2026-11-02T01:00-05:00")
		follow(t, "*/15 * * * *", "Australia/Lord_Howe", "2026-04-05T01:20+11:00",
			"2026-04-05T01:30+11:00", "2026-04-05T01:45+11:00", "2026-04-05T01:30+10:30", "2026-04-05T01:45+10:30", "2026-04-05T02:00+10:30")
	})
	t.Run("5 looking back through an overlap", func(t *testing.T) {
		prev, err := parse(t, "*/15 * * * *", "America/New_York").Prev(at(t, "2026-11-01T01:10-05:00"))
		require.NoError(t, err)
		assert.Equal(t, at(t, "2026-11-01T01:00-05:00").UTC(), prev)
		prev, err = parse(t, "0 * * * *", "America/New_York").Prev(at(t, "2026-11-01T01:00-05:00"))
		require.NoError(t, err)
		assert.Equal(t, at(t, "2026-11-01T01:00-04:00").UTC(), prev)
	})
	t.Run("6 an asterisk with a step is a restricted day field", func(t *testing.T) {
		follow(t, "0 0 */2 * 1", "UTC", "2026-06-01T00:00Z", "2026-06-03T00:00Z", "2026-06-05T00:00Z", "2026-06-07T00:00Z", "2026-06-08T00:00Z")
		follow(t, "0 0 10 * */3", "UTC", "2026-06-01T00:00Z", "2026-06-03T00:00Z", "2026-06-06T00:00Z", "2026-06-07T00:00Z", "2026-06-10T00:00Z")
	})
	t.Run("7 set times in a gap are not dropped for the day", func(t *testing.T) {
		follow(t, "30 2 * * *", "America/New_York", "2026-03-07T07:00-05:00", "2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00")
	})
	t.Run("8 there is no year field to be called unreachable", func(t *testing.T) {
		refused(t, "0 0 1 1 * 2020/2", "0 0 0 1 1 * 2020/2")
	})
	t.Run("9 what gronx calls valid", func(t *testing.T) {
		refused(t, "70/5 * * * *", "1-5-9 * * * *", "+5 * * * *", "1-+5 * * * *", "MON * * * *", "1MON * * * *",
			"* * * * JAN", "* * * JANFEB *", "* * 0/5 * *", "* * * 0/5 *", "* * 0W * *", "* * 32W * *", "* * 99W * *",
			"* * 15W5 * *", "* * * * 1#6", "* * * * 1#0", "* * * * 9#1", "* * * * 1#1#1", "* * * * 8L", "* * * * 9L",
			"* * * * 5Lx", "*/100 * * * *")
	})
	t.Run("10 a search alone does not validate", func(t *testing.T) {
		refused(t, "1-5/2/3 * * * *", "\n* * * * *", "* * * * *\n")
	})
}

// On a calendar without clock changes, and for clean expressions, gronx is right; then the two agree on every field.
// This is also what stands for the part of the work that gronx does not do here, the time of day.
func TestAgreesWithGronxOnCleanExpressionsInUTC(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(lo, hi int) int { return lo + random.IntN(hi-lo+1) }
	item := func(lo, hi int) string {
		a, b := pick(lo, hi), pick(lo, hi)
		a, b = min(a, b), max(a, b)
		return [...]string{
			fmt.Sprint(a), fmt.Sprintf("%d-%d", a, b), fmt.Sprintf("%d-%d/%d", a, b, pick(1, 9)),
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
			back, err := s.Prev(from)
			require.NoError(t, err, expr)
			require.Equal(t, want, back, "%q before %s", expr, from)
			from = got
		}
	}
}
