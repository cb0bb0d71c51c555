package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// The handler calls Authorize with the action before it reads anything.
func TestAuthorizeGetsEachAction(t *testing.T) {
	var actions []admin.Action
	var refusal error
	s := setup{admin: admin.Config{Authorize: func(_ *http.Request, action admin.Action) (string, error) {
		actions = append(actions, action)
		return "ada", refusal
	}}}
	h := newHost(t, dbtest.SQLite(t), s)
	all := operations(h.newRun())
	want := map[string]admin.Action{
		"health": {Verb: admin.Probe}, "enqueueAll": {Verb: admin.Enqueue},
		"enqueueGroup": {Verb: admin.Enqueue, Group: "feed"}, "enqueueJob": {Verb: admin.Enqueue, Job: "import"},
		"enableSchedule": {Verb: admin.Enable, ScheduleID: "hourly"}, "disableSchedule": {Verb: admin.Disable, ScheduleID: "hourly"},
		"runSchedule": {Verb: admin.Run, ScheduleID: "hourly"}, "unlockSchedule": {Verb: admin.Unlock, ScheduleID: "hourly"},
		"showSchedule": {Verb: admin.View, ScheduleID: "hourly"}, "listScheduleRuns": {Verb: admin.View, ScheduleID: "hourly"},
		"listScheduleEvents": {Verb: admin.View, ScheduleID: "hourly"}, "listUpcoming": {Verb: admin.View, ScheduleID: "hourly"},
	}
	require.NoError(t, h.db.SQL().Close()) // a read would fail
	for err, status := range map[error]int{
		errors.New("bob is not allowed"):                   http.StatusForbidden,
		fmt.Errorf("%w: log in", admin.ErrUnauthenticated): http.StatusUnauthorized,
	} {
		refusal = err
		for _, o := range all {
			actions = nil
			body := h.call(status, request{method: o.method, path: o.withParam("nonsense=1")})
			require.Equal(t, refusal.Error(), body["detail"], o.id)
			expected, known := want[o.id]
			if !known {
				expected = admin.Action{Verb: admin.View}
			}
			require.Equal(t, []admin.Action{expected}, actions, o.id)
			require.Equal(t, o.writes(), expected.Verb.Writes(), o.id)
		}
	}
}

func TestReadOnlyRefusesEveryWrite(t *testing.T) {
	eachHost(t, setup{admin: admin.Config{ReadOnly: true}}, func(t *testing.T, h *host) {
		h.requireUnchanged(func() {
			for _, o := range operations(1.0) {
				if o.writes() {
					require.Equal(t, "read-only", h.call(http.StatusForbidden, request{method: "POST", path: o.path})["code"], o.id)
				}
			}
		})
		h.get("/api/schedules")
	})
}

// A page of another origin may not write. Pages of the same or a trusted origin
// and clients other than browsers may.
func TestWritesRequireSameOrigin(t *testing.T) {
	s := setup{admin: admin.Config{TrustedOrigins: []string{"https://admin.example.com"}}}
	eachHost(t, s, func(t *testing.T, h *host) {
		h.requireUnchanged(func() {
			for _, header := range []map[string]string{
				{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example.com"}, {"Origin": "null"},
			} {
				for _, o := range operations(1.0) {
					if o.writes() {
						body := h.call(http.StatusForbidden, request{method: "POST", path: o.path, header: header})
						require.Equal(t, "cross-origin", body["code"], o.id)
					}
				}
			}
		})
		for _, header := range []map[string]string{
			{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "cross-site", "Origin": "https://admin.example.com"}, {},
		} {
			h.call(http.StatusCreated, request{method: "POST", path: "/api/enqueue/jobs/import", header: header})
		}
		h.call(http.StatusOK, request{method: "GET", path: "/api/schedules", header: map[string]string{"Sec-Fetch-Site": "cross-site"}})
	})
}

// O5: every write leaves an event with the actor and the note.
func TestEveryWriteLeavesEvent(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("nightly")
		for i, o := range operations(h.newRun()) {
			if !o.writes() || o.id == "unlockSchedule" { // TestLockIsShownAndCleared tests it
				continue
			}
			if o.id == "disableSchedule" {
				o.path = "/api/schedules/nightly/disable"
			}
			note := fmt.Sprint("note ", i)
			res := h.send(request{method: "POST", path: o.path, body: fmt.Sprintf(`{"note": %q}`, note)})
			require.Less(t, res.StatusCode, 300)
			events, err := h.scheduler.Events(t.Context(), hourbell.EventQuery{Limit: 1})
			require.NoError(t, err)
			require.Equal(t, []string{"ada", note}, []string{events[0].Actor, events[0].Note}, o.id)
		}
	})
}

// A GET writes nothing, even if a schedule is overdue.
func TestNoGETWrites(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("hourly")
		h.clock.Set(noon.Add(90 * time.Minute))
		all := operations(h.newRun())
		h.requireUnchanged(func() {
			for _, o := range all {
				if !o.writes() {
					h.get(o.path)
				}
			}
		})
	})
}

func TestNewRefusesInvalidConfig(t *testing.T) {
	scheduler, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{})
	require.NoError(t, err)
	_, err = admin.New(nil, admin.Config{Authorize: admin.AllowAll})
	require.ErrorContains(t, err, "the scheduler is nil")
	_, err = admin.New(scheduler, admin.Config{})
	require.ErrorContains(t, err, "Config.Authorize is missing")
	require.ErrorContains(t, err, "admin.AllowAll")
	_, err = admin.New(scheduler, admin.Config{Authorize: admin.AllowAll, TrustedOrigins: []string{"admin.example.com/x"}})
	require.ErrorContains(t, err, "Config.TrustedOrigins")
	actor, err := admin.AllowAll(nil, admin.Action{Verb: admin.Enqueue})
	require.NoError(t, err)
	require.Equal(t, "anonymous", actor)
}

// hidesSchedule returns an Authorize that refuses every action on a schedule,
// and every probe that shows it.
func hidesSchedule(hidden string) func(*http.Request, admin.Action) (string, error) {
	return func(_ *http.Request, action admin.Action) (string, error) {
		if action.ScheduleID == hidden {
			return "", errors.New("hidden from bob")
		}
		return "bob", nil
	}
}

// Rights to single schedules cover their runs, and every list. Totals count
// only what is shown.
func TestRightsToSchedulesCoverRunsAndLists(t *testing.T) {
	eachHost(t, setup{admin: admin.Config{Authorize: hidesSchedule("hourly")}}, func(t *testing.T, h *host) {
		for _, id := range []string{"hourly", "nightly", "hourly"} {
			_, err := h.scheduler.RunNow(t.Context(), id, hourbell.EnqueueOptions{})
			require.NoError(t, err)
		}
		h.newRun() // of no schedule
		hidden, err := h.scheduler.Runs(t.Context(), hourbell.RunQuery{ScheduleID: "hourly"})
		require.NoError(t, err)
		require.Len(t, hidden, 4)
		for _, path := range []string{
			"/api/runs?schedule=hourly", "/api/runs?job=import&schedule=hourly", "/api/schedules/hourly", "/api/schedules/hourly/runs", "/api/schedules/hourly/events",
			"/api/schedules/hourly/upcoming", fmt.Sprintf("/api/runs/%d", hidden[0].ID),
		} {
			require.Equal(t, "hidden from bob", h.call(http.StatusForbidden, request{method: "GET", path: path})["detail"], path)
		}

		require.Equal(t, []any{"", "nightly", "nightly", "nightly"}, column(h.readPages("/api/runs?limit=2", "runs", func() {}), "scheduleId"))
		require.Len(t, items(h.get("/api/runs?limit=4"), "runs"), 4)
		require.Empty(t, h.get("/api/runs?limit=4")["next"])
		require.Len(t, items(h.get("/api/runs?schedule=nightly"), "runs"), 3)

		for _, limit := range []int{1, 2, 50} {
			path := fmt.Sprintf("/api/schedules?limit=%d", limit)
			require.Equal(t, []any{"nightly", "shop/feed.v2:a"}, column(h.readPages(path, "schedules", func() {}), "id"), path)
			counts := h.get(path)["counts"].(map[string]any)
			require.Equal(t, []any{2.0, 1.0, 1.0}, []any{counts["all"], counts["enabled"], counts["disabled"]}, path)
		}
		require.Empty(t, items(h.get("/api/schedules?search=hourly"), "schedules"))
		require.Equal(t, 0.0, h.get("/api/schedules?search=hourly")["counts"].(map[string]any)["all"])

		h.enable("hourly")
		h.clock.Set(noon.Add(90 * time.Minute)) // overdue
		fleet := h.get("/api/health")["fleet"].(map[string]any)
		require.Equal(t, []any{"shop/feed.v2:a"}, column(items(fleet, "late"), "id"))
	})
}

// If Authorize hides schedules among more than one query selects by id, pages
// and totals are still exact.
func TestListsLeaveOutHiddenSchedulesAmongMany(t *testing.T) {
	const n = 1205
	mayView := func(id string) bool { return id < "schedule-00003" || id > "schedule-00009" }
	s := setup{Config: hourbell.Config{Definitions: manyDefinitions(n)}, admin: admin.Config{Authorize: func(_ *http.Request, action admin.Action) (string, error) {
		if action.ScheduleID != "" && !mayView(action.ScheduleID) {
			return "", errors.New("hidden from bob")
		}
		return "bob", nil
	}}}
	h := newHost(t, dbtest.SQLite(t), s)
	var want []any
	for _, d := range manyDefinitions(n) {
		if mayView(d.ID) {
			want = append(want, d.ID)
		}
	}
	require.Equal(t, want, column(h.readPages("/api/schedules?limit=200", "schedules", func() {}), "id"))
	all := h.get("/api/schedules?limit=5")
	require.Len(t, all["schedules"], 5)
	require.Equal(t, float64(len(want)), all["counts"].(map[string]any)["all"])
	for _, state := range []string{"ENABLED", "DISABLED"} {
		rows := h.readPages("/api/schedules?limit=200&state="+state, "schedules", func() {})
		require.Equal(t, float64(len(rows)), all["counts"].(map[string]any)[strings.ToLower(state)], state)
	}
}
