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

// FuzzIdempotencyKey tests E6 with arbitrary keys. Requests with an accepted
// key enqueue once, whether the key is in the header or in a form. A refused
// key enqueues nothing.
func FuzzIdempotencyKey(f *testing.F) {
	h := newFuzzHandler(f)
	for _, key := range []string{"k", `"k"`, `""`, " k ", "ü€😀", "a\x00b", "\xff", "\u202e", strings.Repeat("k", 201), strings.Repeat("é", 200), `'; --`, "a b", `"`, "\"a\"b\""} {
		f.Add(key)
	}
	send := func(isForm bool, key string) (status int, ids []float64) {
		r := httptest.NewRequest(http.MethodPost, "/api/enqueue/jobs/import", nil)
		if isForm {
			r = httptest.NewRequest(http.MethodPost, "/enqueue/jobs/import", strings.NewReader(url.Values{"idempotencyKey": {key}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		} else {
			r.Header["Idempotency-Key"] = []string{key}
		}
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		var body struct{ Runs []struct{ ID float64 } }
		if !isForm {
			_ = json.Unmarshal(w.Body.Bytes(), &body)
		}
		ids = []float64{}
		for _, run := range body.Runs {
			ids = append(ids, run.ID)
		}
		return w.Code, ids
	}
	f.Fuzz(func(t *testing.T, key string) {
		before := h.countWrites(t)
		status, first := send(false, key)
		if status == http.StatusBadRequest {
			require.Equal(t, before, h.countWrites(t), "%q is refused", key)
			return
		}
		require.Contains(t, []int{http.StatusCreated, http.StatusOK}, status, "%q", key) // an earlier iteration may have used the key
		require.Len(t, first, 1)
		afterFirst := h.countWrites(t)
		status, second := send(false, key)
		require.Equal(t, http.StatusOK, status, "%q", key)
		require.Equal(t, first, second, "%q", key)
		if key != "" {
			status, _ = send(true, key)
			require.Equal(t, http.StatusOK, status, "%q in a form", key)
		}
		require.Equal(t, afterFirst, h.countWrites(t), "%q", key)
	})
}
