package cron_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/hourbell/hourbell/cron"
)

// R2, R3: IsSlot is true for the slots only.
func TestIsSlotReportsSlotsOnly(t *testing.T) {
	for _, c := range []struct {
		expr, zone, at string
		want           bool
	}{
		{"0 2 * * *", "UTC", "2026-03-08T02:00:00Z", true},
		{"0 2 * * *", "UTC", "2026-03-08T03:00:00+01:00", true},
		{"0 2 * * *", "UTC", "2026-03-08T02:00:00.000000001Z", false},
		{"0 2 * * *", "UTC", "2026-03-08T02:00:01Z", false},
		{"0 2 * * *", "UTC", "2026-03-08T01:59:59Z", false},
		{"0 2 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z", true},
		{"0 2 * * *", "Europe/Berlin", "2026-07-01T01:00:00Z", false}, // the time in winter
		{"30 2 * * *", "America/New_York", "2026-03-08T03:00:00-04:00", true},
		{"30 2 * * *", "America/New_York", "2026-03-08T03:30:00-04:00", false},
		{"30 * * * *", "America/New_York", "2026-03-08T03:00:00-04:00", false},
		{"30 1 * * *", "America/New_York", "2026-11-01T01:30:00-04:00", true},
		{"30 1 * * *", "America/New_York", "2026-11-01T01:30:00-05:00", false},
		{"30 * * * *", "America/New_York", "2026-11-01T01:30:00-05:00", true},
		{"* * * * * *", "UTC", "0001-01-01T00:00:00Z", false},
		{"* * * * * *", "UTC", "0001-01-01T00:00:01Z", true},
		{"* * * * * *", "UTC", "9999-12-31T23:59:59Z", true},
	} {
		assert.Equal(t, c.want, mustParse(t, c.expr, c.zone).IsSlot(parseTime(t, c.at)), "%s in %s at %s", c.expr, c.zone, c.at)
	}
	assert.False(t, mustParse(t, "* * * * * *", "").IsSlot(time.Unix(1<<60, 0)))
	assert.False(t, cron.Schedule{}.IsSlot(parseTime(t, "2026-03-08T02:00Z")))
}
