package admin_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// byHand is a schedule that only operators run.
var byHand = hourbell.Definition{ID: "by-hand", Name: "By hand", Manual: true, Target: hourbell.AllJobs()}

// page returns the HTML of a page.
func (f *fixture) page(path string) string {
	f.Helper()
	_, body := f.serve("GET", path, "text/html")
	return body
}

// json returns the JSON object of a response of the API.
func (f *fixture) json(method, path string) (body map[string]any) {
	f.Helper()
	_, text := f.serve(method, path, "application/json")
	require.NoError(f, json.Unmarshal([]byte(text), &body))
	return body
}

// serve serves a request that must succeed.
func (f *fixture) serve(method, path, accept string) (status int, body string) {
	f.Helper()
	request := httptest.NewRequest(method, path, nil)
	request.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	f.ServeHTTP(w, request)
	require.Less(f, w.Code, 400, "%s %s: %s", method, path, w.Body)
	return w.Code, w.Body.String()
}

// between returns the part of a text between two others.
func between(t testing.TB, text, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, from)
	require.True(t, found, "no %q in %.3000s", from, text)
	part, _, found := strings.Cut(rest, to)
	require.True(t, found, "no %q after %q", to, from)
	return part
}

// The API shows a manual schedule without an expression, a next run, slots or a
// problem. Enabling it changes only what is shown.
func TestAPIShowsManualSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db, byHand)
		for _, enabled := range []bool{false, true} {
			if enabled {
				f.json("POST", "/api/schedules/by-hand/enable")
			}
			s := f.json("GET", "/api/schedules/by-hand")
			require.Equal(t, []any{true, "MANUAL", enabled, "", "", nil, nil, false, ""}, []any{
				s["manual"], s["state"], s["enabled"], s["cron"], s["cronDescription"], s["nextRunAt"], s["wouldRunAt"], s["overdue"], s["problem"],
			})
			upcoming := f.json("GET", "/api/schedules/by-hand/upcoming")
			require.Equal(t, []any{[]any{}, "", ""}, []any{upcoming["slots"], upcoming["problem"], upcoming["description"]})
			require.Equal(t, false, f.json("GET", "/api/schedules/on")["manual"])

			list := f.json("GET", "/api/schedules?state=MANUAL")
			require.Len(t, list["schedules"], 1)
			require.Equal(t, map[string]any{"all": 3.0, "enabled": 1.0, "disabled": 1.0, "overdue": 0.0, "failing": 0.0, "manual": 1.0, "removed": 0.0}, list["counts"])
		}
		runs := f.json("POST", "/api/schedules/by-hand/run")["runs"].([]any)
		require.Len(t, runs, 1)
		last := f.json("GET", "/api/schedules/by-hand")["lastRun"].(map[string]any)
		require.Equal(t, []any{"MANUAL", nil}, []any{last["trigger"], last["slot"]})
	})
}

// The pages show that a manual schedule is only run by operators. Nothing on
// them refers to an expression, slots or a grace.
func TestPagesShowManualSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db, byHand)
		for _, enabled := range []bool{false, true} {
			if enabled {
				require.NoError(t, f.scheduler.Enable(t.Context(), "by-hand", hourbell.ChangeOptions{}))
			}
			list := f.page("/")
			row := between(t, list, `id="row-by-hand"`, "</tr>")
			require.Contains(t, row, `<span class="badge">manual</span>`)
			require.Equal(t, !enabled, strings.Contains(row, `<span class="badge">disabled</span>`))
			require.Contains(t, row, `only operators run it`)
			require.Contains(t, row, `id="run-by-hand"><span>Run now`)
			require.NotContains(t, between(t, row, `<button id="switch-by-hand"`, ">"), "aria-disabled")
			strip := between(t, list, `id="strip-by-hand"`, "</li>")
			require.Contains(t, strip, "; manual")
			require.NotContains(t, strip, "<title>")
			require.Contains(t, list, "3 schedules: 1 enabled, 1 disabled, 1 manual")
			require.Contains(t, list, `?state=MANUAL">Manual <b>1</b>`)
			detail := between(t, f.page("/schedules/by-hand"), "<main", `<section id="events">`)
			require.Contains(t, detail, "It never comes due.")
			for _, text := range []string{row, detail} {
				for _, part := range []string{"overdue", "would be", "no upcoming slot", "class=\"error\"", "UTC</span>", "<code></code>", "Grace", "if it were enabled"} {
					require.NotContains(t, text, part)
				}
			}
			confirmation := f.page("/schedules/by-hand/run")
			require.Contains(t, confirmation, "1 job will be enqueued.")
			require.NotContains(t, confirmation, "stays disabled")
			require.NotContains(t, between(t, f.page("/schedules/by-hand/disable"), "<main", "</main>"), "fire")
		}
		require.Contains(t, f.page("/?state=MANUAL"), `id="row-by-hand"`)
		require.NotContains(t, f.page("/?state=MANUAL"), `id="row-on"`)
	})
}

// If Authorize hides schedules, the counts of the others count a manual one as
// manual only.
func TestCountsOfVisibleSchedulesHaveManual(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db, byHand)
		var err error
		f.Handler, err = admin.New(f.scheduler, admin.Config{Authorize: func(_ *http.Request, action admin.Action) (string, error) {
			if action.ScheduleID == "off" {
				return "", admin.ErrUnauthenticated
			}
			return "bob", nil
		}})
		require.NoError(t, err)
		require.NoError(t, f.scheduler.Enable(t.Context(), "by-hand", hourbell.ChangeOptions{}))
		counts := f.json("GET", "/api/schedules")["counts"]
		require.Equal(t, map[string]any{"all": 2.0, "enabled": 1.0, "disabled": 0.0, "overdue": 0.0, "failing": 0.0, "manual": 1.0, "removed": 0.0}, counts)
	})
}

// The slots that the API and the page list begin with the stored next run, as
// those of Upcoming do, even if it is not a slot by the rules of this process.
func TestUpcomingSlotsBeginWithNextRun(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db)
		s, err := f.scheduler.Schedule(t.Context(), "on")
		require.NoError(t, err)
		moved := s.NextRunAt.Add(37 * time.Minute)
		value := any(moved)
		if db.Dialect == "sqlite" {
			value = moved.UnixMicro()
		}
		require.NoError(t, db.Exec("UPDATE hourbell_schedules SET next_run_at = ? WHERE id = 'on'", value).Error)
		want, err := f.scheduler.Upcoming(t.Context(), "on", 3)
		require.NoError(t, err)
		require.Equal(t, moved, want[0])
		var got []time.Time
		for _, slot := range f.json("GET", "/api/schedules/on/upcoming?n=3")["slots"].([]any) {
			at, err := time.Parse(time.RFC3339, slot.(map[string]any)["at"].(string))
			require.NoError(t, err)
			got = append(got, at)
		}
		require.Equal(t, want, got)
		slots := between(t, f.page("/schedules/on"), `<ol class="slots"`, "</ol>")
		require.Contains(t, between(t, slots, "<li>", "</li>"), moved.Format(time.RFC3339))
		require.Contains(t, between(t, f.page("/"), `id="strip-on"`, "</li>"), moved.Format("Mon 2 Jan 15:04 MST")+": upcoming")
	})
}
