package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

func TestEventsRoundTrip(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		full := hourbell.Event{
			Namespace: "test", ScheduleID: "a", Kind: hourbell.EventSkipped, Reason: hourbell.SkipLate, Actor: "anna", Note: "it's fine", SlotFrom: noon.Add(-time.Hour),
			SlotTo: noon.Add(-time.Minute), SlotCount: 1000, Detail: "at least 1000 slots",
		}
		bare := hourbell.Event{Namespace: "test", Kind: hourbell.EventRunNow, At: noon.Add(-time.Hour)} // the store sets At
		require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{full, bare}))
		require.NoError(t, s.InsertEvents(t.Context(), nil))
		got, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 10})
		require.NoError(t, err)
		require.Len(t, got, 2)
		require.Equal(t, hourbell.EventRunNow, got[0].Kind, "newest first")
		for i, want := range []hourbell.Event{bare, full} {
			want.ID, want.At = got[i].ID, noon
			require.Equal(t, want, got[i])
		}
	})
}

func TestEventsFilterAndPage(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		add := func(id string, kind hourbell.EventKind, note string) {
			require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{ScheduleID: id, Kind: kind, Note: note}}))
		}
		var want []string
		for i := range 20 {
			add("a", hourbell.EventEnabled, fmt.Sprint(i))
			add("b", hourbell.EventEnabled, "")
			add("a", hourbell.EventDisabled, "")
			want = append([]string{fmt.Sprint(i)}, want...)
		}
		for q, n := range map[hourbell.EventQuery]int{
			{Limit: 100}: 60, {ScheduleID: "a", Limit: 100}: 40, {Kind: hourbell.EventEnabled, Limit: 100}: 40, {ScheduleID: "b", Kind: hourbell.EventDisabled, Limit: 9}: 0,
		} {
			events, err := s.Events(t.Context(), q)
			require.NoError(t, err)
			require.Len(t, events, n, "%+v", q)
		}
		var got []string
		for q := (hourbell.EventQuery{ScheduleID: "a", Kind: hourbell.EventEnabled, Limit: 3}); ; {
			page, err := s.Events(t.Context(), q)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				got = append(got, e.Note)
			}
			q.Before = page[len(page)-1].ID
			add("a", hourbell.EventEnabled, "later")
		}
		require.Equal(t, want, got)
	})
}

// D2: LatestEvents returns the latest event of each kind for each schedule, and
// only of the kinds and schedules that are asked for.
func TestLatestEventsOfEachKind(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		for i, kind := range []hourbell.EventKind{
			hourbell.EventDefined, hourbell.EventEnabled, hourbell.EventSkipped, hourbell.EventDisabled, hourbell.EventEnabled, hourbell.EventSkipped,
		} {
			for _, id := range []string{"a", "b"} {
				require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{ScheduleID: id, Kind: kind, Note: fmt.Sprint(i)}}))
			}
		}
		other := bindStore(t, db.DB, "other", c.Now)
		require.NoError(t, other.InsertEvents(t.Context(), []hourbell.Event{{ScheduleID: "a", Kind: hourbell.EventEnabled, Note: "other"}}))

		events, err := s.LatestEvents(t.Context(), []string{"a", "unknown"}, []hourbell.EventKind{hourbell.EventEnabled, hourbell.EventDisabled, hourbell.EventRemoved})
		require.NoError(t, err)
		notes := map[hourbell.EventKind]string{}
		for _, e := range events {
			require.Equal(t, "a", e.ScheduleID)
			notes[e.Kind] = e.Note
		}
		require.Equal(t, map[hourbell.EventKind]string{hourbell.EventEnabled: "4", hourbell.EventDisabled: "3"}, notes)
		require.Len(t, events, 2)
	})
}
