package page_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// focusOn presses Tab until an element has the focus. The focus must be
// visible.
func (tb *tab) focusOn(id string) {
	tb.Helper()
	for range 200 {
		if js[string](tb, `document.activeElement?.id ?? ""`) == id {
			ring := js[string](tb, `getComputedStyle(document.activeElement).outlineStyle`)
			require.NotEqual(tb, "none", ring, "the focus on %s cannot be seen", id)
			return
		}
		tb.press(kb.Tab)
	}
	tb.Fatalf("Tab does not reach %s", id)
}

// The page can be used with the keyboard alone.
func TestPageWorksWithKeyboard(t *testing.T) {
	t.Parallel()
	h := newHostWithHistory(t, dbtest.SQLite(t), setup{})
	tb := h.open(t, "/")
	tb.press(kb.Tab)
	require.Equal(t, "Skip to content", js[string](tb, `document.activeElement.textContent`))
	tb.press(kb.Enter)
	require.Equal(t, "main", js[string](tb, `document.activeElement.id`))

	tb.focusOn("switch-shop/ledger.v2:a")
	tb.press(" ")
	tb.waitFor(`document.activeElement.getAttribute("aria-checked") === "true"`)
	require.True(t, h.schedule("shop/ledger.v2:a").Enabled)

	tb.focusOn("run-shop/ledger.v2:a")
	tb.press(kb.Enter)
	tb.waitForText("dialog", "Run Ledger now?")
	require.Equal(t, "TEXTAREA", js[string](tb, `document.activeElement.nodeName`))
	for range 5 { // the focus stays in the dialog
		tb.press(kb.Tab)
		require.True(t, js[bool](tb, `document.activeElement === document.body || Boolean(document.activeElement.closest("dialog"))`))
	}
	tb.press(kb.Escape)
	tb.waitFor(`!document.getElementById("dialog").open`)
	require.Equal(t, "run-shop/ledger.v2:a", js[string](tb, `document.activeElement.id`))
	before := len(h.runs(hourbell.RunQuery{Limit: 1000}))
	tb.press(kb.Enter)
	tb.waitForText("dialog", "Run Ledger now?")
	tb.press(kb.Tab)
	tb.press(kb.Enter)
	tb.waitForText("dialog", "1 run enqueued")
	require.Len(t, h.runs(hourbell.RunQuery{Limit: 1000}), before+1)
	js[bool](tb, `(globalThis.submits = 0, addEventListener("submit", () => submits++), true)`)
	tb.press(kb.Enter) // on Close
	tb.waitFor(`!document.getElementById("dialog").open`)
	require.Equal(t, "run-shop/ledger.v2:a", js[string](tb, `document.activeElement.id`))
	require.Zero(t, js[int](tb, `submits`), "Enter on Close must not press Run now")
}

// The timeline is one stop of the Tab key. The arrow keys move from mark to
// mark, and the text of the mark is shown.
func TestTimelineWorksWithKeyboard(t *testing.T) {
	t.Parallel()
	h := newHostWithHistory(t, dbtest.SQLite(t), setup{})
	tb := h.open(t, "/")
	require.Equal(t, 1, js[int](tb, `document.querySelectorAll('.timeline [role=img][tabindex="0"]').length`))
	js[bool](tb, `(document.querySelector('.timeline [role=img][tabindex="0"]').focus(), true)`)
	require.Contains(t, tb.text("#mark-text"), "Daily full sync: Sun 29 Mar 03:00 CEST: upcoming, clocks go forward")
	tb.press(kb.ArrowDown)
	require.Contains(t, tb.text("#mark-text"), "Feed refresh: ")
	tb.press(kb.End)
	require.Contains(t, tb.text("#mark-text"), "upcoming, Every 15 minutes")
	tb.press(kb.Home)
	require.Regexp(t, `^Feed refresh: Sat 28 Mar 05:0\d:\d\d CET to .*: \d+ fired, 0 failed, 0 skipped$`, tb.text("#mark-text"))
	tb.press(kb.ArrowRight)
	require.Contains(t, tb.text("#mark-text"), "4 failed")
	tb.press(kb.ArrowLeft)
	tb.press(kb.ArrowUp)
	require.Contains(t, tb.text("#mark-text"), "Daily full sync")
	tb.press(kb.ArrowDown)
	tb.press(kb.ArrowDown)
	tb.press(kb.Home)
	require.Equal(t, "Hourly matching: Sat 28 Mar 06:00 CET: fired on time", tb.text("#mark-text"))
}

// longNames returns a setup whose declarations have very long texts.
func longNames() setup {
	long := strings.Repeat("reconciliation-of-everything-", 3)
	return setup{Config: hourbell.Config{
		Jobs: []hourbell.Job{{Name: long + "job", Group: long + "group", Description: strings.Repeat("All of it, and more. ", 12)}, {Name: "b"}},
		Definitions: []hourbell.Definition{
			{ID: long + "id", Name: strings.Repeat("W", 90), Description: strings.Repeat("Everything there is to say. ", 12), Cron: "0,7,13,22,29,31,44,58 1-5,9,11-13 1,15,28 1-3,11 MON-THU", TimeZone: "America/Argentina/ComodRivadavia", Target: hourbell.Group(long + "group")},
			{ID: "all", Cron: "* * * * * *", Target: hourbell.AllJobs()},
		},
	}}
}

// The pages fit windows from 360 to 2,560 pixels, also with very long texts.
func TestPagesFitEveryWidth(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("slow, and has no concurrency to check")
	}
	h := newHostWithHistory(t, dbtest.SQLite(t), setup{})
	longHost := newHost(t, dbtest.SQLite(t), longNames())
	longHost.enable("all")
	_, err := longHost.scheduler.EnqueueAll(t.Context(), hourbell.EnqueueOptions{Actor: strings.Repeat("a", 80), Note: strings.Repeat("b", 300)})
	require.NoError(t, err)
	long := longHost.scheduler.Jobs()[0].Name
	tb, longTab := h.newTab(t), longHost.newTab(t)
	for _, width := range []int64{360, 768, 1100, 1440, 2560} {
		for _, path := range []string{"/", "/schedules/hourly-matching", "/runs", "/runs/105", "/enqueue", "/schedules/hourly-matching/run"} {
			tb.setSize(width, 800)
			tb.visit(path)
			tb.checkState(fmt.Sprintf("width-%d%s", width, strings.ReplaceAll(path, "/", "-")))
		}
		for _, path := range []string{"/", "/schedules/" + strings.TrimSuffix(long, "job") + "id", "/runs", "/runs/1", "/enqueue", "/enqueue/all"} {
			longTab.setSize(width, 800)
			longTab.visit(path)
			longTab.checkState(fmt.Sprintf("long-%d%s", width, strings.ReplaceAll(path[:min(len(path), 20)], "/", "-")))
		}
	}
}

// Touch targets are at least 44 pixels in each direction.
func TestTouchTargetsAreLarge(t *testing.T) {
	t.Parallel()
	h := newHostWithHistory(t, dbtest.SQLite(t), setup{})
	tb := h.newTab(t)
	tb.setSize(360, 800)
	for _, path := range []string{"/", "/schedules/hourly-matching", "/runs", "/enqueue", "/enqueue/all"} {
		tb.visit(path)
		small := js[string](tb, `[...document.querySelectorAll("button, .button, select, input:not([type=hidden], [type=checkbox]), summary, nav a, td.pick label, .brand")]
			.filter((e) => e.checkVisibility()).filter((e) => { const r = e.getBoundingClientRect(); return r.height < 44 || r.width < 44; }).map((e) => e.outerHTML).join("\n")`)
		require.Empty(t, small, path)
	}
}

func TestPagesInDarkScheme(t *testing.T) {
	t.Parallel()
	h := newHostWithHistory(t, dbtest.SQLite(t), setup{})
	tb := h.newTab(t)
	tb.setDark()
	for _, path := range []string{"/", "/schedules/hourly-matching", "/runs", "/runs/105", "/enqueue", "/enqueue/all"} {
		tb.visit(path)
		tb.checkState("dark" + strings.ReplaceAll(path, "/", "-"))
	}
	tb.visit("/")
	tb.click(`[id="run-hourly-matching"]`)
	tb.waitForText("dialog", "Run Hourly matching now?")
	tb.checkState("dark-dialog")
}

// Without JavaScript, every action works with plain forms.
func TestPageWorksWithoutJavaScript(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		tb := h.newTab(t)
		tb.disableScript()
		tb.expectErrors("409")
		tb.visit("/?search=e&sort=name")
		tb.checkState("without-script")
		tb.follow(switchFeed)
		require.True(t, h.schedule("feed-refresh").Enabled)
		require.True(t, strings.HasSuffix(js[string](tb, `location.href`), prefix+"/?search=e&sort=name"), "back to the same list")

		tb.follow(runFeed)
		require.Contains(t, tb.text("main"), "2 jobs will be enqueued")
		tb.checkState("without-script-run")
		tb.typeInto("textarea", "try it")
		tb.follow("main button")
		require.Contains(t, tb.text("main"), "2 runs enqueued")
		require.Equal(t, "try it", h.events(hourbell.EventQuery{Kind: hourbell.EventRunNow})[0].Note)
		tb.follow("main .items a")
		require.Contains(t, tb.text("h1"), "Run ")

		tb.visit("/schedules/feed-refresh")
		tb.follow(switchFeed)
		require.NoError(t, h.scheduler.Disable(t.Context(), "feed-refresh", hourbell.ChangeOptions{}))
		tb.follow("main button")
		require.Contains(t, tb.text("h1"), "Changed in the meantime")
		tb.follow("main a")
		require.Contains(t, tb.text("h1"), "Schedules")

		tb.click(`input[value="feed-refresh"]`)
		tb.click(`input[value="hourly-matching"]`)
		tb.follow("#bulk button[formaction]")
		tb.follow("main button")
		require.Contains(t, tb.text("main"), "2 schedules enabled")

		tb.visit("/enqueue?search=matching")
		tb.follow(`[id="group-matching"]`)
		tb.follow("main button")
		require.Contains(t, tb.text("main"), "2 runs enqueued")
		tb.visit("/")
		tb.typeInto("#search", "ledger")
		tb.follow(".search button")
		require.Equal(t, 1, js[int](tb, `document.querySelectorAll("#rows tr").length`))
	})
}

// The pages escape texts from definitions, notes, errors and actors.
func TestPagesEscapeText(t *testing.T) {
	t.Parallel()
	const hostile = `"><script>hacked=1</script><img src=x onerror=hacked=1>'{{.}}</textarea></title>&lt;`
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := setup{Config: hourbell.Config{
			Jobs: []hourbell.Job{{Name: hostile, Group: hostile, Description: hostile, Args: hostile}},
			Definitions: []hourbell.Definition{
				{ID: "feed-refresh", Name: hostile, Description: hostile, Cron: "*/15 * * * *", Target: hourbell.Group(hostile)},
			},
		}}
		h := newHost(t, db, s)
		h.refuses = func(run hourbell.JobRun) bool { return run.Trigger == hourbell.TriggerCron }
		options := hourbell.ChangeOptions{Actor: hostile, Note: hostile}
		require.NoError(t, h.scheduler.Disable(t.Context(), "feed-refresh", options))
		require.NoError(t, h.scheduler.Enable(t.Context(), "feed-refresh", options))
		_, err := h.scheduler.RunNow(t.Context(), "feed-refresh", hourbell.EnqueueOptions{Actor: hostile, Note: hostile, IdempotencyKey: hostile[:60]})
		require.NoError(t, err)
		h.execute(func(hourbell.JobRun) bool { return true })
		h.set("feed-refresh", "locked_by", hostile)
		h.set("feed-refresh", "locked_at", evening)
		h.set("feed-refresh", "last_error", hostile)
		require.NoError(t, h.db.Exec("UPDATE hourbell_job_runs SET error = ?, leased_by = ?", hostile, hostile).Error)

		tb := h.newTab(t)
		tb.expectErrors("400", "404")
		job := strings.ReplaceAll(url.QueryEscape(hostile), "+", "%20")
		for _, path := range []string{
			"/", "/schedules/feed-refresh", "/runs", "/runs/1", "/enqueue", "/enqueue/jobs/" + job, "/enqueue/groups/" + job, "/schedules/feed-refresh/run",
			"/schedules/feed-refresh/unlock", "/disable?id=feed-refresh", "/?search=" + job, "/runs?job=" + job, "/enqueue?search=" + job, "/" + job, "/?" + job + "=1",
			"/schedules/" + job, "/runs?status=" + job,
		} {
			tb.visit(path)
			require.False(t, js[bool](tb, `"hacked" in window || Boolean(document.querySelector("main img, main script, header script"))`), path)
			require.NotContains(t, tb.text("body"), "ZgotmplZ", path)
		}
		tb.visit("/")
		tb.waitForText("main", hostile)
		tb.click(runFeed)
		tb.waitForText("dialog", hostile)
		require.False(t, js[bool](tb, `"hacked" in window || Boolean(document.querySelector("dialog img, dialog script"))`))
	})
}

// A page of another origin cannot write. The content security policy forbids
// frames, and scripts other than the page's own.
func TestOtherOriginCannotWrite(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	for _, path := range []string{"/schedules/feed-refresh/enable", "/schedules/feed-refresh/run", "/enqueue/all", "/enable"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+path, strings.NewReader("id=feed-refresh"))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		res, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		if path != "/enable" { // which reports the refusal for each schedule
			require.Equal(t, http.StatusForbidden, res.StatusCode, path)
		}
	}
	require.False(t, h.schedule("feed-refresh").Enabled)
	require.Empty(t, h.runs(hourbell.RunQuery{}))

	tb := h.open(t, "/")
	policy := js[string](tb, `fetch("./").then((response) => response.headers.get("Content-Security-Policy"))`)
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		require.Contains(t, policy, part)
	}
	require.NotContains(t, policy, "unsafe")
	tb.expectErrors("Content Security Policy", "content security policy")
	js[bool](tb, `(() => { const s = document.createElement("script"); s.textContent = "hacked = 1"; document.body.append(s); return true; })()`)
	require.False(t, js[bool](tb, `"hacked" in window`), "the policy blocks inline scripts")
}
