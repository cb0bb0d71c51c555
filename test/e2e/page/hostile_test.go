package page_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// payloads are texts that escape from elements, attributes, scripts, styles,
// comments, titles and URLs if they are not escaped, and characters that change
// how the surrounding text is displayed.
var payloads = []string{
	`<script>hacked=1</script>`, `"><img src=x onerror=hacked=1>`, `' onfocus=hacked=1 autofocus tabindex=1 x='`, `</script><script>hacked=1</script>`,
	`</title></textarea></style></svg><svg onload=hacked=1>`, `javascript:hacked=1//`, `--><!--<iframe srcdoc="<script>top.hacked=1</script>">`,
	"`${hacked=1}`{{.}}", `&lt;script&gt;&#x3c;script&#x3e;`, `data:text/html,<script>hacked=1</script>`, `%3Cscript%3Ehacked=1%3C/script%3E`,
	`<a href="javascript:hacked=1" id=dialog name=main>x</a>`, `<form id=bulk action=//evil.example>`, `<meta http-equiv=refresh content="0;url=//evil.example">`,
	`<base href=//evil.example/>`, "\u202e\u2066\u0000\u2028\u2029\r\nX: y\x1b[2J",
}

// storePayload writes a payload to every text column, as another build or a
// client of the database could.
func (h *host) storePayload(text string) {
	h.Helper()
	exec := func(sql string, args ...any) {
		h.Helper()
		require.NoError(h, h.db.Exec(sql, args...).Error)
	}
	text = strings.ReplaceAll(text, "\x00", "")
	exec(`UPDATE hourbell_schedules SET name = ?, description = ?, cron = ?, time_zone = ?, target_kind = 'GROUP', target = ?, enabled_note = ?,
		last_error = ?, consecutive_failures = 2, definition_hash = ?, locked_by = ?, locked_at = ? WHERE id = 'feed-refresh'`,
		text, text, text, text, text, text, text, text, text, h.stored(h.clock.Now()))
	exec(`UPDATE hourbell_schedules SET id = ?, name = ? WHERE id = 'hourly-matching'`, text, text)
	exec(`UPDATE hourbell_job_runs SET job = ?, job_group = ?, error = ?, actor = ?, leased_by = ?, schedule_id = ?, status = 'FAILED'`,
		text, text, text, text, text, text)
	exec(`UPDATE hourbell_job_runs SET idempotency_key = ? WHERE id = 1`, text)
	exec(`UPDATE hourbell_events SET kind = ?, reason = ?, actor = ?, note = ?, detail = ?`, text, text, text, text, text)
	exec(`UPDATE hourbell_workers SET hostname = ?, version = ?`, text, text)
}

// No page executes stored text or loads anything because of it. The content
// security policy has nothing to block; the browser would report a violation.
func TestStoredTextCannotRunInPage(t *testing.T) {
	t.Parallel()
	h := newHost(t, dbtest.SQLite(t), setup{})
	h.enable("feed-refresh", "hourly-matching")
	_, err := h.scheduler.EnqueueAll(t.Context(), hourbell.EnqueueOptions{Actor: "ada", Note: "x", Args: map[string]any{payloads[0]: payloads[:len(payloads)-1]}})
	require.NoError(t, err)
	h.addWorker("web-1", 0)
	for i, text := range []string{strings.Join(payloads, " "), payloads[2], payloads[5]} {
		if i > 0 {
			require.NoError(t, h.db.Exec("UPDATE hourbell_schedules SET id = 'hourly-matching' WHERE id NOT IN ('feed-refresh', 'daily-full-sync', 'shop/ledger.v2:a')").Error)
		}
		h.storePayload(text)
		id := url.PathEscape(strings.ReplaceAll(text, "\x00", ""))
		query := url.QueryEscape(text)
		tb := h.newTab(t)
		tb.expectErrors("the server responded with a status of 4")
		for _, path := range []string{
			"/", "/?search=" + query, "/?search=x&sort=name&cursor=" + query, "/schedules/feed-refresh", "/schedules/" + id, "/schedules/" + id + "/run",
			"/schedules/feed-refresh/run", "/schedules/feed-refresh/disable", "/schedules/feed-refresh/unlock", "/disable?id=feed-refresh&id=" + query,
			"/enable?id=" + query, "/runs", "/runs?schedule=" + query, "/runs/1", "/runs/2", "/enqueue?search=" + query, "/enqueue/jobs/" + id, "/enqueue/groups/" + id,
			"/static/" + id, "/" + id, "/?" + query + "=1",
		} {
			tb.visit(path)
			tb.requireHarmless(path)
		}
		tb.visit("/")
		tb.click(`[id="run-daily-full-sync"]`)
		tb.waitForText("dialog", "enqueued")
		tb.requireHarmless("dialog")
		tb.click("dialog [data-close]")
		js[bool](tb, `(document.activeElement.blur(), true)`) // rows with the focus are not refreshed
		h.enable("daily-full-sync")                           // makes the script refresh the page
		tb.waitFor(`document.getElementById("switch-daily-full-sync").getAttribute("aria-checked") === "true"`)
		tb.requireHarmless("refreshed")
		require.NoError(t, h.scheduler.Disable(t.Context(), "daily-full-sync", hourbell.ChangeOptions{}))
	}
}

// requireHarmless fails the test if the page contains an element or attribute
// that can only come from stored text.
func (tb *tab) requireHarmless(where string) {
	tb.Helper()
	found := js[string](tb, `("hacked" in window ? "it ran; " : "") + [...document.querySelectorAll("*")].filter((e) =>
		["IMG", "IFRAME", "OBJECT", "EMBED", "BASE", "STYLE"].includes(e.nodeName) || e.nodeName === "SCRIPT" && !e.src.startsWith(location.origin + "/") ||
		e.nodeName === "META" && e.httpEquiv || [...e.attributes].some((a) => a.name.startsWith("on") || a.name === "style" || a.name === "srcdoc" || a.name === "autofocus") ||
		["href", "src", "action", "formaction"].some((a) => e.hasAttribute(a) && new URL(e.getAttribute(a), document.baseURI).origin !== location.origin)
	).map((e) => e.outerHTML.slice(0, 300)).join("\n")`)
	require.Empty(tb, found, where)
	require.Equal(tb, 1, js[int](tb, `document.querySelectorAll("#dialog, #main, #bulk").length - document.querySelectorAll("dialog#dialog, form#bulk").length`), where)
	require.NotContains(tb, tb.text("body"), "ZgotmplZ", where)
}
