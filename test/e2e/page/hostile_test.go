package page_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// payloads get out of an element, an attribute in either quotes, a script, a style, a comment, a title, a URL; and are
// characters that change what is around them.
var payloads = []string{
	`<script>hacked=1</script>`, `"><img src=x onerror=hacked=1>`, `' onfocus=hacked=1 autofocus tabindex=1 x='`, `</script><script>hacked=1</script>`,
	`</title></textarea></style></svg><svg onload=hacked=1>`, `javascript:hacked=1//`, `--><!--<iframe srcdoc="<script>top.hacked=1</script>">`,
	"`${hacked=1}`{{.}}", `&lt;script&gt;&#x3c;script&#x3e;`, `data:text/html,<script>hacked=1</script>`, `%3Cscript%3Ehacked=1%3C/script%3E`,
	`<a href="javascript:hacked=1" id=dialog name=main>x</a>`, `<form id=many action=//evil.example>`, `<meta http-equiv=refresh content="0;url=//evil.example">`,
	`<base href=//evil.example/>`, "\u202e\u2066\u0000\u2028\u2029\r\nX: y\x1b[2J",
}

// hostileEverywhere writes payloads into every text that is stored, past all that checks them: another build, or somebody with
// access to the database, may have.
func (h *host) hostileEverywhere(text string) {
	h.Helper()
	exec := func(sql string, args ...any) {
		h.Helper()
		require.NoError(h, h.db.Exec(sql, args...).Error)
	}
	text = strings.ReplaceAll(text, "\x00", "")
	exec(`UPDATE hourbell_schedules SET name = ?, description = ?, cron = ?, time_zone = ?, target_kind = 'GROUP', target = ?, enabled_note = ?,
		last_error = ?, failures = 2, definition_hash = ?, locked_by = ?, locked_at = ? WHERE id = 'feed-refresh'`,
		text, text, text, text, text, text, text, text, text, h.stored(h.clock.Now()))
	exec(`UPDATE hourbell_schedules SET id = ?, name = ? WHERE id = 'hourly-matching'`, text, text)
	exec(`UPDATE hourbell_job_runs SET job = ?, job_group = ?, error = ?, actor = ?, worker_id = ?, schedule_id = ?, status = 'FAILED'`,
		text, text, text, text, text, text)
	exec(`UPDATE hourbell_job_runs SET request_key = ? WHERE id = 1`, text)
	exec(`UPDATE hourbell_events SET kind = ?, reason = ?, actor = ?, note = ?, detail = ?`, text, text, text, text, text)
	exec(`UPDATE hourbell_workers SET hostname = ?, version = ?`, text, text)
}

// Whatever is stored, no page runs any of it or loads anything for it: no script, no dialog, no handler, no frame, no other
// host, and nothing that the content security policy had to stop; the browser would report that.
func TestNothingStoredRunsInThePage(t *testing.T) {
	t.Parallel()
	h := newHost(t, dbtest.SQLite(t), setup{})
	h.enable("feed-refresh", "hourly-matching")
	_, err := h.scheduler.EnqueueAll(t.Context(), hourbell.EnqueueOptions{By: hourbell.By{Actor: "ada", Note: "x"}, Args: map[string]any{payloads[0]: payloads[:len(payloads)-1]}})
	require.NoError(t, err)
	h.worker("web-1", 0)
	for i, text := range []string{strings.Join(payloads, " "), payloads[2], payloads[5]} {
		if i > 0 {
			require.NoError(t, h.db.Exec("UPDATE hourbell_schedules SET id = 'hourly-matching' WHERE id NOT IN ('feed-refresh', 'daily-full-sync', 'shop/ledger.v2:a')").Error)
		}
		h.hostileEverywhere(text)
		id := url.PathEscape(strings.ReplaceAll(text, "\x00", ""))
		query := url.QueryEscape(text)
		tb := h.tab(t)
		tb.expects("the server responded with a status of 4")
		for _, path := range []string{
			"/", "/?search=" + query, "/?search=x&sort=name&cursor=" + query, "/schedules/feed-refresh", "/schedules/" + id, "/schedules/" + id + "/run",
			"/schedules/feed-refresh/run", "/schedules/feed-refresh/disable", "/schedules/feed-refresh/unlock", "/disable?id=feed-refresh&id=" + query,
			"/enable?id=" + query, "/runs", "/runs?schedule=" + query, "/runs/1", "/runs/2", "/enqueue?search=" + query, "/enqueue/jobs/" + id, "/enqueue/groups/" + id,
			"/static/" + id, "/" + id, "/?" + query + "=1",
		} {
			tb.visit(path)
			tb.harmless(path)
		}
		tb.visit("/")
		tb.click(`[id="run-daily-full-sync"]`)
		tb.awaitText("dialog", "enqueued")
		tb.harmless("dialog")
		tb.click("dialog [data-close]")
		js[bool](tb, `(document.activeElement.blur(), true)`) // nothing changes under somebody who is at a row
		h.enable("daily-full-sync")                           // so that the script has something to show anew
		tb.await(`document.getElementById("switch-daily-full-sync").getAttribute("aria-checked") === "true"`)
		tb.harmless("shown anew")
		require.NoError(t, h.scheduler.Disable(t.Context(), "daily-full-sync", hourbell.By{}))
	}
}

// harmless fails the test where a page has anything that only a stored text can have brought in.
func (tb *tab) harmless(where string) {
	tb.Helper()
	found := js[string](tb, `("hacked" in window ? "it ran; " : "") + [...document.querySelectorAll("*")].filter((e) =>
		["IMG", "IFRAME", "OBJECT", "EMBED", "BASE", "STYLE"].includes(e.nodeName) || e.nodeName === "SCRIPT" && !e.src.startsWith(location.origin + "/") ||
		e.nodeName === "META" && e.httpEquiv || [...e.attributes].some((a) => a.name.startsWith("on") || a.name === "style" || a.name === "srcdoc" || a.name === "autofocus") ||
		["href", "src", "action", "formaction"].some((a) => e.hasAttribute(a) && new URL(e.getAttribute(a), document.baseURI).origin !== location.origin)
	).map((e) => e.outerHTML.slice(0, 300)).join("\n")`)
	require.Empty(tb, found, where)
	require.Equal(tb, 1, js[int](tb, `document.querySelectorAll("#dialog, #main, #many").length - document.querySelectorAll("dialog#dialog, form#many").length`), where)
	require.NotContains(tb, tb.text("body"), "ZgotmplZ", where)
}
