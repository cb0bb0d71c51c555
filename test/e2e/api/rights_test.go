package api_test

import (
	"errors"
	"fmt"
	"net/http"
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
