package admin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/cron"
)

// enabledSchedule returns an enabled schedule with outcomes.
func enabledSchedule(t *testing.T, expression, zone string, outcomes ...hourbell.Outcome) scheduleView {
	t.Helper()
	slots, err := cron.Parse(expression, zone)
	require.NoError(t, err)
	next, err := slots.Next(noon)
	require.NoError(t, err)
	return scheduleView{
		scheduleJSON: scheduleJSON{ID: "a", Name: "A", State: hourbell.StateEnabled, Enabled: true, NextRunAt: timestamp{next}},
		schedule:     hourbell.Schedule{ReadAt: noon, NextRunAt: next, Outcomes: outcomes},
		slots:        &slots,
	}
}

// fires returns outcomes of cron slots at the given durations before noon.
func fires(kind hourbell.OutcomeKind, before ...time.Duration) []hourbell.Outcome {
	list := []hourbell.Outcome{}
	for _, d := range before {
		slot := noon.Add(-d)
		list = append(list, hourbell.Outcome{Kind: kind, Trigger: hourbell.TriggerCron, SlotFrom: slot, SlotTo: slot, At: slot, Count: 1, RunID: 1})
	}
	return list
}

func TestMarksAreAtTheirTimes(t *testing.T) {
	s := newStrip(enabledSchedule(t, "0 18 * * *", "UTC", fires(hourbell.OutcomeFired, 0, 3*time.Hour, 12*time.Hour, 12*time.Hour+time.Second)...), noon)
	require.Equal(t, []mark{
		{"0.00%", "fired", "Mon 1 Jun 00:00 UTC: fired on time"},
		{"37.50%", "fired", "Mon 1 Jun 09:00 UTC: fired on time"},
		{"50.00%", "fired", "Mon 1 Jun 12:00 UTC: fired on time"},
		{"75.00%", "upcoming", "Mon 1 Jun 18:00 UTC: upcoming"},
	}, s.Marks, "an outcome more than twelve hours ago is omitted")
	require.Empty(t, s.Bands)
	require.Equal(t, "last 12 hours: 3 fired, 0 of them failed, 0 slots skipped; next Mon 1 Jun 18:00 UTC, 1 in the next 12 hours", s.Text)
}

func TestSkippedRangeIsBand(t *testing.T) {
	skip := hourbell.Outcome{Kind: hourbell.OutcomeSkipped, Trigger: hourbell.TriggerCron, SlotFrom: noon.Add(-15 * time.Hour), SlotTo: noon.Add(-6 * time.Hour), Count: 10, Reason: hourbell.SkipLate}
	s := newStrip(enabledSchedule(t, "0 * * * *", "UTC", skip), noon)
	require.Equal(t, []band{{
		"0.00%", "25.00%", "skipped", "Sun 31 May 21:00 UTC to Mon 1 Jun 06:00 UTC: 10 slots skipped, no worker claimed it within its grace",
	}}, s.Bands)
	require.Len(t, s.Marks, 12)
}

// A strip with too many marks shows bands. Each has the class of its worst
// outcome, and the counts are complete.
func TestCrowdedStripShowsBands(t *testing.T) {
	var past []hourbell.Outcome
	for before := 5 * time.Minute; before <= 4*time.Hour; before += 5 * time.Minute {
		kind := hourbell.OutcomeFired
		if before == 2*time.Hour+5*time.Minute {
			kind = hourbell.OutcomeFailed
		}
		past = append(past, fires(kind, before)...)
	}
	past = append(past, hourbell.Outcome{Kind: hourbell.OutcomeSkipped, Trigger: hourbell.TriggerCron, SlotFrom: noon.Add(-6 * time.Hour), SlotTo: noon.Add(-4*time.Hour - 5*time.Minute), Count: 24, Reason: hourbell.SkipLate})
	s := newStrip(enabledSchedule(t, "*/5 * * * *", "UTC", past...), noon)
	classes := []string{}
	for _, b := range s.Bands {
		classes = append(classes, b.Class+" "+b.X)
	}
	require.Equal(t, []string{"skipped 25.00%", "fired 33.33%", "failed 40.62%", "fired 41.67%", "upcoming 50.00%"}, classes)
	require.Equal(t, "Mon 1 Jun 09:45 UTC to Mon 1 Jun 10:00 UTC: 3 fired, 1 failed, 0 skipped", s.Bands[2].Text)
	require.Equal(t, "Mon 1 Jun 06:00 UTC to Mon 1 Jun 08:00 UTC: 0 fired, 0 failed, 24 skipped", s.Bands[0].Text)
	require.Contains(t, s.Text, "48 fired, 1 of them failed, 24 slots skipped; next Mon 1 Jun 12:05 UTC, and more than 16")
}

func TestUpcomingBandsEndWithTheirSlots(t *testing.T) {
	s := newStrip(enabledSchedule(t, "*/5 14-15,20 * * *", "UTC"), noon)
	require.Equal(t, []string{"58.33% 8.33%", "83.33% 4.17%"}, []string{s.Bands[0].X + " " + s.Bands[0].Width, s.Bands[1].X + " " + s.Bands[1].Width})
	require.Len(t, s.Bands, 2)
}

// If there are more outcomes than the page reads, a band marks the part of the
// strip without data.
func TestOmittedOutcomesAreMarked(t *testing.T) {
	var past []hourbell.Outcome
	for i := range timelineOutcomes {
		past = append(past, fires(hourbell.OutcomeFired, time.Duration(i+1)*time.Minute)...)
	}
	s := newStrip(enabledSchedule(t, "* * * * *", "UTC", past...), noon)
	omitted := []band{}
	for _, b := range s.Bands {
		if b.Class == "omitted" {
			omitted = append(omitted, b)
		}
	}
	require.Equal(t, []band{{"0.00%", "39.58%", "omitted", "before Mon 1 Jun 09:30 UTC: too many outcomes to show"}}, omitted)
}

// A due slot that has not fired has a mark of its own. Disabled and removed
// schedules have no upcoming slots.
func TestStripShowsState(t *testing.T) {
	due := enabledSchedule(t, "0 * * * *", "UTC")
	due.NextRunAt = timestamp{noon.Add(-10 * time.Minute)}
	marks := newStrip(due, noon).Marks
	require.Equal(t, mark{"49.31%", "due", "Mon 1 Jun 11:50 UTC: due, not fired yet"}, marks[0])
	for state, text := range map[hourbell.ScheduleState]string{hourbell.StateDisabled: "; disabled", hourbell.StateRemoved: "; removed from code"} {
		s := enabledSchedule(t, "0 * * * *", "UTC")
		s.State, s.Enabled = state, false
		strip := newStrip(s, noon)
		require.Empty(t, strip.Marks)
		require.True(t, strip.Dim)
		require.Contains(t, strip.Text, text)
	}
	unparsable := enabledSchedule(t, "0 * * * *", "UTC")
	unparsable.slots = nil
	require.Empty(t, newStrip(unparsable, noon).Marks)
	rare := newStrip(enabledSchedule(t, "0 3 * * *", "UTC"), noon)
	require.Contains(t, rare.Text, "none in the next 12 hours")
}

// After the clock was stepped back, settled slots are not upcoming.
func TestSettledSlotsAreNotUpcoming(t *testing.T) {
	s := enabledSchedule(t, "0 * * * *", "UTC")
	s.schedule.SettledThrough = noon.Add(3 * time.Hour)
	require.Equal(t, "66.67%", newStrip(s, noon).Marks[0].X)
}

func TestTicksDoNotOverlapNow(t *testing.T) {
	labels := []string{}
	for _, tick := range newTimeline(nil, noon.Add(20*time.Minute)).Ticks {
		labels = append(labels, tick.Label)
	}
	require.Equal(t, []string{"03:00", "06:00", "09:00", "15:00", "18:00", "21:00", "00:00"}, labels)
}

// The upcoming bands begin with the stored next run, even if it is not a slot
// by the rules of this process.
func TestUpcomingBandsBeginWithNextRun(t *testing.T) {
	s := enabledSchedule(t, "0-9 * * * *", "UTC")
	s.schedule.NextRunAt = noon.Add(3*time.Hour + 37*time.Minute)
	s.NextRunAt = timestamp{s.schedule.NextRunAt}
	bands := newStrip(s, noon).Bands
	require.Len(t, bands, 9)
	require.Contains(t, bands[0].Text, "Mon 1 Jun 15:30 UTC to Mon 1 Jun 15:45 UTC: upcoming")
	require.Contains(t, bands[1].Text, "Mon 1 Jun 16:00 UTC to Mon 1 Jun 16:15 UTC: upcoming")
}
