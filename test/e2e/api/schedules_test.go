package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

func TestScheduleShowsDefinition(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		got := h.schedule("hourly")
		require.Equal(t, []any{"hourly", "Hourly feed", "Prices in, offers out.", "0 * * * *", "Every hour", "UTC", 120.0}, []any{
			got["id"], got["name"], got["description"], got["cron"], got["cronDescription"], got["timeZone"], got["graceSeconds"],
		})
		require.Equal(t, map[string]any{"kind": "GROUP", "group": "feed", "jobs": []any{"import", "publish"}}, got["target"])
		require.Equal(t, []any{"DISABLED", false, nil, "2026-06-01T13:00:00Z", nil, []any{}, nil, true, ""}, []any{
			got["state"], got["enabled"], got["nextRunAt"], got["wouldRunAt"], got["lastRun"], got["recent"], got["lock"], got["declaredHere"], got["problem"],
		})
	})
}

// In a path, a slash that is part of an id is escaped.
func TestIDsWithDotsAndSlashesWork(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		for _, path := range []string{"shop%2Ffeed.v2:a", "shop%2ffeed%2Ev2%3Aa"} {
			require.Equal(t, "shop/feed.v2:a", h.schedule(path)["id"])
			require.Equal(t, false, h.post("/api/schedules/"+path+"/disable", "")["enabled"])
			require.Equal(t, true, h.post("/api/schedules/"+path+"/enable", "")["enabled"])
			require.NotEmpty(t, items(h.get("/api/schedules/"+path+"/events"), "events"))
		}
		h.call(http.StatusCreated, request{method: "POST", path: "/api/enqueue/jobs/report%2Fdaily"})
	})
}

func TestEnableAndDisableSchedule(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		got := h.post("/api/schedules/hourly/enable", `{"note": "the feed is live"}`)
		require.Equal(t, []any{true, "ENABLED", "the feed is live", "2026-06-01T13:00:00Z", nil}, []any{
			got["enabled"], got["state"], got["enabledNote"], got["nextRunAt"], got["wouldRunAt"],
		})
		require.Equal(t, got, h.schedule("hourly"))
		h.requireUnchanged(func() { h.post("/api/schedules/hourly/enable", "") }) // M4

		got = h.post("/api/schedules/hourly/disable", `{"note": "the partner asked"}`)
		require.Equal(t, []any{false, "the partner asked"}, []any{got["enabled"], got["enabledNote"]})
		h.requireUnchanged(func() { h.post("/api/schedules/hourly/disable", "") })

		events := items(h.get("/api/schedules/hourly/events"), "events")
		require.Equal(t, []any{"DISABLED", "ENABLED", "DEFINED"}, column(events, "kind"))
		require.Equal(t, []any{"the partner asked", "the feed is live", ""}, column(events, "note"))
		require.Equal(t, []any{"ada", "ada", ""}, column(events, "actor"))
	})
}

// A schedule shows its last run and its recent outcomes: fires, failures, skips
// and manual runs.
func TestScheduleShowsOutcomes(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("hourly")
		h.clock.Set(noon.Add(time.Hour + 1500*time.Millisecond))
		h.tick()
		runs, err := h.scheduler.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w", Limit: 10, Jobs: []string{"import"}})
		require.NoError(t, err)
		for _, run := range runs {
			if run.ScheduleID == "hourly" {
				require.NoError(t, h.scheduler.FinishRun(t.Context(), run, errEngine))
			}
		}

		got := h.schedule("hourly")
		last := got["lastRun"].(map[string]any)
		require.Equal(t, []any{"CRON", "2026-06-01T13:00:01.5Z", "2026-06-01T13:00:00Z", 1500.0, ""}, []any{
			last["trigger"], last["at"], last["slot"], last["latenessMs"], last["actor"],
		})
		require.Equal(t, map[string]any{"queued": 1.0, "running": 0.0, "succeeded": 0.0, "failed": 1.0, "atLeast": false}, last["runs"])

		h.clock.Set(noon.Add(4*time.Hour + 30*time.Minute)) // three slots were missed
		h.tick()
		h.clock.Set(noon.Add(5 * time.Hour))
		h.tick()
		h.call(http.StatusCreated, request{method: "POST", path: "/api/schedules/hourly/run", body: `{"note": "again"}`})
		got = h.schedule("hourly")
		recent := items(got, "recent")
		require.Equal(t, []any{"FIRED", "FIRED", "SKIPPED", "FAILED"}, column(recent, "kind"))
		require.Equal(t, []any{"MANUAL", "CRON", "CRON", "CRON"}, column(recent, "trigger"))
		require.Equal(t, []any{nil, "2026-06-01T17:00:00Z", "2026-06-01T14:00:00Z", "2026-06-01T13:00:00Z"}, column(recent, "slotFrom"))
		require.Equal(t, []any{0.0, 1.0, 3.0, 1.0}, column(recent, "slotCount"))
		require.Equal(t, []any{"", "", "LATE", ""}, column(recent, "reason"))
		require.Equal(t, []any{nil, 0.0, nil, 1500.0}, column(recent, "latenessMs"))
		last = got["lastRun"].(map[string]any)
		require.Equal(t, []any{"MANUAL", nil, nil, "ada"}, []any{last["trigger"], last["slot"], last["latenessMs"], last["actor"]})
		require.Equal(t, 2.0, last["runs"].(map[string]any)["queued"])

		for range 25 {
			h.clock.Advance(time.Hour)
			h.tick()
		}
		require.Len(t, items(h.schedule("hourly"), "recent"), 20)
	})
}

// D10: a manual schedule has no expression and no slots, and is never overdue.
// Operators run it. Enabling it changes only what is shown.
func TestManualScheduleIsOnlyRunByOperators(t *testing.T) {
	byHand := hourbell.Definition{ID: "by-hand", Manual: true, Target: hourbell.Group("feed")}
	eachHost(t, setup{Config: hourbell.Config{Definitions: append([]hourbell.Definition{byHand}, definitions...)}}, func(t *testing.T, h *host) {
		require.Equal(t, false, h.schedule("hourly")["manual"])
		for _, enabled := range []bool{true, false} {
			got := h.post(fmt.Sprintf("/api/schedules/by-hand/%s", map[bool]string{true: "enable", false: "disable"}[enabled]), "")
			require.Equal(t, got, h.schedule("by-hand"))
			require.Equal(t, []any{true, "MANUAL", enabled, "", "", nil, nil, false, ""}, []any{
				got["manual"], got["state"], got["enabled"], got["cron"], got["cronDescription"], got["nextRunAt"], got["wouldRunAt"], got["overdue"], got["problem"],
			})
			upcoming := h.get("/api/schedules/by-hand/upcoming")
			require.Equal(t, []any{[]any{}, "", ""}, []any{upcoming["slots"], upcoming["cron"], upcoming["problem"]})
			h.clock.Advance(48 * time.Hour)
			h.tick()
			require.Empty(t, items(h.get("/api/schedules/by-hand/runs"), "runs"))
		}
		list := h.get("/api/schedules?state=MANUAL")
		require.Equal(t, []any{"by-hand"}, column(items(list, "schedules"), "id"))
		require.Equal(t, 1.0, list["counts"].(map[string]any)["manual"])
		require.NotContains(t, column(items(h.get("/api/schedules?state=DISABLED"), "schedules"), "id"), "by-hand")

		h.call(http.StatusCreated, request{method: "POST", path: "/api/schedules/by-hand/run"})
		require.Len(t, items(h.get("/api/schedules/by-hand/runs"), "runs"), 2)
		require.Equal(t, "MANUAL", h.schedule("by-hand")["lastRun"].(map[string]any)["trigger"])
	})
}

// A stored next run that is not a slot fires nothing. The event has the reason.
func TestStoredTimeThatIsNoSlotIsShown(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("hourly")
		moved := any(noon.Add(70 * time.Minute))
		if h.db.Dialect == "sqlite" {
			moved = noon.Add(70 * time.Minute).UnixMicro()
		}
		require.NoError(t, h.db.Exec("UPDATE hourbell_schedules SET next_run_at = ? WHERE id = 'hourly'", moved).Error)
		h.clock.Set(noon.Add(70 * time.Minute))
		h.tick()
		skipped := items(h.get("/api/schedules/hourly/events?kind=SKIPPED"), "events")
		require.Equal(t, []any{"NOT_A_SLOT"}, column(skipped, "reason"))
		got := h.schedule("hourly")
		require.Equal(t, []any{"NOT_A_SLOT"}, column(items(got, "recent"), "reason"))
		require.Equal(t, "2026-06-01T14:00:00Z", got["nextRunAt"])
	})
}

func TestOverdueScheduleShowsSince(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("hourly")
		h.clock.Set(noon.Add(time.Hour + 2*time.Minute))
		require.Equal(t, false, h.schedule("hourly")["overdue"], "within its grace")
		h.clock.Advance(time.Second)
		got := h.schedule("hourly")
		require.Equal(t, "OVERDUE", got["state"])
		require.Equal(t, []any{true, 121.0, "2026-06-01T13:00:00Z"}, []any{got["overdue"], got["overdueSeconds"], got["nextRunAt"]})
		require.Equal(t, []any{"shop/feed.v2:a", "hourly"}, column(items(h.get("/api/schedules?state=OVERDUE&sort=nextRunAt"), "schedules"), "id"))
	})
}

// The lock shows its holder and when it expires: after LockTTL, or earlier if
// the holder misses its heartbeats.
func TestLockIsShownAndCleared(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.clock.Set(noon.Add(15 * time.Minute))
		other, err := store.New(h.db.DB).Bind("default", h.clock.Now)
		require.NoError(t, err)
		_, err = other.Heartbeat(t.Context(), hourbell.Worker{ID: "other", WorkerType: "schedule_daemon", Hostname: "host"}, 30*time.Second)
		require.NoError(t, err)
		claimed, err := other.Claim(t.Context(), storage.ClaimRequest{Worker: "other", Limit: 1, LockTTL: time.Hour, Exclude: []string{}})
		require.NoError(t, err)
		require.Len(t, claimed.Claims, 1)
		const path = "/api/schedules/shop%2Ffeed.v2:a"

		lock := map[string]any{"holder": "other", "since": "2026-06-01T12:15:00Z", "expiresAt": "2026-06-01T12:15:30Z", "stalled": false}
		require.Equal(t, lock, h.get(path)["lock"], "30 s after the last heartbeat")
		h.clock.Advance(time.Minute)
		lock["stalled"] = true
		require.Equal(t, lock, h.get(path)["lock"])

		h.requireUnchanged(func() {
			body := h.call(http.StatusConflict, request{method: "POST", path: path + "/unlock", body: `{"ifMatch": "another worker"}`})
			require.Equal(t, "changed", body["code"])
		})
		require.Nil(t, h.post(path+"/unlock", `{"note": "it hangs", "ifMatch": "other"}`)["lock"])
		event := items(h.get(path+"/events?kind=UNLOCKED"), "events")[0]
		require.Equal(t, []any{"ada", "it hangs"}, []any{event["actor"], event["note"]})
		h.requireUnchanged(func() { h.post(path+"/unlock", "") })
		require.Equal(t, 1, h.tick().Fired)
	})
}

// A failed attempt to enqueue is shown on the schedule and in its events, and
// the schedule has the state FAILING.
func TestFailingScheduleShowsError(t *testing.T) {
	eachHost(t, setup{Config: hourbell.Config{Enqueuer: failingEnqueuer{}}}, func(t *testing.T, h *host) {
		h.enable("hourly")
		h.clock.Set(noon.Add(time.Hour))
		h.tick()
		got := h.schedule("hourly")
		require.Equal(t, []any{1.0, errEngine.Error(), "2026-06-01T13:00:01Z"}, []any{got["consecutiveFailures"], got["lastError"], got["retryAt"]})
		require.Equal(t, "FAILING", got["state"])
		require.Contains(t, column(items(h.get("/api/schedules?state=FAILING"), "schedules"), "id"), "hourly")
		require.NotEmpty(t, items(h.get("/api/schedules/hourly/events?kind=ENQUEUE_FAILED"), "events"))
		h.requireUnchanged(func() {
			body := h.call(http.StatusInternalServerError, request{method: "POST", path: "/api/schedules/hourly/run"})
			require.NotContains(t, body["detail"], errEngine.Error(), "an engine's error may contain secrets")
		})
	})
}

// The API shows that code no longer declares a schedule, or that another build
// declares it differently.
func TestSchedulesOfOtherBuildsAreShown(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		next := append([]hourbell.Definition{}, definitions[1:]...)
		next[0].Target = hourbell.Jobs("brand-new")
		newHost(t, h.db, setup{Config: hourbell.Config{Definitions: next, Jobs: append([]hourbell.Job{{Name: "brand-new"}}, jobs...)}})

		removed := h.schedule("hourly")
		require.Equal(t, []any{"REMOVED", "2026-06-01T12:00:00Z"}, []any{removed["state"], removed["removedAt"]})
		require.Equal(t, []any{"hourly"}, column(items(h.get("/api/schedules?state=REMOVED"), "schedules"), "id"))

		changed := h.schedule("nightly")
		require.Equal(t, false, changed["declaredHere"])
		require.Equal(t, `this process does not declare the target JOBS ["brand-new"]`, changed["problem"])
		body := h.call(http.StatusConflict, request{method: "POST", path: "/api/schedules/nightly/run"})
		require.Equal(t, "declared-elsewhere", body["code"])

		// An invalid stored expression affects only its own schedule.
		require.NoError(t, h.db.Exec("UPDATE hourbell_schedules SET cron = 'invalid' WHERE id = 'nightly'").Error)
		require.Contains(t, h.schedule("nightly")["problem"], "expected 5 fields")
		require.Len(t, items(h.get("/api/schedules"), "schedules"), 3)
		upcoming := h.get("/api/schedules/nightly/upcoming")
		require.Equal(t, []any{}, upcoming["slots"])
		require.Contains(t, upcoming["problem"], "expected 5 fields")
		body = h.call(http.StatusConflict, request{method: "POST", path: "/api/schedules/nightly/enable"})
		require.Equal(t, "unreadable-definition", body["code"])
	})
}

// Every process refuses to enable, disable or run a removed schedule. A process
// that does not declare a stored schedule can enable and disable it, but cannot
// run it.
func TestRemovedAndUnknownSchedulesAreRefused(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		added := append([]hourbell.Definition{{ID: "added", Cron: "@daily", Target: hourbell.AllJobs()}}, definitions[1:]...)
		other := newHost(t, h.db, setup{Config: hourbell.Config{Definitions: added}})
		h.requireUnchanged(func() {
			for _, from := range []*host{h, other} {
				for _, verb := range []string{"enable", "disable", "run"} {
					body := from.call(http.StatusConflict, request{method: "POST", path: "/api/schedules/hourly/" + verb})
					require.Equal(t, "schedule-removed", body["code"], verb)
				}
			}
			body := h.call(http.StatusConflict, request{method: "POST", path: "/api/schedules/added/run"})
			require.Equal(t, "declared-elsewhere", body["code"])
			require.Contains(t, body["detail"], `schedule "added" is declared by another build`)
		})
		require.Equal(t, true, h.post("/api/schedules/added/enable", "")["enabled"])
		require.Equal(t, false, h.post("/api/schedules/added/disable", "")["enabled"])
		other.call(http.StatusCreated, request{method: "POST", path: "/api/schedules/added/run"})
	})
}

// A change whose ifMatch is outdated is refused. A fire in the meantime does
// not change the etag.
func TestChangeWithOutdatedETagIsRefused(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("hourly")
		body := func(etag any) string {
			text, err := json.Marshal(map[string]any{"ifMatch": etag, "note": "with a condition"})
			require.NoError(t, err)
			return string(text)
		}
		etag := h.schedule("hourly")["etag"]
		h.clock.Set(noon.Add(time.Hour))
		h.tick()
		h.post("/api/schedules/hourly/disable", body(etag))

		h.requireUnchanged(func() {
			for _, verb := range []string{"enable", "disable", "run"} {
				problem := h.call(http.StatusConflict, request{method: "POST", path: "/api/schedules/hourly/" + verb, body: body(etag)})
				require.Equal(t, "changed", problem["code"], verb)
			}
		})
		h.post("/api/schedules/hourly/enable", body(h.schedule("hourly")["etag"]))
	})
}

func TestWorkersShowStates(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		heartbeat := func(id string, at time.Time, skew time.Duration) hourbell.Store {
			s, err := store.New(db.DB).Bind("default", func() time.Time { return at })
			require.NoError(t, err)
			_, err = s.Heartbeat(t.Context(), hourbell.Worker{ID: id, WorkerType: "schedule_daemon", Hostname: "host", PID: 7, ClockSkew: skew}, 30*time.Second)
			require.NoError(t, err)
			return s
		}
		heartbeat("active", noon.Add(-20*time.Second), -1500*time.Millisecond)
		heartbeat("dead", noon.Add(-40*time.Second), 0)
		require.NoError(t, heartbeat("stopped", noon.Add(-10*time.Second), 0).StopWorker(t.Context(), "stopped"))
		states := map[any]any{}
		for _, w := range items(h.get("/api/workers"), "workers") {
			states[w["id"]] = w["state"]
			if w["id"] == "active" {
				require.Equal(t, []any{-1500.0, "host", 7.0, "2026-06-01T11:59:40Z"}, []any{w["clockSkewMs"], w["hostname"], w["pid"], w["heartbeatAt"]})
			}
		}
		require.Equal(t, map[any]any{"active": "ACTIVE", "dead": "DEAD", "stopped": "STOPPED"}, states)

		// The list is paged. A start during the reads does not disturb it.
		all := column(items(h.get("/api/workers"), "workers"), "id")
		require.Equal(t, []any{"stopped", "active", "dead"}, all)
		added := 0
		rows := h.readPages("/api/workers?limit=1", "workers", func() {
			added++
			heartbeat(fmt.Sprint("new", added), noon.Add(time.Duration(added)*time.Second), 0)
		})
		require.Equal(t, all, column(rows, "id"))
		require.Equal(t, "cursor", h.call(http.StatusBadRequest, request{method: "GET", path: "/api/workers?cursor=x"})["field"])
	})
}
