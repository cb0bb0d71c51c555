package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// The host is asked before anything is read, with what the request is about.
func TestTheHostIsAskedForEachAction(t *testing.T) {
	var asked []admin.Action
	refuse := error(nil)
	s := setup{admin: admin.Config{Authorize: func(_ *http.Request, action admin.Action) (string, error) {
		asked = append(asked, action)
		return "ada", refuse
	}}}
	h := newHost(t, dbtest.SQLite(t), s)
	all := operations(h.aRun())
	want := map[string]admin.Action{
		"health": {Verb: admin.Probe}, "enqueueAll": {Verb: admin.Enqueue},
		"enqueueGroup": {Verb: admin.Enqueue, Group: "feed"}, "enqueueJob": {Verb: admin.Enqueue, Job: "import"},
		"enableSchedule": {Verb: admin.Enable, ScheduleID: "hourly"}, "disableSchedule": {Verb: admin.Disable, ScheduleID: "hourly"},
		"runSchedule": {Verb: admin.Run, ScheduleID: "hourly"}, "unlockSchedule": {Verb: admin.Unlock, ScheduleID: "hourly"},
		"showSchedule": {Verb: admin.View, ScheduleID: "hourly"}, "listScheduleRuns": {Verb: admin.View, ScheduleID: "hourly"},
		"listScheduleEvents": {Verb: admin.View, ScheduleID: "hourly"}, "listUpcoming": {Verb: admin.View, ScheduleID: "hourly"},
	}
	require.NoError(t, h.db.SQL().Close()) // nothing can be read, and is not tried
	for refusal, status := range map[error]int{
		errors.New("bob may not"):                          http.StatusForbidden,
		fmt.Errorf("%w: log in", admin.ErrUnauthenticated): http.StatusUnauthorized,
	} {
		refuse = refusal
		for _, o := range all {
			asked = nil
			body := h.call(status, request{method: o.method, path: o.with("nonsense=1")})
			require.Equal(t, refusal.Error(), body["detail"], o.id)
			expected, known := want[o.id]
			if !known {
				expected = admin.Action{Verb: admin.View}
			}
			require.Equal(t, []admin.Action{expected}, asked, o.id)
			require.Equal(t, o.writes(), expected.Verb.Writes(), o.id)
		}
	}
}

func TestReadOnlyRefusesEveryWrite(t *testing.T) {
	eachHost(t, setup{admin: admin.Config{ReadOnly: true}}, func(t *testing.T, h *host) {
		h.untouched(func() {
			for _, o := range operations(1.0) {
				if o.writes() {
					require.Equal(t, "read-only", h.call(http.StatusForbidden, request{method: "POST", path: o.path})["code"], o.id)
				}
			}
		})
		h.get("/api/schedules")
	})
}

// A page of another origin may not write; one of the same origin, of a trusted one, and what is no browser may.
func TestWritesComeFromPagesOfTheSameOrigin(t *testing.T) {
	s := setup{admin: admin.Config{TrustedOrigins: []string{"https://admin.example.com"}}}
	eachHost(t, s, func(t *testing.T, h *host) {
		h.untouched(func() {
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

// O5: every write leaves an event with who did it and why.
func TestEveryWriteLeavesAnEvent(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("nightly")
		for i, o := range operations(h.aRun()) {
			if !o.writes() || o.id == "unlockSchedule" { // that is tested with a lock
				continue
			}
			if o.id == "disableSchedule" {
				o.path = "/api/schedules/nightly/disable"
			}
			note := fmt.Sprint("note ", i)
			a := h.send(request{method: "POST", path: o.path, body: fmt.Sprintf(`{"note": %q}`, note)})
			require.Less(t, a.StatusCode, 300)
			events, err := h.scheduler.Events(t.Context(), hourbell.EventQuery{Limit: 1})
			require.NoError(t, err)
			require.Equal(t, []string{"ada", note}, []string{events[0].Actor, events[0].Note}, o.id)
		}
	})
}

// A GET writes nothing, whatever there is to be seen.
func TestNoGETWrites(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("hourly")
		h.clock.Set(noon.Add(90 * 60 * 1e9)) // overdue
		all := operations(h.aRun())
		h.untouched(func() {
			for _, o := range all {
				if !o.writes() {
					h.get(o.path)
				}
			}
		})
	})
}

func TestNewRefusesWhatIsMissing(t *testing.T) {
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
