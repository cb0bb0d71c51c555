package page_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	browserproto "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// The timeline and the events show skipped slots with their reason.
func TestSkippedSlotsShowReason(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHostWithHistory(t, db, setup{})
		tb := h.open(t, "/")
		skipped := js[string](tb, `[...document.querySelectorAll(".timeline rect.skipped title")].map((e) => e.textContent).join("\n")`)
		require.Contains(t, skipped, "no worker claimed it within its grace")
		require.Contains(t, js[string](tb, `document.querySelector('[id="row-hourly-matching"] .history').getAttribute("aria-label")`), "1 skipped")
		tb.follow(`[id="row-hourly-matching"] a.button`)
		tb.waitForText("h1", "Hourly matching")
		require.Contains(t, tb.text("#event-rows .SKIPPED"), "no worker claimed it within its grace")
		require.Contains(t, tb.text("#event-rows .SKIPPED"), "2 slots, Sat 28 Mar 10:00 CET to Sat 28 Mar 11:00 CET")
		tb.checkState("detail")
	})
}

func TestSchedulePageShowsDetails(t *testing.T) {
	t.Parallel()
	h := newHostWithHistory(t, dbtest.SQLite(t), setup{})
	tb := h.newTab(t)
	tb.setZone("America/New_York")
	tb.visit("/schedules/daily-full-sync")
	body := tb.text("main")
	for _, part := range []string{
		"declared in code, change it there", "Every day at 02:30", "30 2 * * * Europe/Berlin", "All jobs (5)", "a worker holds the lock only while it enqueues", "same as stored",
		"Sun 29 Mar 03:00 CEST", "clocks go forward and 2026-03-29 02:30:00 does not occur: the slot runs right after the gap", "Mon 30 Mar 02:30 CEST", "5 succeeded",
	} {
		require.Contains(t, body, part)
	}
	require.Equal(t, 10, js[int](tb, `document.querySelectorAll(".slots li").length`))
	first := tb.text(".slots li")
	require.Contains(t, first, "Sun 29 Mar 01:00 UTC")
	require.Contains(t, first, "Sat, 09:00 PM EDT", "the reader's zone")
	tb.checkState("detail-clock-change")

	tb.visit("/schedules/hourly-matching?status=FAILED")
	require.Equal(t, 1, js[int](tb, `document.querySelectorAll("#runs-rows tr").length`))
	require.Contains(t, tb.text("#runs-rows"), "the shop did not respond")
	tb.visit("/schedules/feed-refresh")
	require.Equal(t, 25, js[int](tb, `document.querySelectorAll("#runs-rows tr").length`))
	tb.follow("#runs a[rel=next]")
	require.Equal(t, 25, js[int](tb, `document.querySelectorAll("#runs-rows tr").length`))
	tb.visit("/schedules/shop%2Fledger.v2:a")
	require.Contains(t, tb.text("h1"), "Ledger")
	tb.waitForText("main", "There are no runs yet")
	tb.checkState("detail-never-ran")
}

func TestRunPagesShowRuns(t *testing.T) {
	t.Parallel()
	h := newHostWithHistory(t, dbtest.SQLite(t), setup{})
	tb := h.open(t, "/runs")
	tb.checkState("runs")
	newest := h.runs(hourbell.RunQuery{Limit: 1})[0]
	require.Contains(t, tb.text("#runs-rows tr"), newest.Job)
	for filter, n := range map[string]int{
		"?job=export-ledger": 1, "?status=FAILED&group=matching": 1, "?trigger=MANUAL": 2, "?schedule=daily-full-sync": 5, "?trigger=API": 0,
	} {
		tb.visit("/runs" + filter)
		require.Equal(t, n, js[int](tb, `document.querySelectorAll("#runs-rows tr").length`), filter)
	}
	tb.checkState("runs-no-match")
	tb.follow("main .filters a")
	tb.follow("main a[rel=next]")
	require.Equal(t, 25, js[int](tb, `document.querySelectorAll("#runs-rows tr").length`))

	tb.visit("/runs?status=FAILED&job=match-refunds")
	tb.follow("#runs-rows th a")
	for _, part := range []string{"failed", "Sat 28 Mar 13:00 UTC", "engine-1", "the shop did not respond", "hourly-matching", "default/hourly-matching@2026-03-28T13:00:00Z/match-refunds"} {
		require.Contains(t, tb.text("main"), part)
	}
	tb.checkState("run")
	tb.visit("/runs?job=import-prices")
	tb.follow("#runs-rows th a")
	require.Contains(t, tb.text("main"), `"shop": 7`)
}

// The page of a run with large arguments shows their beginning and downloads
// all of them, without JavaScript too. Its script does not poll them.
func TestRunPageDownloadsLargeArguments(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	args := map[string]any{"text": strings.Repeat("12345678 ", 100_000)}
	_, err := h.scheduler.EnqueueJob(t.Context(), "export-ledger", hourbell.EnqueueOptions{Args: args})
	require.NoError(t, err)
	want := h.runs(hourbell.RunQuery{})[0]
	path := "/runs/" + strconv.FormatInt(want.ID, 10)

	for _, noScript := range []bool{true, false} {
		tb := h.newTab(t)
		if noScript {
			tb.disableScript()
		}
		folder := t.TempDir()
		profile := chromedp.FromContext(tb.ctx).BrowserContextID
		command(tb, browserproto.SetDownloadBehavior, browserproto.SetDownloadBehaviorParams{
			Behavior: browserproto.SetDownloadBehaviorBehaviorAllow, BrowserContextID: profile, DownloadPath: folder,
		})
		tb.visit(path)
		require.Contains(t, tb.text("main"), "Only the first 64 KB of 879 KB are shown.")
		tb.checkState("run-large-arguments")
		tb.click(`main a[href$="/args"]`)
		file := filepath.Join(folder, "run-"+strconv.FormatInt(want.ID, 10)+"-args.json")
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if text, err := os.ReadFile(file); err == nil && len(text) == len(want.Args) {
				require.True(t, string(text) == string(want.Args)) // Equal would print both
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is not downloaded", file)
			}
		}
		require.Contains(t, tb.text("h1"), "export-ledger", "the page stays open")
		if noScript {
			continue
		}
		tb.waitFor(`performance.getEntriesByType("resource").some((e) => e.name.includes("/api/runs/"))`)
		h.execute(nil)
		tb.waitForText("main", "succeeded")
		require.Less(t, js[int](tb, `Math.max(...performance.getEntriesByType("resource").filter((e) => e.name.includes("/api/")).map((e) => e.decodedBodySize))`), 5000)
	}
}

func TestUnknownPagesShowErrors(t *testing.T) {
	t.Parallel()
	tb := newSQLiteHost(t).newTab(t)
	tb.expectErrors("404", "400")
	for path, part := range map[string]string{
		"/runs/99": "there is no run 99", "/schedules/nope": "unknown schedule", "/nope": "unknown path", "/static/nope.css": "there is no file", "/schedules/nope/run": "unknown schedule",
		"/enqueue/jobs/nope": "declares no job or group", "/enable": "select schedules in the list first",
	} {
		tb.visit(path)
		tb.waitForText("main", part)
		tb.requireAccessible(path)
	}
	tb.follow("main a")
	tb.waitForText("h1", "Schedules")
}

// The search runs on the server while the user types, and keeps the selected
// state.
func TestSearchWhileTyping(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		h.enable("feed-refresh")
		tb := h.open(t, "/?state=DISABLED")
		tb.typeInto("#search", "matching")
		tb.waitFor(`document.querySelectorAll("#rows tr").length === 1`)
		tb.waitForText("#counts", "1 schedule: 0 enabled, 1 disabled matching “matching”")
		require.Equal(t, "?search=matching&state=DISABLED", js[string](tb, `location.search`))
		require.Equal(t, "search", js[string](tb, `document.activeElement.id`))
		tb.typeInto("#search", " nothing")
		tb.waitForText("main", "No schedule matches")
		tb.checkState("no-match")
		tb.follow("section.empty a")
		require.Equal(t, 4, js[int](tb, `document.querySelectorAll("#rows tr").length`))
	})
}

func TestSortAndFilterByState(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	h.enable("feed-refresh", "daily-full-sync")
	tb := h.open(t, "/")
	order := func() string {
		return js[string](tb, `[...document.querySelectorAll("#rows tr")].map((r) => r.id).join(" ")`)
	}
	tb.follow(`thead a[href*="nextRunAt"]`)
	require.Equal(t, "row-feed-refresh row-daily-full-sync row-hourly-matching row-shop/ledger.v2:a", order())
	require.Equal(t, "ascending", js[string](tb, `document.querySelector('th[aria-sort]:not([aria-sort="none"])').getAttribute("aria-sort")`))
	tb.follow(`.chips a[href*="DISABLED"]`)
	require.Equal(t, "row-hourly-matching row-shop/ledger.v2:a", order())
	require.Equal(t, "Disabled 2", strings.Join(strings.Fields(tb.text(".chips [aria-current]")), " "))
}
