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
	closeLink  = "dialog [data-close]"
)

func TestEnableNeedsNoConfirmation(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		tb := h.open(t, "/")
		tb.waitForText("main", "No schedule is enabled, so nothing fires")
		tb.click(switchFeed)
		tb.waitFor(`document.querySelector(%s).getAttribute("aria-checked") === "true"`, switchFeed)
		tb.waitFor(`!document.querySelector("main").innerText.includes("No schedule is enabled")`)
		require.True(t, h.schedule("feed-refresh").Enabled)
		require.Equal(t, "ada", h.events(hourbell.EventQuery{Kind: hourbell.EventEnabled})[0].Actor)
		require.True(t, js[bool](tb, `document.activeElement.id === "switch-feed-refresh"`), "the switch keeps the focus")
		tb.waitForText(`[id="row-feed-refresh"]`, "17:15 CET")
		tb.waitFor(`document.getElementById("announcement").textContent === "Feed refresh is enabled."`)
	})
}

func TestRunNowShowsJobsAndRuns(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		h.enable("feed-refresh")
		tb := h.open(t, "/")
		tb.click(runFeed)
		tb.waitForText("dialog", "Run Feed refresh now?")
		require.Contains(t, tb.text("dialog"), "2 jobs will be enqueued. The next scheduled run remains Sat 28 Mar 17:15 CET.")
		require.Equal(t, "import-prices\npublish-offers", tb.text("dialog .items"))
		tb.checkState("run-now")
		tb.typeInto("dialog textarea", "the shop was down")
		tb.do(chromedp.DoubleClick(chromedp.CSS(confirm)))
		tb.waitForText("dialog", "2 runs enqueued")
		require.Contains(t, tb.text("dialog .items"), "import-prices run ")
		tb.checkState("run-now-done")

		require.Len(t, h.runs(hourbell.RunQuery{}), 2, "a double click enqueues once")
		events := h.events(hourbell.EventQuery{Kind: hourbell.EventRunNow})
		require.Len(t, events, 1)
		require.Equal(t, []string{"ada", "the shop was down"}, []string{events[0].Actor, events[0].Note})
		tb.click(closeLink)
		tb.waitForText(`[id="row-feed-refresh"]`, "2 queued")
		require.Contains(t, tb.text(`[id="row-feed-refresh"] [data-label="Last run"]`), "run now by ada")
		require.Equal(t, "run-feed-refresh", js[string](tb, `document.activeElement.id`), "the button has the focus again")
	})
}

// If the response is lost, the same dialog can send the request again, and it
// enqueues once.
func TestRepeatedDialogRequestEnqueuesOnce(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	tb := h.open(t, "/")
	tb.expectErrors("net::ERR_FAILED", "ERR_CONNECTION")
	tb.click(runFeed)
	tb.waitForText("dialog", "Run Feed refresh now?")
	// The response of the next request is lost.
	js[bool](tb, `(() => { const real = fetch; window.fetch = (...args) => { window.fetch = real; return real(...args).then(() => { throw new TypeError("lost"); }); }; return true; })()`)
	tb.click(confirm)
	tb.waitForText("dialog", "It is safe to send it again")
	tb.checkState("request-failed")
	tb.click(confirm)
	tb.waitForText("dialog", "Nothing was enqueued twice")
	require.Len(t, h.runs(hourbell.RunQuery{}), 2)
}

func TestNewRunsAppearLive(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	tb := h.open(t, "/")
	_, err := h.scheduler.RunNow(t.Context(), "feed-refresh", hourbell.EnqueueOptions{Actor: "grace"})
	require.NoError(t, err)
	tb.waitForText(`[id="row-feed-refresh"]`, "2 queued")
	h.execute(nil)
	tb.waitForText(`[id="row-feed-refresh"]`, "2 succeeded")
}

func TestDisableRecordsNote(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		h.enable("feed-refresh")
		tb := h.open(t, "/?state=ENABLED")
		tb.click(switchFeed)
		tb.waitForText("dialog", "Disable Feed refresh?")
		tb.checkState("disable")
		tb.typeInto("dialog textarea", "too many prices at once")
		tb.click(confirm)
		tb.waitForText("main", "No schedule matches")
		require.False(t, js[bool](tb, `document.getElementById("dialog").open`))
		row := h.schedule("feed-refresh")
		require.False(t, row.Enabled)
		require.Equal(t, "too many prices at once", row.EnabledNote)
		tb.visit("/schedules/feed-refresh")
		require.Contains(t, tb.text("main"), "too many prices at once")
	})
}

// A change of a schedule that was changed in the meantime is refused, and the
// page shows the new state.
func TestOutdatedChangeIsRefused(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	tb := h.open(t, "/")
	tb.expectErrors("409")
	h.enable("feed-refresh") // in the meantime
	tb.click(switchFeed)
	tb.waitForText("dialog", "Changed in the meantime")
	tb.waitForText("dialog", "reload it before you try again")
	tb.checkState("changed-in-the-meantime")
	tb.click(closeLink)
	tb.waitFor(`document.querySelector(%s).getAttribute("aria-checked") === "true"`, switchFeed)

	tb.click(switchFeed)
	tb.waitForText("dialog", "Disable Feed refresh?")
	require.NoError(t, h.scheduler.Disable(t.Context(), "feed-refresh", hourbell.ChangeOptions{Actor: "grace"}))
	require.NoError(t, h.scheduler.Enable(t.Context(), "feed-refresh", hourbell.ChangeOptions{Actor: "grace", Note: "it is needed tonight"}))
	tb.click(confirm)
	tb.waitForText("dialog", "Changed in the meantime")
	require.True(t, h.schedule("feed-refresh").Enabled)
}

func TestEnqueueGroup(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		tb := h.open(t, "/enqueue")
		tb.checkState("enqueue")
		tb.click(`[id="group-matching"]`)
		tb.waitForText("dialog", "2 jobs will be enqueued, once each. Schedules are not affected.")
		require.Equal(t, "match-payments\nmatch-refunds", tb.text("dialog .items"))
		tb.click(confirm)
		tb.waitForText("dialog", "2 runs enqueued")
		runs := h.runs(hourbell.RunQuery{Group: "matching"})
		require.Len(t, runs, 2)
		require.Equal(t, hourbell.TriggerAPI, runs[0].Trigger)
		require.Equal(t, "ada", runs[0].Actor)
	})
}

func TestEnqueueAll(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	tb := h.open(t, "/")
	tb.click("#enqueue-all")
	tb.waitForText("dialog", "Enqueue all jobs?")
	require.Contains(t, tb.text("dialog"), "5 jobs will be enqueued")
	tb.click(confirm)
	tb.waitForText("dialog", "5 runs enqueued")
	require.Len(t, h.runs(hourbell.RunQuery{}), 5)
}

func TestEnqueueJob(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	tb := h.open(t, "/enqueue?search=ledger")
	tb.click(`[id="job-export-ledger"]`)
	tb.click(confirm)
	tb.waitForText("dialog", "1 run enqueued")
	require.Len(t, h.runs(hourbell.RunQuery{Job: "export-ledger"}), 1)
}

// Several schedules can be enabled or disabled together. The result of each is
// shown.
func TestChangeSeveralSchedules(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{admin: admin.Config{Authorize: func(_ *http.Request, a admin.Action) (string, error) {
			if a.Verb == admin.Disable && a.ScheduleID == "hourly-matching" {
				return "", errors.New("the matching team disables it")
			}
			return "ada", nil
		}}})
		tb := h.open(t, "/")
		require.False(t, js[bool](tb, `document.getElementById("bulk").checkVisibility()`), "nothing is selected")
		for _, id := range []string{"feed-refresh", "hourly-matching"} {
			tb.click(`input[value="` + id + `"]`)
		}
		tb.waitForText("#bulk", "2 selected")
		tb.checkState("selected")
		tb.click("#bulk button[formaction]")
		tb.waitForText("dialog", "Enable 2 schedules?")
		tb.click(confirm)
		tb.waitForText("dialog", "2 schedules enabled")
		tb.click(closeLink)
		require.True(t, h.schedule("feed-refresh").Enabled && h.schedule("hourly-matching").Enabled)

		tb.waitFor(`document.querySelectorAll("input[form=bulk]:checked").length === 2`)
		tb.click("#bulk button:not([formaction])")
		tb.waitForText("dialog", "Disable 2 schedules?")
		tb.waitForText("dialog", "the matching team disables it")
		tb.typeInto("dialog textarea", "the database moves")
		tb.click(confirm)
		tb.waitForText("dialog", "1 schedule disabled, 1 schedule not")
		tb.waitForText("dialog .item-error", "the matching team disables it")
		require.Equal(t, "the database moves", h.schedule("feed-refresh").EnabledNote)
		require.True(t, h.schedule("hourly-matching").Enabled)
	})
}

func TestUnlockClearsLock(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	h.enable("feed-refresh")
	h.set("feed-refresh", "locked_by", "web-9")
	h.set("feed-refresh", "locked_at", evening)
	tb := h.open(t, "/schedules/feed-refresh")
	tb.waitForText("main", "expires at Sat 28 Mar 16:10:20 UTC at the latest")
	tb.checkState("locked")
	tb.click(`[id="unlock-feed-refresh"]`)
	tb.waitForText("dialog", "Worker web-9 holds the lock")
	tb.typeInto("dialog textarea", "web-9 is gone")
	tb.click(confirm)
	tb.waitForText("main", "a worker holds the lock only while it enqueues")
	event := h.events(hourbell.EventQuery{Kind: hourbell.EventUnlocked})[0]
	require.Equal(t, []string{"ada", "web-9 is gone"}, []string{event.Actor, event.Note})
	tb.waitForText("#event-rows", "web-9 is gone")
}

// A control that the user may not use is disabled and shows the reason. The
// server refuses the action too.
func TestDeniedControlIsDisabled(t *testing.T) {
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
	tb.waitForText("main", "You cannot do this: only the feed team runs this one")
	require.False(t, js[bool](tb, `Boolean(document.querySelector("main button"))`))
	tb.expectErrors("403")
	require.Equal(t, 403.0, js[float64](tb, `fetch("run", {method: "POST"}).then((response) => response.status)`))
	require.Empty(t, h.runs(hourbell.RunQuery{}))
}

func TestReadOnlyPage(t *testing.T) {
	t.Parallel()
	h := newHost(t, dbtest.SQLite(t), setup{admin: admin.Config{ReadOnly: true}})
	tb := h.open(t, "/")
	tb.expectErrors("403")
	require.Contains(t, tb.text(".actor"), "read-only")
	require.Zero(t, js[int](tb, `[...document.querySelectorAll("main form:not(.search) button")].filter((b) => b.getAttribute("aria-disabled") !== "true" && b.checkVisibility()).length`))
	tb.checkState("read-only")
	for _, path := range []string{"schedules/feed-refresh/enable", "schedules/feed-refresh/run", "enqueue/all", "enqueue/groups/feed"} {
		require.Equal(t, 403.0, js[float64](tb, `fetch(%s, {method: "POST"}).then((response) => response.status)`, path), path)
	}
	require.False(t, h.schedule("feed-refresh").Enabled)
	require.Empty(t, h.runs(hourbell.RunQuery{}))
}

// If the session has ended, the dialog shows the error of Authorize.
func TestEndedSessionIsShown(t *testing.T) {
	t.Parallel()
	var ended atomic.Bool
	h := newHost(t, dbtest.SQLite(t), setup{admin: admin.Config{Authorize: func(*http.Request, admin.Action) (string, error) {
		if ended.Load() {
			return "", admin.ErrUnauthenticated
		}
		return "ada", nil
	}}})
	tb := h.open(t, "/")
	tb.expectErrors("401")
	ended.Store(true)
	tb.click(runFeed)
	tb.waitForText("dialog", "not logged in")
	tb.checkState("session-ended")
}

// If the host's middleware responds with a login page, the page does not treat
// it as success.
func TestLoginPageIsNotSuccess(t *testing.T) {
	t.Parallel()
	var loggedOut atomic.Bool
	h := newHost(t, dbtest.SQLite(t), setup{guard: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/login":
				w.Header().Set("Content-Type", "text/html")
				_, _ = w.Write([]byte("<!doctype html><title>Log in</title><form><input name=password></form>"))
			case loggedOut.Load():
				http.Redirect(w, r, "/login", http.StatusSeeOther)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}})
	tb := h.open(t, "/")
	tb.click(runFeed)
	tb.waitForText("dialog", "Run Feed refresh now?")
	loggedOut.Store(true)
	tb.click(confirm)
	tb.waitForText("dialog", "are you still logged in?")
	require.Empty(t, h.runs(hourbell.RunQuery{}))
	tb.press(kb.Escape)
	tb.click("h1") // polling pauses while a row has the focus
	tb.waitForText(".stale", "are you still logged in?")
	tb.click(switchFeed)
	tb.waitForText(".stale", "are you still logged in?")
	require.False(t, h.schedule("feed-refresh").Enabled)
	loggedOut.Store(false)
	tb.click("h1")
	tb.waitFor(`!document.querySelector(".stale").checkVisibility()`)
	tb.click(runFeed)
	tb.waitForText("dialog", "Run Feed refresh now?")
}

// After the result dialog is closed, clicks work at once, even while the page
// is still being refreshed.
func TestClickDuringRefreshIsNotLost(t *testing.T) {
	t.Parallel()
	var listLock sync.RWMutex // the handler of the list waits for it
	h := newHost(t, dbtest.SQLite(t), setup{guard: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.URL.Path == prefix+"/" {
				listLock.RLock()
				defer listLock.RUnlock()
			}
			next.ServeHTTP(w, r)
		})
	}})
	tb := h.open(t, "/")
	tb.click(runFeed)
	tb.waitForText("dialog", "Run Feed refresh now?")
	listLock.Lock()
	release := sync.OnceFunc(listLock.Unlock)
	defer release() // otherwise a failed test could not close the server
	tb.click(confirm)
	tb.waitForText("dialog", "2 runs enqueued")
	tb.click(closeLink)
	tb.waitFor(`!document.getElementById("dialog").open`)
	tb.click(runFeed)
	tb.waitForText("dialog", "Run Feed refresh now?")
	release()
	tb.click(confirm)
	tb.waitForText("dialog", "2 runs enqueued")
	require.Len(t, h.runs(hourbell.RunQuery{}), 4)
}
