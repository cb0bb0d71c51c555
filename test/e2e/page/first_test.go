package page_test

import (
	"fmt"
	"image/png"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// Someone who opens the page for the first time sees what runs, what ran, what did not and why.
func TestTheFirstLook(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := lived(t, db, setup{})
		tb := h.open(t, "/")
		tb.state("list")
		require.Contains(t, tb.text("#counts"), "4 schedules: 3 enabled, 1 disabled")
		require.Contains(t, tb.text("#health"), "2 alive")
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
		lane := func(id string) string {
			return js[string](tb, `[...document.querySelectorAll(%s)].map((e) => e.textContent).join("\n")`, `[id="lane-`+id+`"] title`)
		}
		require.Contains(t, lane("hourly-matching"), "Sat 28 Mar 14:00 CET: fired on time, a run failed")
		require.Contains(t, lane("hourly-matching"), "run now by grace")
		require.Contains(t, lane("daily-full-sync"), "to come, the clock is put forward")
		require.Contains(t, tb.text(`[id="lane-hourly-matching"] .vh`), "2 slots skipped; next Sat 28 Mar 18:00 CET, 12 in the next 12 hours")
		tb.click(`[id="slots-hourly-matching"] summary`)
		require.Contains(t, tb.text(`[id="slots-hourly-matching"] li`), "Sat 28 Mar 18:00 CET Sat 28 Mar 17:00 UTC")
	})
}

// The budget of the first load: a page, its style, its script and its icon, in less than 100 KB.
func TestTheFirstLoadIsLight(t *testing.T) {
	t.Parallel()
	large := 10_000
	if testing.Short() {
		large = 1000 // the race detector makes their sync ten times as long
	}
	for name, s := range map[string]setup{"four schedules": {}, "thousands": {Config: hourbell.Config{Definitions: many(large)}}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, dbtest.SQLite(t), s)
			tb := h.open(t, "/")
			loaded := js[string](tb, `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map((e) => new URL(e.name).pathname.split("/").pop()).join(" ")`)
			require.Contains(t, []string{" page.css page.js", " page.css page.js icon.svg"}, loaded, "and nothing else")
			bytes := js[float64](tb, `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((sum, e) => sum + e.transferSize, 0)`)
			t.Logf("%.1f KB", bytes/1000)
			require.Less(t, bytes, 100_000.0)

			// Again: only the page itself.
			tb.visit("/")
			require.Zero(t, js[int](tb, `performance.getEntriesByType("resource").filter((e) => e.transferSize > 0 && e.name.includes("/static/")).length`))
		})
	}
}

// many declares n schedules that differ.
func many(n int) []hourbell.Definition {
	list := make([]hourbell.Definition, n)
	for i := range list {
		list[i] = hourbell.Definition{
			ID: fmt.Sprintf("schedule-%05d", i), Name: fmt.Sprintf("Schedule %d", i), Description: "One of many.",
			Cron: fmt.Sprintf("%d * * * *", i%60), TimeZone: "Europe/Berlin", Target: hourbell.Group("feed"), EnabledByDefault: i%2 == 0,
		}
	}
	return list
}

// Ten thousand schedules are paged and searched on the server.
func TestTenThousandSchedules(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it is long, and has no race")
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{Config: hourbell.Config{Definitions: many(10_000)}})
		tb := h.open(t, "/")
		require.Contains(t, tb.text("#counts"), "10000 schedules: 5000 enabled, 5000 disabled")
		require.Equal(t, 25, js[int](tb, `document.querySelectorAll("#rows tr").length`))
		tb.state("ten-thousand")
		tb.follow("a[rel=next]")
		require.Contains(t, tb.text("#rows tr"), "schedule-00025")
		tb.typeInto("#search", "schedule-09999")
		tb.await(`document.querySelectorAll("#rows tr").length === 1`)
		require.Contains(t, tb.text("#rows tr"), "Schedule 9999")
	})
}

// What the list page costs. It must not grow with the schedules that are not on it.
func BenchmarkListPage(b *testing.B) {
	for _, n := range []int{25, 100, 10_000} {
		for _, database := range []func(testing.TB) *dbtest.DB{dbtest.SQLite, dbtest.Postgres} {
			db := database(b)
			h := newHost(b, db, setup{Config: hourbell.Config{Definitions: many(n)}})
			h.live(evening.Add(2*3600e9), nil)
			b.Run(fmt.Sprintf("%s/%d", db.Dialect, n), func(b *testing.B) {
				for b.Loop() {
					answer, err := http.Get(h.url + "/")
					require.NoError(b, err)
					size, err := io.Copy(io.Discard, answer.Body)
					require.NoError(b, err)
					require.NoError(b, answer.Body.Close())
					b.ReportMetric(float64(size), "bytes/page")
				}
			})
		}
	}
}

// The README shows the page as it is, light and dark. HOURBELL_PICTURES=1 takes the pictures anew.
func TestPicturesOfTheREADME(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	h := lived(t, dbtest.SQLite(t), setup{})
	tb := h.tab(t)
	tb.size(1440, 1000)
	for _, colours := range []string{"light", "dark"} {
		if colours == "dark" {
			tb.dark()
		}
		name := "docs/page-" + colours + ".png"
		require.Contains(t, string(readme), name)
		if os.Getenv("HOURBELL_PICTURES") == "1" {
			tb.visit("/")
			picture, err := chromedp.Run(tb.ctx, chromedp.CaptureScreenshot())
			require.NoError(t, err)
			require.NoError(t, os.WriteFile("../../"+name, picture, 0o644))
		}
		file, err := os.Open("../../" + name)
		require.NoError(t, err)
		shape, err := png.DecodeConfig(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		require.Equal(t, []int{1440, 1000}, []int{shape.Width, shape.Height})
	}
}
