package page_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// The page explains each state of a schedule and is accessible in it, light and
// dark.
func TestEveryStateIsShown(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		withRemoved := append([]hourbell.Definition{{ID: "old-report", Name: "Old report", Cron: "0 6 * * 1", Target: hourbell.AllJobs()}}, definitions...)
		newHost(t, db, setup{Config: hourbell.Config{Definitions: withRemoved}})
		withFaults := append([]hourbell.Definition{
			{ID: "overdue", Name: "Overdue", Cron: "*/30 * * * *", Target: hourbell.Group("feed")},
			{ID: "stalled", Name: "Stalled", Cron: "0 17 * * *", Target: hourbell.Group("feed")},
			{ID: "bad-zone", Name: "Bad zone", Cron: "0 17 * * *", Target: hourbell.Group("feed")},
			{ID: "mismatched", Name: "Mismatched", Cron: "0 17 * * *", Target: hourbell.Group("feed")},
		}, definitions...)
		h := newHostWithHistory(t, db, setup{Config: hourbell.Config{Definitions: withFaults}})
		h.refuses = func(run hourbell.JobRun) bool {
			return run.Job == "export-ledger" && run.Trigger == hourbell.TriggerCron
		}
		h.enable("shop/ledger.v2:a", "overdue", "stalled", "bad-zone")
		h.clock.Set(time.Date(2026, 3, 28, 16, 10, 1, 0, time.UTC))
		h.tick()
		h.clock.Advance(10 * time.Second)
		h.tick()
		h.addWorker("web-1", 3*time.Second)
		h.set("overdue", "next_run_at", h.clock.Now().Add(-4*time.Minute-2*time.Second))
		h.set("shop/ledger.v2:a", "retry_at", h.clock.Now().Add(time.Minute)) // not reached while the browser loads the page
		h.set("stalled", "locked_by", "web-9")
		h.set("stalled", "locked_at", h.clock.Now().Add(-time.Hour))
		h.set("bad-zone", "time_zone", "Mars/Olympus")
		h.set("mismatched", "definition_hash", "another build's")
		require.NoError(t, db.Exec("UPDATE hourbell_job_runs SET status = 'FAILED' WHERE schedule_id = 'feed-refresh' AND scheduled_for > ?", h.stored(evening.Add(-time.Hour))).Error)

		tb := h.open(t, "/?sort=name")
		for id, parts := range map[string][]string{
			"overdue":          {"overdue", "due 4 min ago", "Sat 28 Mar 16:06"},
			"stalled":          {"lock stalled"},
			"bad-zone":         {"Mars/Olympus", "unknown time zone"},
			"mismatched":       {"changed", "disabled", "never ran", "–, would be Sat 28 Mar 17:00 UTC"},
			"old-report":       {"removed from code", "never: removed from code"},
			"shop/ledger.v2:a": {"enqueueing failed, 2 in a row", "next attempt in", "never ran"},
			"feed-refresh":     {"2 failed", "runs failed, 4 in a row"},
			"daily-full-sync":  {"5 succeeded", "on time", "moved by a clock change"},
		} {
			for _, part := range parts {
				require.Contains(t, tb.text(`[id="row-`+id+`"]`), part, id)
			}
		}
		require.Contains(t, tb.text("#health"), "a worker's clock is off by 3s")
		require.Contains(t, tb.text("#health"), "1 schedule overdue; the oldest slot was due at")
		tb.checkState("every-state")
		tb.setDark()
		tb.checkState("every-state-dark")

		for id, part := range map[string]string{
			"stalled": "stalled: the next worker to claim the schedule takes it over", "bad-zone": "unknown time zone", "old-report": "removed from code", "shop%2Fledger.v2:a": "the ledger's queue is full",
			"overdue": "overdue",
		} {
			tb.visit("/schedules/" + id)
			require.Contains(t, tb.text("main"), part)
			tb.checkState("detail-" + strings.ReplaceAll(id, "%2F", "-"))
		}
		for _, id := range []string{"bad-zone", "old-report"} {
			tb.visit("/schedules/" + id + "/run")
			tb.requireAccessible("run " + id)
		}
		tb.visit("/?state=REMOVED")
		require.Equal(t, 1, js[int](tb, `document.querySelectorAll("#rows tr").length`))
	})
}

// The list and the page of a manual schedule show no expression and no slots.
// Its switch changes only what is shown, and Run now enqueues its jobs.
func TestManualScheduleIsShown(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		byHand := hourbell.Definition{ID: "by-hand", Name: "By hand", Description: "After an incident.", Manual: true, Target: hourbell.Group("feed")}
		h := newHost(t, db, setup{Config: hourbell.Config{Definitions: append([]hourbell.Definition{byHand}, definitions...)}})
		h.addWorker("web-1", 0)
		h.enable("feed-refresh")
		tb := h.open(t, "/")
		const row = `[id="row-by-hand"]`
		require.Contains(t, tb.text("#counts"), "5 schedules: 1 enabled, 3 disabled, 1 manual")
		for _, part := range []string{"manual", "disabled", "Never comes due: only operators run it", "never ran"} {
			require.Contains(t, tb.text(row), part)
		}
		require.Empty(t, js[string](tb, `[...document.querySelectorAll('[id="strip-by-hand"] title')].map((e) => e.textContent).join("\n")`))
		tb.follow(`.chips a[href*="MANUAL"]`)
		require.Equal(t, 1, js[int](tb, `document.querySelectorAll("#rows tr").length`))
		tb.checkState("manual")

		tb.click(`[id="switch-by-hand"]`)
		tb.waitFor(`document.querySelector('[id="switch-by-hand"]').getAttribute("aria-checked") === "true"`)
		require.NotContains(t, tb.text(row), "disabled")
		tb.click(`[id="run-by-hand"]`)
		tb.waitForText("dialog", "Run By hand now?")
		require.Contains(t, tb.text("dialog"), "2 jobs will be enqueued.")
		require.NotContains(t, tb.text("dialog"), "next scheduled run")
		tb.click(confirm)
		tb.waitForText("dialog", "2 runs enqueued")
		tb.click(closeLink)
		h.clock.Advance(48 * time.Hour)
		h.tick()
		h.addWorker("web-1", 0)

		tb.visit("/schedules/by-hand")
		main := tb.text("main")
		for _, part := range []string{"manual", "This schedule is manual. It never comes due.", "run now by ada"} {
			require.Contains(t, main, part)
		}
		for _, part := range []string{"overdue", "Grace", "would be", "if it were enabled", "skipped,"} {
			require.NotContains(t, main, part)
		}
		require.NotContains(t, tb.text("#health"), "schedule overdue")
		tb.checkState("manual-detail")
		tb.click(`[id="switch-by-hand"]`)
		tb.waitForText("dialog", "Only what is shown changes")
		tb.click(confirm)
		tb.waitFor(`document.querySelector('[id="switch-by-hand"]').getAttribute("aria-checked") === "false"`)
		require.Len(t, h.runs(hourbell.RunQuery{ScheduleID: "by-hand"}), 2)
	})
}

func TestPagesWithoutDeclarations(t *testing.T) {
	t.Parallel()
	h := newHost(t, dbtest.SQLite(t), setup{Config: hourbell.Config{Jobs: []hourbell.Job{}, Definitions: []hourbell.Definition{}}})
	tb := h.open(t, "/")
	tb.waitForText("main", "No schedule is declared yet")
	require.Contains(t, tb.text("main pre"), "hourbell.New(store.New(db), hourbell.Config{\n\tJobs: []hourbell.Job{{Name:")
	tb.checkState("nothing-declared")
	tb.visit("/enqueue")
	tb.waitForText("main", "No job is declared")
	tb.visit("/runs")
	tb.waitForText("main", "There are no runs yet")
	tb.checkState("no-runs")
}

func TestPageWithoutEnabledScheduleOrWorker(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	tb := h.open(t, "/")
	require.Contains(t, tb.text("main"), "Schedules start disabled. Enable one, and it fires at its next slot.")
	require.Contains(t, tb.text("#health"), "no worker is active: nothing fires until one runs")
	tb.checkState("nothing-enabled")
	h.addWorker("web-1", 0)
	tb.waitForText("#health", "1 active")
	require.NotContains(t, tb.text("#health"), "no worker")
}

// If a refresh fails, the page keeps its content and shows the error and its
// age, until a refresh succeeds.
func TestFailedRefreshShowsAge(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	tb := h.open(t, "/")
	tb.expectErrors("503", "ERR_")
	h.set("feed-refresh", "description", "New description.")
	tb.waitForText("main", "New description.")
	require.NoError(t, h.db.Exec("ALTER TABLE hourbell_schedules RENAME TO renamed").Error)
	tb.waitForText(".stale", "Could not load: the database is not migrated")
	tb.waitFor(`/This page is \d+ s old/.test(document.querySelector(".stale").innerText)`)
	require.Contains(t, tb.text("main"), "Feed refresh")
	tb.checkState("load-failed")
	require.NoError(t, h.db.Exec("ALTER TABLE renamed RENAME TO hourbell_schedules").Error)
	tb.waitFor(`!document.querySelector(".stale").checkVisibility()`)

	h.server.CloseClientConnections()
	h.server.Close()
	tb.waitForText(".stale", "the server cannot be reached")
}

// If the page itself fails, the user sees the error, without internal details.
func TestFailedPageShowsError(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	require.NoError(t, h.db.Exec("ALTER TABLE hourbell_schedules RENAME TO renamed").Error)
	tb := h.newTab(t)
	tb.expectErrors("503")
	tb.visit("/")
	tb.waitForText("main", "the database is not migrated")
	tb.checkState("not-migrated")
}

// Rows do not move while the pointer is on them. They move when it leaves.
func TestRowsStayUnderPointer(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	h.enable("hourly-matching")
	tb := h.open(t, "/?sort=nextRunAt")
	first := func() string { return js[string](tb, `document.querySelector("#rows tr").id`) }
	require.Equal(t, "row-hourly-matching", first())
	tb.hover(`[id="row-hourly-matching"] [data-label="Target"]`)
	h.enable("feed-refresh") // its next slot is earlier
	tb.waitFor(`performance.getEntriesByType("resource").filter((e) => e.name.endsWith("sort=nextRunAt") && !e.name.includes("/api/")).length > 0`)
	require.Equal(t, "row-hourly-matching", first())
	tb.hover("h1")
	tb.waitFor(`document.querySelector("#rows tr").id === "row-feed-refresh"`)
}

// The page does not poll while a dialog is open or a row has the focus.
func TestPollingPausesDuringUse(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	tb := h.open(t, "/")
	polls := func() int {
		return js[int](tb, `performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/")).length`)
	}
	tb.waitFor(`performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/")).length > 0`)
	tb.click(runFeed)
	tb.waitForText("dialog", "Run Feed refresh now?")
	before := polls()
	js[bool](tb, `new Promise((done) => setTimeout(() => done(true), 6000))`) // longer than the poll interval
	require.Equal(t, before, polls(), "a dialog is open")
	tb.click(closeLink)
	js[bool](tb, `(document.querySelector('[id="run-feed-refresh"]').focus(), new Promise((done) => setTimeout(() => done(true), 6000)))`)
	require.LessOrEqual(t, polls(), before, "a row has the focus")
	js[bool](tb, `(document.activeElement.blur(), true)`)
	tb.waitFor(fmt.Sprintf(`performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/")).length > %d`, before))
}

// The script formats relative times like the server.
func TestScriptFormatsTimesLikeServer(t *testing.T) {
	t.Parallel()
	h := newHostWithHistory(t, dbtest.SQLite(t), setup{})
	plain := h.newTab(t)
	plain.disableScript()
	plain.visit("/schedules/daily-full-sync")
	tb := h.open(t, "/schedules/daily-full-sync")
	const times = `[...document.querySelectorAll("main time[data-rel]")].filter((e) => !/\bnow\b|\d s /.test(e.textContent)).map((e) => e.textContent).join("\n")`
	require.Contains(t, js[string](tb, times), "14 h 35 min ago")
	require.Equal(t, js[string](plain, times), js[string](tb, times))
}
