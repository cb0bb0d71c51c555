package api_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
)

// preview returns the next slots of an expression in local time, each with the
// effect of a clock change.
func (h *host) preview(cron, zone, n string) (list []string) {
	h.Helper()
	body := h.get("/api/preview?" + url.Values{"cron": {cron}, "timeZone": {zone}, "n": {n}}.Encode())
	for _, slot := range items(body, "slots") {
		text := slot["local"].(string)
		if change, ok := slot["change"].(map[string]any); ok {
			text += " " + change["kind"].(string) + ": " + change["detail"].(string)
		}
		list = append(list, text)
	}
	return list
}

// Upcoming slots show whether a clock change moves or repeats them.
func TestUpcomingSlotsShowClockChanges(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.clock.Set(time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC))
		require.Equal(t, []string{
			"2026-03-29T03:00:00+02:00 MOVED: clocks go forward and 2026-03-29 02:30:00 does not occur: the slot runs right after the gap",
			"2026-03-30T02:30:00+02:00",
		}, h.preview("30 2 * * *", "Europe/Berlin", "2"))
		got := h.get("/api/schedules/nightly/upcoming?n=1")
		require.Equal(t, []any{"30 2 * * *", "Europe/Berlin", "Every day at 02:30", ""}, []any{got["cron"], got["timeZone"], got["description"], got["problem"]})
		require.Equal(t, "2026-03-29T01:00:00Z", items(got, "slots")[0]["at"])

		h.clock.Set(time.Date(2026, 10, 24, 23, 40, 0, 0, time.UTC))
		require.Equal(t, []string{
			"2026-10-25T02:30:00+02:00 REPEATED: clocks go back and 2026-10-25 02:30:00 occurs twice: the slot runs only the first time",
			"2026-10-26T02:30:00+01:00",
		}, h.preview("30 2 * * *", "Europe/Berlin", "2"))
		require.Equal(t, []string{
			"2026-10-25T02:30:00+02:00 REPEATED: clocks go back and 2026-10-25 02:30:00 occurs twice: the slot runs both times, this is the first",
			"2026-10-25T02:30:00+01:00 REPEATED: clocks go back and 2026-10-25 02:30:00 occurs twice: the slot runs both times, this is the second",
			"2026-10-25T03:30:00+01:00",
		}, h.preview("30 * * * *", "Europe/Berlin", "3"))
	})
}

func TestUpcomingSlotsOfDisabledSchedule(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		slots := items(h.get("/api/schedules/hourly/upcoming"), "slots")
		require.Len(t, slots, 10)
		require.Equal(t, []any{"2026-06-01T13:00:00Z", "2026-06-01T13:00:00Z", nil}, []any{slots[0]["at"], slots[0]["local"], slots[0]["change"]})
		require.Equal(t, "2026-06-01T22:00:00Z", slots[9]["at"])
	})
}

// The preview accepts any expression. The zone defaults to UTC.
func TestPreviewListsSlots(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		got := h.get("/api/preview?cron=*/20+9-17+*+*+MON-FRI&n=1")
		require.Equal(t, []any{"UTC", "Every 20 minutes from 09:00 to 17:40, Monday to Friday"}, []any{got["timeZone"], got["description"]})
		require.Equal(t, []string{"2026-06-01T14:15:00+02:00"}, h.preview("*/15 * * * *", "Europe/Berlin", "1"))
		require.Equal(t, 100, len(h.preview("* * * * * *", "UTC", "100")))
		h.clock.Set(time.Date(9999, 12, 31, 22, 0, 0, 0, time.UTC))
		require.Equal(t, []string{"9999-12-31T23:00:00Z"}, h.preview("@hourly", "UTC", "5"), "no more slots follow")
	})
}

// The number of statements of the list does not depend on the number of
// schedules. Up to 200 schedules take two more, unless a page has all: the
// handler reads them to count only what the user may view.
func TestListStatementsDoNotGrowWithSchedules(t *testing.T) {
	counts := map[string][]int{}
	large := 10_000
	if testing.Short() {
		large = 1000 // the race detector makes their sync ten times slower
	}
	for _, n := range []int{100, 250, large} {
		eachHost(t, setup{Config: hourbell.Config{Definitions: manyDefinitions(n)}}, func(t *testing.T, h *host) {
			h.clock.Set(noon.Add(15 * time.Minute))
			h.tick()
			extra := 0
			if n <= 200 {
				extra = 2
			}
			pool := newCountingPool(h.db)
			counted := newHostUnsynced(t, h.db, setup{Config: hourbell.Config{Definitions: manyDefinitions(n)}, pool: pool.handle(t, h.db)})
			for _, query := range []string{"limit=10", "limit=200", "limit=200&sort=nextRunAt&state=ENABLED&search=e"} {
				queries := pool.count(func() { require.NotEmpty(t, items(counted.get("/api/schedules?"+query), "schedules")) })
				if query != "limit=200" {
					queries -= extra
				}
				counts[h.db.Dialect] = append(counts[h.db.Dialect], queries)
			}
			page := pool.count(func() { counted.fetch("/?sort=nextRunAt&state=ENABLED") })
			require.Equal(t, 5+extra, page, "the same and the health")
		})
	}
	for database, list := range counts {
		require.Len(t, list, 9)
		for _, n := range list {
			require.Equal(t, 4, n, "%s: %v", database, list) // counts, schedules, outcomes, tallies
		}
	}
}
