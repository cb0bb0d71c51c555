package api_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// health gets the health, checks the status and returns the body and the codes
// of its problems.
func (h *host) health(status int, path string) (body map[string]any, problems []any) {
	h.Helper()
	body = h.call(status, request{method: "GET", path: path})
	require.Equal(h, status == http.StatusOK, body["healthy"])
	return body, column(items(body, "problems"), "code")
}

// heartbeat writes a heartbeat of another process.
func (h *host) heartbeat(id string, at time.Time, skew time.Duration) {
	h.Helper()
	s, err := store.New(h.db.DB).Bind("default", func() time.Time { return at })
	require.NoError(h, err)
	_, err = s.Heartbeat(h.Context(), hourbell.Worker{ID: id, WorkerType: "schedule_daemon", ClockSkew: skew}, 30*time.Second)
	require.NoError(h, err)
}

// A process that runs no loop, such as one that only serves the page, is
// healthy even if the fleet has problems. With fleet=1 the fleet's problems
// count.
func TestHealthSeparatesProcessAndFleet(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.heartbeat("dead", noon.Add(-time.Hour), 0)
		body, problems := h.health(http.StatusOK, "/api/health")
		require.Equal(t, []any{"NO_WORKER"}, problems)
		require.Equal(t, map[string]any{"running": false, "stalled": false, "lastTickAt": nil}, body["process"])
		_, problems = h.health(http.StatusServiceUnavailable, "/api/health?fleet=1")
		require.Equal(t, []any{"NO_WORKER"}, problems)

		h.heartbeat("active", noon, 0)
		for _, path := range []string{"/api/health", "/api/health?fleet=1", "/api/health?fleet=false"} {
			body, problems = h.health(http.StatusOK, path)
			require.Empty(t, problems)
			require.Equal(t, 1.0, body["fleet"].(map[string]any)["workers"], "a dead replica is not a problem")
		}
	})
}

func TestHealthReportsFleetProblems(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.enable("hourly")
		h.clock.Set(noon.Add(time.Hour))
		h.tick()

		h.clock.Set(noon.Add(59 * time.Minute)) // the clock is stepped back
		h.heartbeat("skewed", h.clock.Now(), -3*time.Second)
		body, problems := h.health(http.StatusOK, "/api/health")
		require.Equal(t, []any{"CLOCK_SKEW", "CLOCK_BEHIND"}, problems)
		fleet := body["fleet"].(map[string]any)
		require.Equal(t, []any{3000.0, 60000.0}, []any{fleet["maxClockSkewMs"], fleet["clockBehindMs"]})

		// Another build changes the schedule and stops before its slot.
		other := append([]hourbell.Definition{}, definitions...)
		other[0].Target = hourbell.Jobs("publish")
		newHost(t, h.db, setup{Config: hourbell.Config{Definitions: other}})
		h.clock.Set(noon.Add(2*time.Hour + 3*time.Minute))
		h.heartbeat("skewed", h.clock.Now(), 0)
		body, problems = h.health(http.StatusServiceUnavailable, "/api/health?fleet=1")
		require.Equal(t, []any{"OVERDUE", "MISMATCHED"}, problems)
		fleet = body["fleet"].(map[string]any)
		require.Equal(t, []any{2.0, "2026-06-01T13:15:00Z", []any{"hourly"}}, []any{fleet["overdue"], fleet["oldestDueAt"], fleet["mismatched"]})
		require.Equal(t, []any{"shop/feed.v2:a", "hourly"}, column(items(fleet, "late"), "id"))
		require.Equal(t, 180.0, items(fleet, "late")[1]["overdueSeconds"])
	})
}

// A declared schedule that is missing from the table is a problem of the fleet.
func TestHealthReportsMissingSchedules(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.heartbeat("active", noon, 0)
		require.NoError(t, h.db.Exec("DELETE FROM hourbell_schedules WHERE id = 'nightly'").Error)
		require.NoError(t, h.scheduler.Sync(t.Context()))
		body, problems := h.health(http.StatusServiceUnavailable, "/api/health?fleet=1")
		require.Equal(t, []any{"MISSING"}, problems)
		require.Equal(t, []any{"1 declared schedule missing from the table (nightly); restored"}, column(items(body, "problems"), "detail"))
		_, problems = h.health(http.StatusOK, "/api/health")
		require.Equal(t, []any{"MISSING"}, problems)
		_, problems = h.health(http.StatusOK, "/api/health?live=1")
		require.Empty(t, problems)
		require.NoError(t, h.scheduler.Sync(t.Context()))
		_, problems = h.health(http.StatusOK, "/api/health?fleet=1")
		require.Empty(t, problems, "the next comparison finds all schedules")
	})
}

// The status is 503 while the loop of this process is stalled.
func TestHealthReportsStalledLoop(t *testing.T) {
	s := setup{databaseClock: true, Config: hourbell.Config{LockTTL: time.Second, PollInterval: 100 * time.Millisecond}}
	eachHost(t, s, func(t *testing.T, h *host) {
		h.startRun()
		waitFor(t, "the first tick", func() bool {
			process := h.get("/api/health?live=1")["process"].(map[string]any)
			return process["running"] == true && process["lastTickAt"] != nil
		})

		require.NoError(t, h.db.Exec("ALTER TABLE hourbell_schedules RENAME TO elsewhere").Error)
		waitFor(t, "health to report the stalled loop", func() bool {
			return h.send(request{method: "GET", path: "/api/health"}).StatusCode == http.StatusServiceUnavailable
		})
		body, problems := h.health(http.StatusServiceUnavailable, "/api/health")
		require.Contains(t, problems, "NOT_TICKING")
		require.Contains(t, problems, "NOT_MIGRATED")
		require.Nil(t, body["fleet"])

		require.NoError(t, h.db.Exec("ALTER TABLE elsewhere RENAME TO hourbell_schedules").Error)
		waitFor(t, "the loop to recover", func() bool {
			return h.send(request{method: "GET", path: "/api/health?fleet=1"}).StatusCode == http.StatusOK
		})
	})
}

// startRun calls Run in the background and stops it when the test ends. The
// returned function waits until Run returns.
func (h *host) startRun() (wait func() error) {
	h.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = h.scheduler.Run(ctx)
	}()
	wait = func() error { <-ended; return err }
	h.Cleanup(func() { stop(); _ = wait() })
	return wait
}

// Once Run was called, the process is ready only after the first sync. It is
// live all the time, so an outage of the database during a deploy does not
// restart it.
func TestHealthIsNotReadyBeforeFirstSync(t *testing.T) {
	h := newHost(t, dbtest.Postgres(t), setup{databaseClock: true})
	tx := h.db.Begin() // the sync waits for it
	defer tx.Rollback()
	require.NoError(t, tx.Exec("LOCK TABLE hourbell_schedules IN ACCESS EXCLUSIVE MODE").Error)
	h.startRun()
	waitFor(t, "the call of Run", func() bool {
		return h.get("/api/health?live=1")["process"].(map[string]any)["running"] == true
	})
	_, problems := h.health(http.StatusServiceUnavailable, "/api/health")
	require.Equal(t, []any{"NOT_SYNCED", "DATABASE_UNAVAILABLE"}, problems)
	body, problems := h.health(http.StatusOK, "/api/health?live=1")
	require.Equal(t, []any{"NOT_SYNCED"}, problems)
	require.Nil(t, body["fleet"])

	require.NoError(t, tx.Rollback().Error)
	waitFor(t, "the first sync", func() bool {
		return h.send(request{method: "GET", path: "/api/health"}).StatusCode == http.StatusOK
	})
	_, problems = h.health(http.StatusOK, "/api/health?live=1")
	require.Empty(t, problems)
}

// After Run has returned an error, the process is neither ready nor live, and
// the body has the error.
func TestHealthReportsFailedRun(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		require.NoError(t, h.db.Exec("DROP TABLE hourbell_migrations").Error)
		require.ErrorIs(t, h.startRun()(), hourbell.ErrNotMigrated)
		for _, path := range []string{"/api/health", "/api/health?live=1", "/api/health?fleet=1"} {
			body, problems := h.health(http.StatusServiceUnavailable, path)
			require.Equal(t, "RUN_FAILED", problems[0], path)
			require.Contains(t, items(body, "problems")[0]["detail"], "not migrated", path)
		}
	})
}

// With live=1, health sends no statement, and reports the stalled loop.
func TestLivenessAsksNoDatabase(t *testing.T) {
	s := setup{databaseClock: true, Config: hourbell.Config{LockTTL: time.Second, PollInterval: 100 * time.Millisecond}}
	eachHost(t, s, func(t *testing.T, h *host) {
		h.startRun()
		waitFor(t, "the first sync", func() bool {
			return h.send(request{method: "GET", path: "/api/health"}).StatusCode == http.StatusOK
		})
		h.health(http.StatusOK, "/api/health?live=1")
		require.NoError(t, h.db.SQL().Close())
		body, _ := h.health(http.StatusOK, "/api/health?live=1")
		require.Nil(t, body["fleet"])
		waitFor(t, "liveness to report the stalled loop", func() bool {
			return h.send(request{method: "GET", path: "/api/health?live=1"}).StatusCode == http.StatusServiceUnavailable
		})
		_, problems := h.health(http.StatusServiceUnavailable, "/api/health?live=1")
		require.Equal(t, []any{"NOT_TICKING"}, problems)
	})
}

func TestHealthRefusesInvalidParameters(t *testing.T) {
	h := newHost(t, dbtest.SQLite(t), setup{})
	for path, field := range map[string]string{
		"/api/health?live=yes": "live", "/api/health?fleet=yes": "fleet", "/api/health?live=1&fleet=1": "live",
	} {
		require.Equal(t, field, h.call(http.StatusBadRequest, request{method: "GET", path: path})["field"], path)
	}
	h.health(http.StatusServiceUnavailable, "/api/health?live=0&fleet=1")
}

// If the database is unavailable, the process is still healthy, because a
// restart would not help. With fleet=1 the status is 503.
func TestHealthWithoutDatabase(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		require.NoError(t, h.db.SQL().Close())
		body, problems := h.health(http.StatusOK, "/api/health")
		require.Equal(t, []any{"DATABASE_UNAVAILABLE"}, problems)
		require.Nil(t, body["fleet"])
		h.health(http.StatusServiceUnavailable, "/api/health?fleet=1")
	})
}

// A probe gets its response soon even if the database does not respond. Here a
// transaction holds a lock that the read waits for.
func TestHealthRespondsDespiteSlowDatabase(t *testing.T) {
	h := newHost(t, dbtest.Postgres(t), setup{})
	tx := h.db.Begin()
	defer tx.Rollback()
	require.NoError(t, tx.Exec("LOCK TABLE hourbell_workers IN ACCESS EXCLUSIVE MODE").Error)
	probe := http.Client{Timeout: 5 * time.Second} // half the usual database deadline
	res, err := probe.Get(h.url + "/api/health")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	_, problems := h.health(http.StatusOK, "/api/health")
	require.Equal(t, []any{"DATABASE_UNAVAILABLE"}, problems)
}
