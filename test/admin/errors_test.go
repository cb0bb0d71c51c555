package admin_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// operations returns the operations of the OpenAPI document and the pages, each
// as a method and a path that exists.
func (f *fixture) operations() [][2]string {
	f.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest("GET", "/api/openapi.json", nil))
	var document struct {
		Paths map[string]map[string]any
	}
	require.NoError(f, json.Unmarshal(w.Body.Bytes(), &document))
	list := [][2]string{
		{"GET", "/"},
		{"GET", "/runs"},
		{"GET", "/runs/1"},
		{"GET", "/runs/1/args"},
		{"GET", "/schedules/off"},
		{"GET", "/schedules/off/run"},
		{"GET", "/schedules/on/disable"},
		{"GET", "/schedules/on/unlock"},
		{"GET", "/enable?id=on&id=off"},
		{"GET", "/disable?id=on&id=off"},
		{"POST", "/schedules/off/enable"},
		{"POST", "/schedules/on/disable"},
		{"POST", "/schedules/on/unlock"},
		{"POST", "/schedules/off/run"},
		{"POST", "/enqueue/all"},
		{"POST", "/enqueue/groups/group"},
		{"POST", "/enqueue/jobs/job"},
	}
	for path, item := range document.Paths {
		for method := range item {
			id := "off"
			if strings.HasPrefix(path, "/api/runs/") {
				id = "1"
			}
			target := strings.NewReplacer("{id}", id, "{group}", "group", "{job}", "job").Replace(path)
			if path == "/api/preview" {
				target += "?cron=@daily"
			}
			list = append(list, [2]string{strings.ToUpper(method), target})
		}
	}
	return list
}

// If the database returns an unexpected error, the client learns only that the
// request failed. The log has the cause.
func TestInternalErrorHidesDatabaseText(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		f := newFixture(t, db)
		operations := f.operations()
		for table, column := range map[string]string{"schedules": "description", "job_runs": "error", "events": "detail", "workers": "hostname"} {
			require.NoError(t, db.Exec("ALTER TABLE hourbell_"+table+" RENAME COLUMN "+column+" TO gone").Error)
		}
		failed := 0
		for _, operation := range operations {
			for _, accept := range []string{"application/json", "text/html"} {
				request := httptest.NewRequest(operation[0], operation[1], nil)
				request.Header.Set("Accept", accept)
				f.log.Reset()
				w := httptest.NewRecorder()
				f.ServeHTTP(w, request)
				if w.Code < 500 { // the operation reads none of these columns
					continue
				}
				failed++
				require.Equal(t, http.StatusInternalServerError, w.Code, "%s: %s", operation, w.Body)
				for _, part := range []string{"SELECT", "INSERT", "SQL", "column", "hourbell_", "gone", "postgres", "sqlite", "127.0.0.1", "no such", ".go:"} {
					require.NotContains(t, w.Body.String(), part, operation)
				}
				require.Contains(t, w.Body.String(), "internal error", operation)
				require.Equal(t, 1, strings.Count(f.log.String(), "\n"), "%s: %s", operation, f.log)
				require.Contains(t, f.log.String(), "request failed")
			}
		}
		require.Greater(t, failed, 30)
	})
}
