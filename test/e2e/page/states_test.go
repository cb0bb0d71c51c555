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

// Each state of a schedule says what is the matter, and the page can be read by everybody, light and dark.
func TestEveryStateOfASchedule(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		gone := append([]hourbell.Definition{{ID: "old-report", Name: "Old report", Cron: "0 6 * * 1", Target: hourbell.AllJobs()}}, definitions...)
		newHost(t, db, setup{Config: hourbell.Config{Definitions: gone}})
		all := append([]hourbell.Definition{
			{ID: "overdue", Name: "Overdue", Cron: "*/30 * * * *", Target: hourbell.Group("feed")},
			{ID: "stalled", Name: "Stalled", Cron: "0 17 * * *", Target: hourbell.Group("feed")},
			{ID: "martian", Name: "Martian", Cron: "0 17 * * *", Target: hourbell.Group("feed")},
			{ID: "otherwise", Name: "Otherwise", Cron: "0 17 * * *", Target: hourbell.Group("feed")},
		}, definitions...)
		h := lived(t, db, setup{Config: hourbell.Config{Definitions: all}})
		h.broken = func(run hourbell.JobRun) bool { return run.Job == "export-ledger" && run.Trigger == "CRON" }
		h.enable("shop/ledger.v2:a", "overdue", "stalled", "martian")
		h.clock.Set(time.Date(2026, 3, 28, 16, 10, 1, 0, time.UTC))
		h.tick()
		h.clock.Advance(10 * time.Second)
		h.tick()
		h.worker("web-1", 3*time.Second)
		h.set("overdue", "next_run_at", h.clock.Now().Add(-4*time.Minute-2*time.Second))
		h.set("stalled", "locked_by", "web-9")
		h.set("stalled", "locked_at", h.clock.Now().Add(-time.Hour))
		h.set("martian", "time_zone", "Mars/Olympus")
		h.set("otherwise", "definition_hash", "another build's")
		require.NoError(t, db.Exec("UPDATE hourbell_job_runs SET status = 'FAILED' WHERE schedule_id = 'feed-refresh' AND scheduled_for > ?", h.stored(evening.Add(-time.Hour))).Error)

		tb := h.open(t, "/?sort=name")
		for id, parts := range map[string][]string{
			"overdue":          {"overdue", "due 4 min ago", "Sat 28 Mar 16:06"},
			"stalled":          {"lock stalled"},
			"martian":          {"Mars/Olympus", "unknown time zone"},
			"otherwise":        {"changed", "disabled", "never ran", "–, would be Sat 28 Mar 17:00 UTC"},
			"old-report":       {"removed from code", "never: removed from code"},
			"shop/ledger.v2:a": {"enqueueing failed, 2 in a row", "tries again in", "never ran"},
			"feed-refresh":     {"2 failed", "runs failed, 4 in a row"},
			"daily-full-sync":  {"5 succeeded", "on time", "moved by a clock change"},
		} {
			for _, part := range parts {
				require.Contains(t, tb.text(`[id="row-`+id+`"]`), part, id)
			}
		}
		require.Contains(t, tb.text("#health"), "a worker's clock is off by 3s")
		require.Contains(t, tb.text("#health"), "1 schedule overdue, the oldest slot since")
		tb.state("every-state")
		tb.dark()
		tb.state("every-state-dark")

		for id, part := range map[string]string{
			"stalled": "stalled: any worker takes it over", "martian": "unknown time zone", "old-report": "removed from code", "shop%2Fledger.v2:a": "the ledger's queue is full",
			"overdue": "overdue",
		} {
			tb.visit("/schedules/" + id)
			require.Contains(t, tb.text("main"), part)
			tb.state("detail-" + strings.ReplaceAll(id, "%2F", "-"))
		}
		for _, id := range []string{"martian", "old-report"} {
			tb.visit("/schedules/" + id + "/run")
			tb.accessible("run " + id)
		}
		tb.visit("/?state=REMOVED")
		require.Equal(t, 1, js[int](tb, `document.querySelectorAll("#rows tr").length`))
	})
}

func TestNothingIsDeclared(t *testing.T) {
	t.Parallel()
	h := newHost(t, dbtest.SQLite(t), setup{Config: hourbell.Config{Jobs: []hourbell.Job{}, Definitions: []hourbell.Definition{}}})
	tb := h.open(t, "/")
	tb.awaitText("main", "No schedule is declared yet")
	require.Contains(t, tb.text("main pre"), "hourbell.New(store.New(db), hourbell.Config{\n\tJobs: []hourbell.Job{{Name:")
	tb.state("nothing-declared")
	tb.visit("/enqueue")
	tb.awaitText("main", "No job is declared")
	tb.visit("/runs")
	tb.awaitText("main", "Nothing has run yet")
	tb.state("nothing-ran")
}

func TestNothingIsEnabledAndNoWorkerIsAlive(t *testing.T) {
	t.Parallel()
	h := plain(t)
	tb := h.open(t, "/")
	require.Contains(t, tb.text("main"), "Schedules start disabled: switch one on, and it fires at its next slot.")
	require.Contains(t, tb.text("#health"), "no worker is alive: nothing fires until one runs")
	tb.state("nothing-enabled")
	h.worker("web-1", 0)
	tb.awaitText("#health", "1 alive")
	require.NotContains(t, tb.text("#health"), "no worker")
}

// What cannot be loaded leaves what was known on the page, with its age; and all is well once it can be.
func TestLoadingFails(t *testing.T) {
	t.Parallel()
	h := plain(t)
	tb := h.open(t, "/")
	tb.expects("503", "ERR_")
	h.set("feed-refresh", "description", "Read once.")
	tb.awaitText("main", "Read once.")
	require.NoError(t, h.db.Exec("ALTER TABLE hourbell_schedules RENAME TO hidden").Error)
	tb.awaitText(".stale", "Could not load: the database is not migrated")
	tb.await(`/What you see is \d+ s old/.test(document.querySelector(".stale").innerText)`)
	require.Contains(t, tb.text("main"), "Feed refresh")
	tb.state("load-failed")
	require.NoError(t, h.db.Exec("ALTER TABLE hidden RENAME TO hourbell_schedules").Error)
	tb.await(`!document.querySelector(".stale").checkVisibility()`)

	h.server.CloseClientConnections()
	h.server.Close()
	tb.awaitText(".stale", "the server cannot be reached")
}

// A page cannot be had: the person is told what is wrong, without what is nobody's business.
func TestThePageItselfFails(t *testing.T) {
	t.Parallel()
	h := plain(t)
	require.NoError(t, h.db.Exec("ALTER TABLE hourbell_schedules RENAME TO hidden").Error)
	tb := h.tab(t)
	tb.expects("503")
	tb.visit("/")
	tb.awaitText("main", "the database is not migrated")
	tb.state("not-migrated")
}

// Rows do not move while the pointer is on them; they do as soon as it has left.
func TestRowsDoNotMoveUnderThePointer(t *testing.T) {
	t.Parallel()
	h := plain(t)
	h.enable("hourly-matching")
	tb := h.open(t, "/?sort=nextRunAt")
	first := func() string { return js[string](tb, `document.querySelector("#rows tr").id`) }
	require.Equal(t, "row-hourly-matching", first())
	tb.hover(`[id="row-hourly-matching"] [data-label="Target"]`)
	h.enable("feed-refresh") // it is due before
	tb.await(`performance.getEntriesByType("resource").filter((e) => e.name.endsWith("sort=nextRunAt") && !e.name.includes("/api/")).length > 0`)
	require.Equal(t, "row-hourly-matching", first())
	tb.hover("h1")
	tb.await(`document.querySelector("#rows tr").id === "row-feed-refresh"`)
}

// Nothing is asked of the server while the tab is hidden, a dialog is open, or a row has the focus.
func TestPollingPauses(t *testing.T) {
	t.Parallel()
	h := plain(t)
	tb := h.open(t, "/")
	asked := func() int {
		return js[int](tb, `performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/")).length`)
	}
	tb.await(`performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/")).length > 0`)
	tb.click(runFeed)
	tb.awaitText("dialog", "Run Feed refresh now?")
	before := asked()
	js[bool](tb, `new Promise((done) => setTimeout(() => done(true), 6000))`) // longer than between two polls
	require.Equal(t, before, asked(), "a dialog is open")
	tb.click(closing)
	js[bool](tb, `(document.querySelector('[id="run-feed-refresh"]').focus(), new Promise((done) => setTimeout(() => done(true), 6000)))`)
	require.LessOrEqual(t, asked(), before, "a row has the focus")
	js[bool](tb, `(document.activeElement.blur(), true)`)
	tb.await(fmt.Sprintf(`performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/")).length > %d`, before))
}

// The distances in time are said alike by the server and by the script.
func TestTheScriptTellsTimeAsTheServerDoes(t *testing.T) {
	t.Parallel()
	h := lived(t, dbtest.SQLite(t), setup{})
	bare := h.tab(t)
	bare.withoutScript()
	bare.visit("/schedules/daily-full-sync")
	tb := h.open(t, "/schedules/daily-full-sync")
	const times = `[...document.querySelectorAll("main time[data-rel]")].filter((e) => !/\bnow\b|\d s /.test(e.textContent)).map((e) => e.textContent).join("\n")`
	require.Contains(t, js[string](tb, times), "14 h 35 min ago")
	require.Equal(t, js[string](bare, times), js[string](tb, times))
}
