package page_test

import (
	"fmt"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// The list shows for each schedule its next and last run, its outcomes and why
// slots were skipped.
func TestListShowsSchedules(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHostWithHistory(t, db, setup{})
		tb := h.open(t, "/")
		tb.checkState("list")
		require.Contains(t, tb.text("#counts"), "4 schedules: 3 enabled, 1 disabled")
		require.Contains(t, tb.text("#health"), "2 active")
		require.Contains(t, tb.text("#health"), "30 ms", "the largest skew")
		for id, parts := range map[string][]string{
			"hourly-matching": {"Every hour", "0 * * * * Europe/Berlin", "Group matching (2)", "Sat 28 Mar 18:00 CET", "in 54 min", "2 succeeded", "on time, slot Sat 28 Mar 17:00 CET"},
			"feed-refresh":    {"Every 15 minutes", "Group feed (2)"},
			"daily-full-sync": {"All jobs (5)", "Sun 29 Mar 03:00 CEST", "moved by a clock change"},
		} {
			for _, part := range parts {
				require.Contains(t, tb.text(`[id="row-`+id+`"]`), part)
			}
		}
		timeline := func(id string) string {
			return js[string](tb, `[...document.querySelectorAll(%s)].map((e) => e.textContent).join("\n")`, `[id="strip-`+id+`"] title`)
		}
		require.Contains(t, timeline("hourly-matching"), "Sat 28 Mar 14:00 CET: fired on time, a run failed")
		require.Contains(t, timeline("hourly-matching"), "run now by grace")
		require.Contains(t, timeline("daily-full-sync"), "upcoming, clocks go forward")
		require.Contains(t, tb.text(`[id="strip-hourly-matching"] .vh`), "2 slots skipped; next Sat 28 Mar 18:00 CET, 12 in the next 12 hours")
		tb.click(`[id="slots-hourly-matching"] summary`)
		require.Contains(t, tb.text(`[id="slots-hourly-matching"] li`), "Sat 28 Mar 18:00 CET Sat 28 Mar 17:00 UTC")
	})
}

// The first load transfers only the page, the style sheet, the script and the
// icon: less than 100 KB in total.
func TestFirstLoadIsSmall(t *testing.T) {
	t.Parallel()
	large := 10_000
	if testing.Short() {
		large = 1000 // the race detector makes their sync ten times slower
	}
	for name, s := range map[string]setup{"four schedules": {}, "thousands": {Config: hourbell.Config{Definitions: manyDefinitions(large)}}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, dbtest.SQLite(t), s)
			tb := h.open(t, "/")
			loaded := js[string](tb, `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map((e) => new URL(e.name).pathname.split("/").pop()).join(" ")`)
			require.Contains(t, []string{" page.css page.js", " page.css page.js icon.svg"}, loaded, "no other files")
			bytes := js[float64](tb, `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, e) => sum + e.transferSize, 0)`)
			t.Logf("%.1f KB", bytes/1000)
			require.Less(t, bytes, 100_000.0)

			// A second visit loads only the page itself.
			tb.visit("/")
			require.Zero(t, js[int](tb, `performance.getEntriesByType("resource").filter((e) => e.transferSize > 0 && e.name.includes("/static/")).length`))
		})
	}
}

// manyDefinitions returns n different definitions.
func manyDefinitions(n int) []hourbell.Definition {
	list := make([]hourbell.Definition, n)
	for i := range list {
		list[i] = hourbell.Definition{
			ID: fmt.Sprintf("schedule-%05d", i), Name: fmt.Sprintf("Schedule %d", i), Description: "One of many.",
			Cron: fmt.Sprintf("%d * * * *", i%60), TimeZone: "Europe/Berlin", Target: hourbell.Group("feed"), EnabledByDefault: i%2 == 0,
		}
	}
	return list
}

// The server pages and searches ten thousand schedules.
func TestListOfTenThousandSchedules(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("slow, and has no concurrency to check")
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{Config: hourbell.Config{Definitions: manyDefinitions(10_000)}})
		tb := h.open(t, "/")
		require.Contains(t, tb.text("#counts"), "10000 schedules: 5000 enabled, 5000 disabled")
		require.Equal(t, 25, js[int](tb, `document.querySelectorAll("#rows tr").length`))
		tb.checkState("ten-thousand")
		tb.follow("a[rel=next]")
		require.Contains(t, tb.text("#rows tr"), "schedule-00025")
		tb.typeInto("#search", "schedule-09999")
		tb.waitFor(`document.querySelectorAll("#rows tr").length === 1`)
		require.Contains(t, tb.text("#rows tr"), "Schedule 9999")
	})
}

// BenchmarkListPage measures the list page. Its cost must not depend on the
// number of schedules on other pages.
func BenchmarkListPage(b *testing.B) {
	for _, n := range []int{25, 100, 10_000} {
		for _, database := range []func(testing.TB) *dbtest.DB{dbtest.SQLite, dbtest.Postgres} {
			db := database(b)
			h := newHost(b, db, setup{Config: hourbell.Config{Definitions: manyDefinitions(n)}})
			h.advance(evening.Add(2*3600e9), nil)
			b.Run(fmt.Sprintf("%s/%d", db.Dialect, n), func(b *testing.B) {
				for b.Loop() {
					res, err := http.Get(h.url + "/")
					require.NoError(b, err)
					size, err := io.Copy(io.Discard, res.Body)
					require.NoError(b, err)
					require.NoError(b, res.Body.Close())
					b.ReportMetric(float64(size), "bytes/page")
				}
			})
		}
	}
}

// The README has screenshots of the page, light and dark. With
// HOURBELL_PICTURES=1 this test takes them.
func TestPicturesOfREADME(t *testing.T) {
	t.Parallel()
	const repository = "../../.."
	readme, err := os.ReadFile(filepath.Join(repository, "README.md"))
	require.NoError(t, err)
	h := newHostWithHistory(t, dbtest.SQLite(t), setup{})
	tb := h.newTab(t)
	tb.setSize(1440, 1000)
	for _, scheme := range []string{"light", "dark"} {
		if scheme == "dark" {
			tb.setDark()
		}
		name := "docs/page-" + scheme + ".png"
		require.Contains(t, string(readme), name)
		if os.Getenv("HOURBELL_PICTURES") == "1" {
			tb.visit("/")
			picture, err := chromedp.Run(tb.ctx, chromedp.CaptureScreenshot())
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(repository, name), picture, 0o644))
		}
		file, err := os.Open(filepath.Join(repository, name))
		require.NoError(t, err)
		size, err := png.DecodeConfig(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		require.Equal(t, []int{1440, 1000}, []int{size.Width, size.Height})
	}
}
