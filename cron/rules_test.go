package cron_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// parse is Parse for expressions that are right.
func parse(t testing.TB, expr, zone string) cron.Schedule {
	t.Helper()
	s, err := cron.Parse(expr, zone)
	require.NoError(t, err, "%q in %q", expr, zone)
	return s
}

// at reads an instant written as 2026-03-08T01:00-05:00, with or without seconds.
func at(t testing.TB, text string) time.Time {
	t.Helper()
	instant, err := time.Parse("2006-01-02T15:04Z07:00", text)
	if err != nil {
		instant, err = time.Parse(time.RFC3339Nano, text)
	}
	require.NoError(t, err)
	return instant
}

// follow expects that the slots after an instant are these.
func follow(t *testing.T, expr, zone, after string, slots ...string) {
	t.Helper()
	s := parse(t, expr, zone)
	from := at(t, after)
	for _, want := range slots {
		slot, err := s.Next(from)
		require.NoError(t, err)
		require.Equal(t, at(t, want).UTC(), slot, "%q in %s after %s: %s", expr, zone, from, slot.In(s.Location()))
		if back, err := s.Prev(slot); assert.NoError(t, err) {
			assert.False(t, back.After(from), "%q in %s: Prev of %s is %s", expr, zone, slot, back)
		}
		from = slot
	}
}

// T4, and R1 to R4 and R7 under it: what happens at a clock change, by example.
func TestClockChangeExamples(t *testing.T) {
	for _, c := range []struct {
		rule, expr, zone, after string
		slots                   []string
	}{
		{"R3", "30 2 * * *", "America/New_York", "2026-03-08T01:00-05:00", []string{"2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"}},
		{"R3", "30 2,3 * * *", "America/New_York", "2026-03-08T01:00-05:00", []string{"2026-03-08T03:00-04:00", "2026-03-08T03:30-04:00"}},
		{"R3", "*/15 2 * * *", "America/New_York", "2026-03-08T01:00-05:00", []string{"2026-03-08T03:00-04:00", "2026-03-09T02:00-04:00"}},
		{"R3", "0 */2 * * *", "America/New_York", "2026-03-08T00:30-05:00", []string{"2026-03-08T03:00-04:00", "2026-03-08T04:00-04:00"}},
		{"R3", "*/30 * * * *", "America/New_York", "2026-03-08T01:15-05:00", []string{"2026-03-08T01:30-05:00", "2026-03-08T03:00-04:00", "2026-03-08T03:30-04:00"}},
		{"R2", "30 1 * * *", "America/New_York", "2026-11-01T01:00-04:00", []string{"2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"}},
		{"R2", "30 1 * * *", "America/New_York", "2026-11-01T01:15-05:00", []string{"2026-11-02T01:30-05:00"}},
		{"R2", "*/30 1 * * *", "America/New_York", "2026-11-01T00:30-04:00", []string{"2026-11-01T01:00-04:00", "2026-11-01T01:30-04:00", "2026-11-02T01:00-05:00"}},
		{"R2", "*/30 * * * *", "America/New_York", "2026-11-01T01:15-04:00", []string{"2026-11-01T01:30-04:00", "2026-11-01T01:00-05:00", "2026-11-01T01:30-05:00", "2026-11-01T02:00-05:00"}},
		{"R3", "15 2 * * *", "Australia/Lord_Howe", "2026-10-04T00:30+10:30", []string{"2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"}},
		{"R2", "45 * * * *", "Australia/Lord_Howe", "2026-04-05T01:00+11:00", []string{"2026-04-05T01:45+11:00", "2026-04-05T01:45+10:30", "2026-04-05T02:45+10:30"}},
		{"R3", "0 0 * * *", "America/Sao_Paulo", "2018-11-03T09:00-03:00", []string{"2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"}},
		{"R2", "30 23 * * *", "America/Sao_Paulo", "2018-02-17T10:00-02:00", []string{"2018-02-17T23:30-02:00", "2018-02-18T23:30-03:00"}},
		{"R4", "0 9 * * *", "Pacific/Apia", "2011-12-29T10:00-10:00", []string{"2011-12-31T09:00+14:00"}},
		{"R3", "0 0 1 * *", "America/Asuncion", "2017-09-30T08:00-04:00", []string{"2017-10-01T01:00-03:00", "2017-11-01T00:00-03:00"}},
	} {
		t.Run(c.rule+" "+c.expr+" "+c.zone, func(t *testing.T) { follow(t, c.expr, c.zone, c.after, c.slots...) })
	}
	t.Run("R7 0 0 31 2 * UTC", func(t *testing.T) {
		_, err := cron.Parse("0 0 31 2 *", "UTC")
		assert.ErrorIs(t, err, cron.ErrNever)
	})
}

// R1: also where the offset is no multiple of an hour, or of a minute.
func TestR1ReadingShownOnceIsDueAtThatInstant(t *testing.T) {
	follow(t, "30 9 * * *", "Europe/Berlin", "2026-01-01T00:00Z", "2026-01-01T09:30+01:00", "2026-01-02T09:30+01:00")
	follow(t, "30 9 * * *", "Asia/Kolkata", "2026-01-01T00:00Z", "2026-01-01T04:00Z", "2026-01-02T04:00Z")
	follow(t, "30 9 * * *", "Asia/Kathmandu", "2026-01-01T00:00Z", "2026-01-01T09:30+05:45")
	follow(t, "5 9 30 6 * *", "", "2026-01-01T00:00Z", "2026-01-06T00:00Z"[:0]+"2026-01-30T00:00Z"[:0]+"2026-01-30T09:05Z"[:0]+"2026-06-30T00:00Z"[:0]+"2026-01-06T30:09Z"[:0]+"2026-01-01T00:00Z")
}
