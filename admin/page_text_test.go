package admin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func TestRelativeTimeText(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		0:                                "now",
		999 * time.Millisecond:           "now",
		time.Second:                      "in 1 s",
		-59 * time.Second:                "59 s ago",
		time.Minute:                      "in 1 min",
		-59*time.Minute - 59*time.Second: "59 min ago",
		time.Hour:                        "in 1 h",
		time.Hour + 5*time.Minute:        "in 1 h 5 min",
		-(23*time.Hour + 59*time.Minute): "23 h 59 min ago",
		day:                              "in 1 d",
		-(day + 3*time.Hour):             "1 d 3 h ago",
		10*day - time.Second:             "in 9 d 23 h",
		10*day + 3*time.Hour:             "in 10 d",
		-400 * day:                       "400 d ago",
	} {
		require.Equal(t, want, relTime{noon.Add(d), noon}.Relative(), d)
	}
	require.Equal(t, "12 ms", formatDuration(-12*time.Millisecond))
}

func TestLocalTimeText(t *testing.T) {
	zone := func(name string) *time.Location {
		location, err := time.LoadLocation(name)
		require.NoError(t, err)
		return location
	}
	require.Equal(t, "Mon 1 Jun 12:00 UTC", localTime(noon, time.UTC, noon))
	require.Equal(t, "Mon 1 Jun 14:00:07 CEST", localTime(noon.Add(7*time.Second), zone("Europe/Berlin"), noon))
	require.Equal(t, "Mon 1 Jun 09:00 UTC-03:00", localTime(noon, zone("America/Sao_Paulo"), noon), "the zone has no abbreviation")
	require.Equal(t, "Fri 1 Jan 2027 00:00 UTC", localTime(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.UTC, noon))
	newYear := time.Date(2026, 12, 31, 23, 30, 0, 0, time.UTC)
	require.Equal(t, "Fri 1 Jan 2027 00:30 CET", localTime(newYear, zone("Europe/Berlin"), noon), "the year is that of the zone")
}

func TestLatenessText(t *testing.T) {
	late := func(ms int64) *int64 { return &ms }
	require.Equal(t, []string{"", "on time", "on time", "1 s late", "1 h 1 min late"},
		[]string{latenessText(nil), latenessText(late(0)), latenessText(late(999)), latenessText(late(1000)), latenessText(late(3_660_000))})
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int]string{
		0: "0 KB", 1: "1 KB", 1024: "1 KB", 64<<10 + 1: "65 KB", 1<<20 - 1: "1024 KB", 1 << 20: "1.0 MB", 10<<20 + 60<<10: "10.1 MB",
	} {
		require.Equal(t, want, formatSize(n), n)
	}
}

func TestTargetText(t *testing.T) {
	require.Equal(t, "All jobs (2)", targetText(targetJSON{Kind: "ALL_JOBS", Jobs: []string{"a", "b"}}))
	require.Equal(t, "Group feed (1)", targetText(targetJSON{Kind: "GROUP", Group: "feed", Jobs: []string{"a"}}))
	require.Equal(t, "a, b, c", targetText(targetJSON{Kind: "JOBS", Jobs: []string{"a", "b", "c"}}))
	require.Equal(t, "a, b and 2 more", targetText(targetJSON{Kind: "JOBS", Jobs: []string{"a", "b", "c", "d"}}))
}

// The worst status comes last in the text and stands for the whole fire.
func TestRunsText(t *testing.T) {
	for _, c := range []struct {
		runs  *runsJSON
		worst hourbell.RunStatus
		text  string
	}{
		{nil, "", "enqueued"},
		{&runsJSON{Succeeded: 3}, hourbell.RunSucceeded, "3 succeeded"},
		{&runsJSON{Succeeded: 1, Queued: 2}, hourbell.RunQueued, "1 succeeded, 2 queued"},
		{&runsJSON{Succeeded: 1, Queued: 2, Running: 3}, hourbell.RunRunning, "1 succeeded, 2 queued, 3 running"},
		{&runsJSON{Running: 1, Failed: 1}, hourbell.RunFailed, "1 running, 1 failed"},
		{&runsJSON{Succeeded: 1000, AtLeast: true}, hourbell.RunSucceeded, "at least 1000 succeeded"},
	} {
		worst, text := runsText(c.runs)
		require.Equal(t, c.worst, worst)
		require.Equal(t, c.text, text)
	}
}

// Each reason has a text of its own.
func TestReasonText(t *testing.T) {
	require.Equal(t, "the time zone's rules have changed", reasonText(hourbell.SkipRulesChanged))
	require.Equal(t, "the stored time was not a slot of the expression", reasonText(hourbell.SkipNotASlot))
	for _, reason := range []hourbell.SkipReason{
		hourbell.SkipLate, hourbell.SkipSuperseded, hourbell.SkipAbandoned, hourbell.SkipDisabled, hourbell.SkipChanged, hourbell.SkipRemoved,
	} {
		require.NotEqual(t, lower(reason), reasonText(reason))
	}
}

func TestOutcomeText(t *testing.T) {
	slot := noon.Add(-time.Hour)
	for want, o := range map[string]hourbell.Outcome{
		"Mon 1 Jun 11:00 UTC: fired on time":                                       {Kind: hourbell.OutcomeFired, Trigger: hourbell.TriggerCron, SlotFrom: slot, SlotTo: slot, At: slot},
		"Mon 1 Jun 11:00 UTC: fired 2 s late, a run failed":                        {Kind: hourbell.OutcomeFailed, Trigger: hourbell.TriggerCron, SlotFrom: slot, SlotTo: slot, At: slot.Add(2 * time.Second)},
		"Mon 1 Jun 11:00 UTC: run now by ada":                                      {Kind: hourbell.OutcomeFired, Trigger: hourbell.TriggerManual, At: slot, Actor: "ada"},
		"Mon 1 Jun 11:00 UTC: run now, a run failed":                               {Kind: hourbell.OutcomeFailed, Trigger: hourbell.TriggerManual, At: slot},
		"Mon 1 Jun 11:00 UTC: skipped, the schedule was disabled":                  {Kind: hourbell.OutcomeSkipped, SlotFrom: slot, SlotTo: slot, Count: 1, Reason: hourbell.SkipDisabled},
		"Mon 1 Jun 10:00 UTC to Mon 1 Jun 11:00 UTC: 2 slots skipped, unknown":     {Kind: hourbell.OutcomeSkipped, SlotFrom: slot.Add(-time.Hour), SlotTo: slot, Count: 2, Reason: "UNKNOWN"},
		"Mon 1 Jun 10:00 UTC to Mon 1 Jun 11:00 UTC: 1000 or more slots skipped, ": {Kind: hourbell.OutcomeSkipped, SlotFrom: slot.Add(-time.Hour), SlotTo: slot, Count: 1000},
	} {
		require.Equal(t, want, outcomeText(o, time.UTC, noon))
	}
}
