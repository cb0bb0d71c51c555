package cron_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// mustParse returns the schedule of a valid expression and zone.
func mustParse(t testing.TB, expr, zone string) cron.Schedule {
	t.Helper()
	s, err := cron.Parse(expr, zone)
	require.NoError(t, err, "%q in %q", expr, zone)
	return s
}

// parseTime parses a time such as 2026-03-08T01:00-05:00, with or without
// seconds.
func parseTime(t testing.TB, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse("2006-01-02T15:04Z07:00", text)
	if err != nil {
		parsed, err = time.Parse(time.RFC3339Nano, text)
	}
	require.NoError(t, err)
	return parsed
}

// requireSlots requires that the first slots after a time are the given ones.
func requireSlots(t *testing.T, expr, zone, after string, slots ...string) {
	t.Helper()
	s := mustParse(t, expr, zone)
	from := parseTime(t, after)
	for _, want := range slots {
		slot, err := s.Next(from)
		require.NoError(t, err)
		require.Equal(t, parseTime(t, want).UTC(), slot, "%q in %s after %s: %s", expr, zone, from, slot.In(s.Location()))
		if prev, err := s.Prev(slot); assert.NoError(t, err) {
			assert.False(t, prev.After(from), "%q in %s: Prev of %s is %s", expr, zone, slot, prev)
		}
		from = slot
	}
}

// requireDayExists requires that an expression for a day of one month has a
// slot in that month within eight years, or that it never comes due.
func requireDayExists(t *testing.T, expr string, month int, exists bool) {
	t.Helper()
	s, err := cron.Parse(expr, "UTC")
	if !exists {
		assert.ErrorIs(t, err, cron.ErrNever, expr)
		return
	}
	require.NoError(t, err, expr)
	// The longest time without a 29 February is from 2096 to 2104.
	slot, err := s.Next(parseTime(t, "2096-03-01T00:00Z"))
	require.NoError(t, err, expr)
	assert.True(t, slot.Before(parseTime(t, "2104-03-01T00:00Z")), expr)
	assert.EqualValues(t, month, slot.Month(), expr)
}
