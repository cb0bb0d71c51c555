package hourbell

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// The timetable knows the coming slot of each expression and zone, and the one after, for whatever instant it is moved to.
func TestTimetable(t *testing.T) {
	definitions := map[string]*definition{}
	for id, d := range map[string]Definition{
		"hourly":       {Cron: "0 * * * *", TimeZone: "UTC"},
		"hourly too":   {Cron: "0 * * * *", TimeZone: "UTC"},
		"elsewhere":    {Cron: "0 * * * *", TimeZone: "Asia/Kolkata"},
		"quarter-hour": {Cron: "*/15 * * * *", TimeZone: "UTC"},
	} {
		d.ID = id
		slots, err := cron.Parse(d.Cron, d.TimeZone)
		require.NoError(t, err)
		definitions[id] = &definition{Definition: d, slots: slots}
	}
	table := newTimetable(definitions)
	due := func(at time.Time) map[string]time.Time {
		slots := map[string]time.Time{}
		for _, a := range table.due(at) {
			require.True(t, a.at.then.After(at))
			slots[a.ID] = a.at.coming
		}
		return slots
	}
	noon := on(t, "12:00:00")
	require.Len(t, table, 3)
	require.Empty(t, due(noon), "before it was moved anywhere it knows nothing")

	table.moveTo(noon.Add(-time.Second))
	require.Empty(t, due(noon.Add(-time.Nanosecond)))
	atNoon := map[string]time.Time{"hourly": noon, "hourly too": noon, "quarter-hour": noon}
	require.Equal(t, atNoon, due(noon))
	require.Equal(t, atNoon, due(noon.Add(15*time.Minute-time.Nanosecond)))
	require.Equal(t, map[string]time.Time{"hourly": noon, "hourly too": noon}, due(noon.Add(16*time.Minute)), "the quarter's slot is no longer the latest")

	for _, at := range []time.Time{noon, noon.Add(15 * time.Minute), noon.Add(48 * time.Hour), noon.Add(-time.Hour)} {
		table.moveTo(at)
		require.Empty(t, due(at), "it has been dealt with")
	}
	table.moveTo(noon.Add(48 * time.Hour))
	half := noon.Add(48*time.Hour + 30*time.Minute)
	require.Equal(t, map[string]time.Time{"elsewhere": half}, due(half), "the quarter before it is late")
}

func TestALineThatEndsNeverComesDue(t *testing.T) {
	slots, err := cron.Parse("0 0 29 2 *", "UTC")
	require.NoError(t, err)
	table := newTimetable(map[string]*definition{"leap": {Definition: Definition{ID: "leap"}, slots: slots}})
	table.moveTo(time.Date(9990, 1, 1, 0, 0, 0, 0, time.UTC))
	require.Empty(t, table.due(time.Date(9998, 12, 31, 0, 0, 0, 0, time.UTC)))
}

// Two processes with the same definitions go through them in the same order, at every start.
func TestATimetableHasOneOrder(t *testing.T) {
	definitions := map[string]*definition{}
	for id, expression := range map[string]string{"a": "* * * * *", "b": "0 * * * *", "c": "*/2 * * * *", "d": "*/5 * * * *", "e": "0 * * * *"} {
		d := Definition{ID: id, Cron: expression, TimeZone: "UTC"}
		definitions[id] = &definition{Definition: d}
	}
	for range 50 {
		var order []string
		for _, l := range newTimetable(definitions) {
			order = append(order, l.definitions[0].ID)
		}
		require.Equal(t, []string{"a", "b", "c", "d"}, order)
	}
}
