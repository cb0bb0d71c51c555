package page_test

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// The ids of the controls in a row.
const (
	switchFeed = `[id="switch-feed-refresh"]`
	runFeed    = `[id="run-feed-refresh"]`
	confirm    = "dialog button.primary"
	closing    = "dialog [data-close]"
)

func TestEnablingNeedsNoConfirmation(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		tb := h.open(t, "/")
		tb.awaitText("main", "Nothing is enabled, so nothing fires")
		tb.click(switchFeed)
		tb.await(`document.querySelector(%s).getAttribute("aria-checked") === "true"`, switchFeed)
		tb.await(`!document.querySelector("main").innerText.includes("Nothing is enabled")`)
		require.True(t, h.schedule("feed-refresh").Enabled)
		require.Equal(t, "ada", h.events(hourbell.EventQuery{Kind: "ENABLED"})[0].Actor)
		require.True(t, js[bool](tb, `document.activeElement.id === "switch-feed-refresh"`), "the focus stays on the switch")
		tb.awaitText(`[id="row-feed-refresh"]`, "17:15 CET")
		tb.await(`document.getElementById("said").textContent === "Feed refresh is enabled."`)
	})
}

func TestRunNowSaysWhatItWillDoAndWhatItDid(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		h.enable("feed-refresh")
		tb := h.open(t, "/")
		tb.click(runFeed)
		tb.awaitText("dialog", "Run Feed refresh now?")
		require.Contains(t, tb.text("dialog"), "2 jobs will be enqueued. The next scheduled run, Sat 28 Mar 17:15 CET, does not move.")
		require.Equal(t, "import-prices\npublish-offers", tb.text("dialog .items"))
		tb.state("run-now")
		tb.typeInto("dialog textarea", "the shop was down")
		tb.do(chromedp.DoubleClick(chromedp.CSS(confirm)))
		tb.awaitText("dialog", "2 runs enqueued")
		require.Contains(t, tb.text("dialog .items"), "import-prices run ")
		tb.state("run-now-done")

		require.Len(t, h.runs(hourbell.RunQuery{}), 2, "a double click enqueues once")
		event := h.events(hourbell.EventQuery{Kind: "RUN_NOW"})
		require.Len(t, event, 1)
		require.Equal(t, []string{"ada", "the shop was down"}, []string{event[0].Actor, event[0].Note})
		tb.click(closing)
		tb.awaitText(`[id="row-feed-refresh"]`, "2 queued")
		require.Contains(t, tb.text(`[id="row-feed-refresh"] [data-label="Last run"]`), "run now by ada")
		require.Equal(t, "run-feed-refresh", js[string](tb, `document.activeElement.id`), "the focus is back where it was")
	})
}

// A request that did not get through can be sent again from the same dialog, and enqueues once.
func TestARequestRepeatedFromADialogEnqueuesOnce(t *testing.T) {
	t.Parallel()
	h := plain(t)
	tb := h.open(t, "/")
	tb.expects("net::ERR_FAILED", "ERR_CONNECTION")
	tb.click(runFeed)
	tb.awaitText("dialog", "Run Feed refresh now?")
	// The answer is lost on its way.
	js[bool](tb, `(() => { const real = fetch; window.fetch = (...all) => { window.fetch = real; return real(...all).then(() => { throw new TypeError("lost"); }); }; return true; })()`)
	tb.click(confirm)
	tb.awaitText("dialog", "to ask again is safe")
	tb.state("not-through")
	tb.click(confirm)
	tb.awaitText("dialog", "Nothing was enqueued twice")
	require.Len(t, h.runs(hourbell.RunQuery{}), 2)
}

func TestARunAppearsLive(t *testing.T) {
	t.Parallel()
	h := plain(t)
	tb := h.open(t, "/")
	_, err := h.scheduler.RunNow(t.Context(), "feed-refresh", hourbell.EnqueueOptions{By: hourbell.By{Actor: "grace"}})
	require.NoError(t, err)
	tb.awaitText(`[id="row-feed-refresh"]`, "2 queued")
	h.execute(nil)
	tb.awaitText(`[id="row-feed-refresh"]`, "2 succeeded")
}

func TestDisablingTakesANote(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		h.enable("feed-refresh")
		tb := h.open(t, "/?state=ENABLED")
		tb.click(switchFeed)
		tb.awaitText("dialog", "Disable Feed refresh?")
		tb.state("disable")
		tb.typeInto("dialog textarea", "too many prices at once")
		tb.click(confirm)
		tb.awaitText("main", "No schedule matches")
		require.False(t, js[bool](tb, `document.getElementById("dialog").open`))
		row := h.schedule("feed-refresh")
		require.False(t, row.Enabled)
		require.Equal(t, "too many prices at once", row.EnabledNote)
		tb.visit("/schedules/feed-refresh")
		require.Contains(t, tb.text("main"), "too many prices at once")
	})
}

// Who decides on what is no longer so is told, and sees what is.
func TestSomebodyElseChangedItMeanwhile(t *testing.T) {
	t.Parallel()
	h := plain(t)
	tb := h.open(t, "/")
	tb.expects("409")
	h.enable("feed-refresh") // grace was faster
	tb.click(switchFeed)
	tb.awaitText("dialog", "Somebody changed it meanwhile")
	tb.awaitText("dialog", "read it again, and decide again")
	tb.state("changed-meanwhile")
	tb.click(closing)
	tb.await(`document.querySelector(%s).getAttribute("aria-checked") === "true"`, switchFeed)

	tb.click(switchFeed)
	tb.awaitText("dialog", "Disable Feed refresh?")
	require.NoError(t, h.scheduler.Disable(t.Context(), "feed-refresh", hourbell.By{Actor: "grace"}))
	require.NoError(t, h.scheduler.Enable(t.Context(), "feed-refresh", hourbell.By{Actor: "grace", Note: "it is needed tonight"}))
	tb.click(confirm)
	tb.awaitText("dialog", "Somebody changed it meanwhile")
	require.True(t, h.schedule("feed-refresh").Enabled)
}

func TestEnqueueingAGroup(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		tb := h.open(t, "/enqueue")
		tb.state("enqueue")
		tb.click(`[id="group-matching"]`)
		tb.awaitText("dialog", "2 jobs will be enqueued, once each. No schedule moves.")
		require.Equal(t, "match-payments\nmatch-refunds", tb.text("dialog .items"))
		tb.click(confirm)
		tb.awaitText("dialog", "2 runs enqueued")
		runs := h.runs(hourbell.RunQuery{Group: "matching"})
		require.Len(t, runs, 2)
		require.Equal(t, []string{"API", "ada"}, []string{runs[0].Trigger, runs[0].Actor})
	})
}

func TestEnqueueingAll(t *testing.T) {
	t.Parallel()
	h := plain(t)
	tb := h.open(t, "/")
	tb.click("#enqueue-all")
	tb.awaitText("dialog", "Enqueue all jobs?")
	require.Contains(t, tb.text("dialog"), "5 jobs will be enqueued")
	tb.click(confirm)
	tb.awaitText("dialog", "5 runs enqueued")
	require.Len(t, h.runs(hourbell.RunQuery{}), 5)
}

func TestEnqueueingOneJob(t *testing.T) {
	t.Parallel()
	h := plain(t)
	tb := h.open(t, "/enqueue?search=ledger")
	tb.click(`[id="job-export-ledger"]`)
	tb.click(confirm)
	tb.awaitText("dialog", "1 run enqueued")
	require.Len(t, h.runs(hourbell.RunQuery{Job: "export-ledger"}), 1)
}

// Several schedules are enabled and disabled together, and what came of each is said.
func TestEnablingAndDisablingSeveral(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{admin: admin.Config{Authorize: func(_ *http.Request, a admin.Action) (string, error) {
			if a.Verb == admin.Disable && a.ScheduleID == "hourly-matching" {
				return "", errors.New("the matching team disables it")
			}
			return "ada", nil
		}}})
		tb := h.open(t, "/")
		require.False(t, js[bool](tb, `document.getElementById("many").checkVisibility()`), "nothing is selected")
		for _, id := range []string{"feed-refresh", "hourly-matching"} {
			tb.click(`input[value="` + id + `"]`)
		}
		tb.awaitText("#many", "With the 2 selected")
		tb.state("selected")
		tb.click("#many button[formaction]")
		tb.awaitText("dialog", "Enable 2 schedules?")
		tb.click(confirm)
		tb.awaitText("dialog", "2 schedules enabled")
		tb.click(closing)
		require.True(t, h.schedule("feed-refresh").Enabled && h.schedule("hourly-matching").Enabled)

		tb.await(`document.querySelectorAll("input[form=many]:checked").length === 2`)
		tb.click("#many button:not([formaction])")
		tb.awaitText("dialog", "Disable 2 schedules?")
		tb.awaitText("dialog", "the matching team disables it")
		tb.typeInto("dialog textarea", "the database moves")
		tb.click(confirm)
		tb.awaitText("dialog", "1 schedule disabled, 1 schedule not")
		tb.awaitText("dialog .wrong", "the matching team disables it")
		require.Equal(t, "the database moves", h.schedule("feed-refresh").EnabledNote)
		require.True(t, h.schedule("hourly-matching").Enabled)
	})
}

func TestUnlocking(t *testing.T) {
	t.Parallel()
	h := plain(t)
	h.enable("feed-refresh")
	h.set("feed-refresh", "locked_by", "web-9")
	h.set("feed-refresh", "locked_at", evening)
	tb := h.open(t, "/schedules/feed-refresh")
	tb.awaitText("main", "will be released at Sat 28 Mar 16:10:20 UTC at the latest")
	tb.state("locked")
	tb.click(`[id="unlock-feed-refresh"]`)
	tb.awaitText("dialog", "Worker web-9 holds it")
	tb.typeInto("dialog textarea", "web-9 is gone")
	tb.click(confirm)
	tb.awaitText("main", "a worker holds it while it enqueues")
	event := h.events(hourbell.EventQuery{Kind: "UNLOCKED"})[0]
	require.Equal(t, []string{"ada", "web-9 is gone"}, []string{event.Actor, event.Note})
	tb.awaitText("#event-rows", "web-9 is gone")
}

// Without the right a control is disabled with the reason, and the endpoint refuses as well.
func TestRightsOfEachAction(t *testing.T) {
	t.Parallel()
	h := newHost(t, dbtest.SQLite(t), setup{admin: admin.Config{Authorize: func(_ *http.Request, a admin.Action) (string, error) {
		if a.Verb == admin.Run && a.ScheduleID == "feed-refresh" {
			return "", errors.New("only the feed team runs this one")
		}
		return "ada", nil
	}}})
	tb := h.open(t, "/")
	require.Equal(t, "only the feed team runs this one", js[string](tb, `document.querySelector(%s).title`, runFeed))
	require.Equal(t, "true", js[string](tb, `document.querySelector(%s).getAttribute("aria-disabled")`, runFeed))
	require.Equal(t, "null", js[string](tb, `String(document.querySelector('[id="run-hourly-matching"]').getAttribute("aria-disabled"))`))
	tb.click(runFeed)
	require.False(t, js[bool](tb, `document.getElementById("dialog").open`))
	tb.visit("/schedules/feed-refresh/run")
	tb.awaitText("main", "You cannot do this: only the feed team runs this one")
	require.False(t, js[bool](tb, `Boolean(document.querySelector("main button"))`))
	tb.expects("403")
	require.Equal(t, 403.0, js[float64](tb, `fetch("run", {method: "POST"}).then((a) => a.status)`))
	require.Empty(t, h.runs(hourbell.RunQuery{}))
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	h := newHost(t, dbtest.SQLite(t), setup{admin: admin.Config{ReadOnly: true}})
	tb := h.open(t, "/")
	tb.expects("403")
	require.Contains(t, tb.text(".who"), "read-only")
	require.Zero(t, js[int](tb, `[...document.querySelectorAll("main form:not(.search) button")].filter((b) => b.getAttribute("aria-disabled") !== "true" && b.checkVisibility()).length`))
	tb.state("read-only")
	for _, path := range []string{"schedules/feed-refresh/enable", "schedules/feed-refresh/run", "enqueue/all", "enqueue/groups/feed"} {
		require.Equal(t, 403.0, js[float64](tb, `fetch(%s, {method: "POST"}).then((a) => a.status)`, path), path)
	}
	require.False(t, h.schedule("feed-refresh").Enabled)
	require.Empty(t, h.runs(hourbell.RunQuery{}))
}

// Whose session has ended is told so, in the dialog.
func TestTheSessionHasEnded(t *testing.T) {
	t.Parallel()
	var ended atomic.Bool
	h := newHost(t, dbtest.SQLite(t), setup{admin: admin.Config{Authorize: func(*http.Request, admin.Action) (string, error) {
		if ended.Load() {
			return "", admin.ErrUnauthenticated
		}
		return "ada", nil
	}}})
	tb := h.open(t, "/")
	tb.expects("401")
	ended.Store(true)
	tb.click(runFeed)
	tb.awaitText("dialog", "nobody is logged in")
	tb.state("session-ended")
}

// A guard of the host's that answers instead, as with a page to log in, is not mistaken for success.
func TestALoginPageInBetween(t *testing.T) {
	t.Parallel()
	var out atomic.Bool
	h := newHost(t, dbtest.SQLite(t), setup{guard: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/login":
				w.Header().Set("Content-Type", "text/html")
				_, _ = w.Write([]byte("<!doctype html><title>Log in</title><form><input name=password></form>"))
			case out.Load():
				http.Redirect(w, r, "/login", http.StatusSeeOther)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}})
	tb := h.open(t, "/")
	tb.click(runFeed)
	tb.awaitText("dialog", "Run Feed refresh now?")
	out.Store(true)
	tb.click(confirm)
	tb.awaitText("dialog", "are you still logged in?")
	require.Empty(t, h.runs(hourbell.RunQuery{}))
	tb.keys(kb.Escape)
	tb.click("h1") // while a row has the focus, nothing is asked
	tb.awaitText(".stale", "are you still logged in?")
	tb.click(switchFeed)
	tb.awaitText(".stale", "are you still logged in?")
	require.False(t, h.schedule("feed-refresh").Enabled)
	out.Store(false)
	tb.click("h1")
	tb.await(`!document.querySelector(".stale").checkVisibility()`)
	tb.click(runFeed)
	tb.awaitText("dialog", "Run Feed refresh now?")
}

// Whoever closes the dialog that says what was done goes on at once, though the page behind it is still being read.
func TestNoClickIsLostWhileThePageIsReadAnew(t *testing.T) {
	t.Parallel()
	var slow sync.RWMutex // held while the list is not to be answered
	h := newHost(t, dbtest.SQLite(t), setup{guard: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.URL.Path == prefix+"/" {
				slow.RLock()
				defer slow.RUnlock()
			}
			next.ServeHTTP(w, r)
		})
	}})
	tb := h.open(t, "/")
	tb.click(runFeed)
	tb.awaitText("dialog", "Run Feed refresh now?")
	slow.Lock()
	release := sync.OnceFunc(slow.Unlock)
	defer release() // or the server could not be closed where this fails
	tb.click(confirm)
	tb.awaitText("dialog", "2 runs enqueued")
	tb.click(closing)
	tb.await(`!document.getElementById("dialog").open`)
	tb.click(runFeed)
	tb.awaitText("dialog", "Run Feed refresh now?")
	release()
	tb.click(confirm)
	tb.awaitText("dialog", "2 runs enqueued")
	require.Len(t, h.runs(hourbell.RunQuery{}), 4)
}
