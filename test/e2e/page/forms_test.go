package page_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// post sends a form and does not follow redirects.
func (h *host) post(path, body string, header map[string]string) (status int, location, text string) {
	h.Helper()
	request, err := http.NewRequestWithContext(h.Context(), http.MethodPost, h.url+path, strings.NewReader(body))
	require.NoError(h, err)
	request.Header.Set("Accept", "text/html")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, value := range header {
		request.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(h, err)
	defer func() { _ = res.Body.Close() }()
	page, err := io.ReadAll(res.Body)
	require.NoError(h, err)
	return res.StatusCode, res.Header.Get("Location"), string(page)
}

// A form with invalid input is refused with an error that names the input.
// Nothing is written.
func TestFormRefusesBadInput(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		const enable = "/schedules/feed-refresh/enable"
		for _, c := range []struct {
			path, body  string
			contentType string
			status      int
			part        string
		}{
			{enable, `{"note": "x"}`, "application/json", 415, "application/x-www-form-urlencoded"},
			{enable, "color=red", "", 400, "color"},
			{enable, "note=a&note=b", "", 400, "note is given 2 times"},
			{enable, "note=%zz", "", 400, "invalid form"},
			{enable, "note=%ff", "", 400, "note is not valid UTF-8"},
			{enable, "note=" + strings.Repeat("x", 2001), "", 400, "note is longer than 2000 characters"},
			{enable, "note=a%07b", "", 400, "control character"},
			{enable, "note=" + strings.Repeat("x", 70_000), "", 413, "larger than 65536 bytes"},
			{enable, "ifMatch=another", "", 409, "Changed in the meantime"},
			{"/schedules/nope/enable", "", "", 404, "unknown schedule"},
			{"/schedules/feed-refresh/run", "idempotencyKey=" + strings.Repeat("k", 201), "", 400, "longer than 200 characters"},
			{"/schedules/feed-refresh/run", "idempotencyKey=%00", "", 400, "unprintable"},
			{"/enqueue/groups/nope", "", "", 404, "this process declares"},
			{"/enqueue/jobs/nope", "", "", 404, "this process declares"},
			{"/enable", "", "", 400, "select schedules in the list first"},
			{"/disable", manyIDs(201), "", 400, "at most 200 schedules can be changed together"},
			{"/runs", "", "", 405, "GET or HEAD"},
			{"/nope", "", "", 404, "unknown path"},
		} {
			header := map[string]string{}
			if c.contentType != "" {
				header["Content-Type"] = c.contentType
			}
			status, _, page := h.post(c.path, c.body, header)
			require.Equal(t, c.status, status, "%s %.40s", c.path, c.body)
			require.Contains(t, page, c.part, "%s %.40s", c.path, c.body)
			require.Contains(t, page, "<!doctype html>")
		}
		require.False(t, h.schedule("feed-refresh").Enabled)
		require.Empty(t, h.runs(hourbell.RunQuery{}))
	})
}

func manyIDs(n int) string {
	var ids strings.Builder
	for i := range n {
		fmt.Fprintf(&ids, "id=%d&", i)
	}
	return strings.TrimSuffix(ids.String(), "&")
}

// After a change, a form redirects to the page it was on, never to another
// host.
func TestFormRedirectsOnlyBack(t *testing.T) {
	t.Parallel()
	h := newSQLiteHost(t)
	for back, want := range map[string]string{
		"":                         "../../schedules/feed-refresh",
		"schedules":                "../../schedules/feed-refresh",
		"https://evil.example":     "../../schedules/feed-refresh",
		"//evil.example":           "../../schedules/feed-refresh",
		"?":                        "../../?",
		"?search=a+b&sort=name":    "../../?search=a+b&sort=name",
		"?x=\r\nSet-Cookie: a=b":   "../../?x=%0D%0ASet-Cookie%3A+a%3Db",
		"?%zz":                     "../../?",
		"?//evil.example/?#../../": "../../?%2F%2Fevil.example%2F%3F%23..%2F..%2F=",
	} {
		status, location, _ := h.post("/schedules/feed-refresh/enable", url.Values{"back": {back}}.Encode(), nil)
		require.Equal(t, http.StatusSeeOther, status)
		require.Equal(t, want, location, back)
	}
	status, location, _ := h.post("/schedules/shop%2Fledger.v2:a/enable", "", nil)
	require.Equal(t, []any{http.StatusSeeOther, "../../schedules/shop%2Fledger.v2:a"}, []any{status, location})
}

// A form that is sent twice, as by a double click without JavaScript, enqueues
// once.
func TestFormSentTwiceEnqueuesOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		h := newHost(t, db, setup{})
		for _, path := range []string{"/schedules/feed-refresh/run", "/enqueue/all", "/enqueue/groups/matching", "/enqueue/jobs/export-ledger"} {
			before := len(h.runs(hourbell.RunQuery{}))
			key := "idempotencyKey=" + url.QueryEscape(path)
			status, _, _ := h.post(path, key, nil)
			require.Equal(t, http.StatusOK, status)
			enqueued := len(h.runs(hourbell.RunQuery{}))
			require.Greater(t, enqueued, before)
			_, _, page := h.post(path, key, nil)
			require.Contains(t, page, "Nothing was enqueued twice")
			require.Len(t, h.runs(hourbell.RunQuery{}), enqueued)
		}
		status, _, page := h.post("/enqueue/jobs/import-prices", "idempotencyKey=%2Fenqueue%2Fall", nil)
		require.Equal(t, http.StatusUnprocessableEntity, status)
		require.Contains(t, page, "used before for another target")
	})
}

// The script sends the host's form field, so that the host's CSRF middleware
// accepts the switch and the dialog.
func TestScriptSendsFieldOfHost(t *testing.T) {
	t.Parallel()
	h := newHost(t, dbtest.SQLite(t), setup{
		admin: admin.Config{FormField: func(*http.Request) (string, string) { return "csrf.Token", "secret" }},
		guard: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost && r.PostFormValue("csrf.Token") != "secret" {
					http.Error(w, "no token", http.StatusForbidden)
					return
				}
				next.ServeHTTP(w, r)
			})
		},
	})
	tb := h.open(t, "/")
	tb.click(`[id="switch-feed-refresh"]`)
	tb.waitFor(`document.querySelector('[id="switch-feed-refresh"]').getAttribute("aria-checked") === "true"`)
	tb.click(`[id="switch-feed-refresh"]`)
	tb.waitForText("dialog", "Disable")
	tb.typeInto("dialog textarea", "with a token")
	tb.click(confirm)
	tb.waitFor(`document.querySelector('[id="switch-feed-refresh"]').getAttribute("aria-checked") === "false"`)
	require.Equal(t, "with a token", h.schedule("feed-refresh").EnabledNote)
}
