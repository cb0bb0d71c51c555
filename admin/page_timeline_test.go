package admin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/cron"
)

// lives is a schedule with what became of it.
func lives(t *testing.T, expression, zone string, outcomes ...hourbell.Outcome) shown {
	t.Helper()
	slots, err := cron.Parse(expression, zone)
	require.NoError(t, err)
	next, err := slots.Next(noon)
	require.NoError(t, err)
	return shown{
		scheduleJSON: scheduleJSON{ID: "a", Name: "A", State: "ENABLED", Enabled: true, NextRunAt: instant{next}},
		slots:        &slots, outcomes: outcomes,
	}
}

// fired are outcomes of slots so long before noon, newest first.
func fired(kind string, before ...time.Duration) []hourbell.Outcome {
	list := []hourbell.Outcome{}
	for _, d := range before {
		slot := noon.Add(-d)
		list = append(list, hourbell.Outcome{Kind: kind, Trigger: "CRON", SlotFrom: slot, SlotTo: slot, At: slot, Count: 1, RunID: 1})
	}
	return list
}

func TestMarksAreWhereTheirInstantsAre(t *testing.T) {
	l := laneOf(lives(t, "0 18 * * *", "UTC", fired("FIRED", 0, 3*time.Hour, 12*time.Hour, 12*time.Hour+time.Second)...), noon)
	require.Equal(t, []mark{
		{"0.00%", "fired", "Mon 1 Jun 00:00 UTC: fired on time"},
		{"37.50%", "fired", "Mon 1 Jun 09:00 UTC: fired on time"},
		{"50.00%", "fired", "Mon 1 Jun 12:00 UTC: fired on time"},
		{"75.00%", "coming", "Mon 1 Jun 18:00 UTC: to come"},
	}, l.Marks, "what is more than twelve hours ago is left out")
	require.Empty(t, l.Bands)
	require.Equal(t, "last 12 hours: 3 fired, 0 of them failed, 0 slots skipped; next Mon 1 Jun 18:00 UTC, 1 in the next 12 hours", l.Text)
}

func TestASkippedRangeIsABand(t *testing.T) {
	skip := hourbell.Outcome{Kind: "SKIPPED", Trigger: "CRON", SlotFrom: noon.Add(-15 * time.Hour), SlotTo: noon.Add(-6 * time.Hour), Count: 10, Reason: "LATE"}
	l := laneOf(lives(t, "0 * * * *", "UTC", skip), noon)
	require.Equal(t, []band{{
		"0.00%", "25.00%", "skipped", "Sun 31 May 21:00 UTC to Mon 1 Jun 06:00 UTC: 10 slots skipped, nobody claimed it within its grace",
	}}, l.Bands)
	require.Len(t, l.Marks, 12)
}

// A lane with more marks than can be told apart shows bands, each as bad as the worst in it, and leaves nothing out.
func TestACrowdedLaneShowsBands(t *testing.T) {
	var past []hourbell.Outcome
	for before := 5 * time.Minute; before <= 4*time.Hour; before += 5 * time.Minute {
		kind := "FIRED"
		if before == 2*time.Hour+5*time.Minute {
			kind = "FAILED"
		}
		past = append(past, fired(kind, before)...)
	}
	past = append(past, hourbell.Outcome{Kind: "SKIPPED", Trigger: "CRON", SlotFrom: noon.Add(-6 * time.Hour), SlotTo: noon.Add(-4*time.Hour - 5*time.Minute), Count: 24, Reason: "LATE"})
	l := laneOf(lives(t, "*/5 * * * *", "UTC", past...), noon)
	kinds := []string{}
	for _, b := range l.Bands {
		kinds = append(kinds, b.Kind+" "+b.X)
	}
	require.Equal(t, []string{"skipped 25.00%", "fired 33.33%", "failed 40.62%", "fired 41.67%", "coming 50.00%"}, kinds)
	require.Equal(t, "Mon 1 Jun 09:45 UTC to Mon 1 Jun 10:00 UTC: 3 fired, 1 failed, 0 skipped", l.Bands[2].Text)
	require.Equal(t, "Mon 1 Jun 06:00 UTC to Mon 1 Jun 08:00 UTC: 0 fired, 0 failed, 24 skipped", l.Bands[0].Text)
	require.Contains(t, l.Text, "48 fired, 1 of them failed, 24 slots skipped; next Mon 1 Jun 12:05 UTC, and more than 16")
}

// What is crowded for a while only is a band for that while.
func TestComingBandsEndWhereTheSlotsDo(t *testing.T) {
	l := laneOf(lives(t, "*/5 14-15,20 * * *", "UTC"), noon)
	require.Equal(t, []string{"58.33% 8.33%", "83.33% 4.17%"}, []string{l.Bands[0].X + " " + l.Bands[0].Width, l.Bands[1].X + " " + l.Bands[1].Width})
	require.Len(t, l.Bands, 2)
}

// More outcomes than are read leave a stretch that says so.
func TestWhatIsNotReadIsNotShownAsSilence(t *testing.T) {
	var past []hourbell.Outcome
	for i := range drawn {
		past = append(past, fired("FIRED", time.Duration(i+1)*time.Minute)...)
	}
	l := laneOf(lives(t, "* * * * *", "UTC", past...), noon)
	untold := []band{}
	for _, b := range l.Bands {
		if b.Kind == "untold" {
			untold = append(untold, b)
		}
	}
	require.Equal(t, []band{{"0.00%", "39.58%", "untold", "before Mon 1 Jun 09:30 UTC: not shown here, there is more than fits"}}, untold)
}

// A slot that is due and has not fired stands out; disabled and removed schedules have nothing to come.
func TestTheStatesOfALane(t *testing.T) {
	due := lives(t, "0 * * * *", "UTC")
	due.NextRunAt = instant{noon.Add(-10 * time.Minute)}
	marks := laneOf(due, noon).Marks
	require.Equal(t, mark{"49.31%", "due", "Mon 1 Jun 11:50 UTC: due, not fired yet"}, marks[0])
	for state, words := range map[string]string{"DISABLED": "; disabled", "REMOVED": "; removed from code"} {
		s := lives(t, "0 * * * *", "UTC")
		s.State, s.Enabled = state, false
		l := laneOf(s, noon)
		require.Empty(t, l.Marks)
		require.True(t, l.Dim)
		require.Contains(t, l.Text, words)
	}
	unreadable := lives(t, "0 * * * *", "UTC")
	unreadable.slots = nil
	require.Empty(t, laneOf(unreadable, noon).Marks)
	rare := laneOf(lives(t, "0 3 * * *", "UTC"), noon)
	require.Contains(t, rare.Text, "none in the next 12 hours")
}

// Slots already settled are not to come, as after a step back of the clock.
func TestSettledSlotsAreNotToCome(t *testing.T) {
	s := lives(t, "0 * * * *", "UTC")
	s.row.SettledUntil = noon.Add(3 * time.Hour)
	require.Equal(t, "66.67%", laneOf(s, noon).Marks[0].X)
}

func TestTicksKeepClearOfNow(t *testing.T) {
	labels := []string{}
	for _, tick := range timelineOf(nil, noon.Add(20*time.Minute)).Ticks {
		labels = append(labels, tick.Label)
	}
	require.Equal(t, []string{"03:00", "06:00", "09:00", "15:00", "18:00", "21:00", "00:00"}, labels)
}
