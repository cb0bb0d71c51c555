package lookahead

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

func definition(t *testing.T, id, expression, zone string) Definition {
	t.Helper()
	slots, err := cron.Parse(expression, zone)
	require.NoError(t, err)
	return Definition{ID: id, Cron: expression, TimeZone: zone, Slots: slots}
}

// The table knows the next slot of each expression, and the one after it, for
// any time that it is moved to.
func TestTableDue(t *testing.T) {
	table := New([]Definition{
		definition(t, "hourly", "0 * * * *", "UTC"),
		definition(t, "hourly too", "0 * * * *", "UTC"),
		definition(t, "elsewhere", "0 * * * *", "Asia/Kolkata"),
		definition(t, "quarter-hour", "*/15 * * * *", "UTC"),
	})
	due := func(at time.Time) map[string]time.Time {
		slots := map[string]time.Time{}
		for _, fire := range table.Due(at) {
			require.True(t, fire.Next.After(at))
			slots[fire.ScheduleID] = fire.Slot
		}
		return slots
	}
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	require.Len(t, table, 3)
	require.Empty(t, due(noon), "the table was not moved yet")

	table.MoveTo(noon.Add(-time.Second))
	require.Empty(t, due(noon.Add(-time.Nanosecond)))
	atNoon := map[string]time.Time{"hourly": noon, "hourly too": noon, "quarter-hour": noon}
	require.Equal(t, atNoon, due(noon))
	require.Equal(t, atNoon, due(noon.Add(15*time.Minute-time.Nanosecond)))
	require.Equal(t, map[string]time.Time{"hourly": noon, "hourly too": noon}, due(noon.Add(16*time.Minute)),
		"the slot of the quarter-hour is no longer the latest")

	for _, at := range []time.Time{noon, noon.Add(15 * time.Minute), noon.Add(48 * time.Hour), noon.Add(-time.Hour)} {
		table.MoveTo(at)
		require.Empty(t, due(at), "the slots up to this time are settled")
	}
	table.MoveTo(noon.Add(48 * time.Hour))
	half := noon.Add(48*time.Hour + 30*time.Minute)
	require.Equal(t, map[string]time.Time{"elsewhere": half}, due(half), "of the quarter-hour, an earlier slot is due too")
}

func TestTableWithoutFurtherSlots(t *testing.T) {
	table := New([]Definition{definition(t, "leap", "0 0 29 2 *", "UTC")})
	table.MoveTo(time.Date(9990, 1, 1, 0, 0, 0, 0, time.UTC))
	require.Empty(t, table.Due(time.Date(9998, 12, 31, 0, 0, 0, 0, time.UTC)))
}

// Two processes with the same definitions process them in the same order.
func TestTableOrderIsStable(t *testing.T) {
	expressions := map[string]string{"a": "* * * * *", "b": "0 * * * *", "c": "*/2 * * * *", "d": "*/5 * * * *", "e": "0 * * * *"}
	for range 50 {
		var definitions []Definition
		for id, expression := range expressions {
			definitions = append(definitions, definition(t, id, expression, "UTC"))
		}
		var order []string
		for _, e := range New(definitions) {
			order = append(order, e.fires[0].ScheduleID)
		}
		require.Equal(t, []string{"a", "b", "c", "d"}, order)
	}
}
