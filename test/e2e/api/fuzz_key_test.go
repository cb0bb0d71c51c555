package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzKey: E6 for any idempotency key. A request whose key is taken enqueues once, however often it is sent and whether as
// a header or as a page's form sends it; a key that is refused enqueues nothing.
func FuzzKey(f *testing.F) {
	h := newHostile(f)
	for _, key := range []string{"k", `"k"`, `""`, " k ", "ü€😀", "a\x00b", "\xff", "\u202e", strings.Repeat("k", 201), strings.Repeat("é", 200), `'; --`, "a b", `"`, "\"a\"b\""} {
		f.Add(key)
	}
	send := func(page bool, key string) (int, []float64) {
		r := httptest.NewRequest(http.MethodPost, "/api/enqueue/jobs/import", nil)
		if page {
			r = httptest.NewRequest(http.MethodPost, "/enqueue/jobs/import", strings.NewReader(url.Values{"key": {key}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		} else {
			r.Header["Idempotency-Key"] = []string{key}
		}
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		var body struct{ Runs []struct{ ID float64 } }
		if !page {
			_ = json.Unmarshal(w.Body.Bytes(), &body)
		}
		ids := []float64{}
		for _, run := range body.Runs {
			ids = append(ids, run.ID)
		}
		return w.Code, ids
	}
	f.Fuzz(func(t *testing.T, key string) {
		before := h.written(t)
		status, first := send(false, key)
		if status == http.StatusBadRequest {
			require.Equal(t, before, h.written(t), "%q is refused", key)
			return
		}
		require.Contains(t, []int{http.StatusCreated, http.StatusOK}, status, "%q", key) // an earlier round may have had it
		require.Len(t, first, 1)
		once := h.written(t)
		status, again := send(false, key)
		require.Equal(t, http.StatusOK, status, "%q", key)
		require.Equal(t, first, again, "%q", key)
		if key != "" {
			status, _ = send(true, key)
			require.Equal(t, http.StatusOK, status, "%q in a form", key)
		}
		require.Equal(t, once, h.written(t), "%q", key)
	})
}
