package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
)

var errEngine = errors.New("the engine at amqp://secret@queue is unavailable")

// failingEnqueuer is an Enqueuer that always fails.
type failingEnqueuer struct{}

func (failingEnqueuer) Enqueue(context.Context, *gorm.DB, []hourbell.JobRun) error {
	return errEngine
}

// E6: run now works on a disabled schedule and does not change its row. The
// response has the enqueued runs.
func TestRunNowEnqueuesDisabledSchedule(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		before := h.schedule("hourly")
		body := h.call(http.StatusCreated, request{method: "POST", path: "/api/schedules/hourly/run", body: `{"note": "try it"}`})
		require.Equal(t, false, body["duplicate"])
		runs := items(body, "runs")
		require.Equal(t, []any{"import", "publish"}, column(runs, "job"))
		require.Equal(t, []any{"MANUAL", "hourly", "ada", "QUEUED", nil}, []any{
			runs[0]["trigger"], runs[0]["scheduleId"], runs[0]["actor"], runs[0]["status"], runs[0]["scheduledFor"],
		})
		after := h.schedule("hourly")
		for _, field := range []string{"nextRunAt", "wouldRunAt", "updatedAt", "etag"} {
			require.Equal(t, before[field], after[field], field)
		}
		event := items(h.get("/api/schedules/hourly/events?kind=RUN_NOW"), "events")[0]
		require.Equal(t, []any{"ada", "try it"}, []any{event["actor"], event["note"]})

		path := fmt.Sprintf("/api/runs/%.0f", runs[0]["id"])
		run := h.get(path + "?omitArgs=0")
		require.Equal(t, map[string]any{"shop": 7.0}, run["args"])
		require.Equal(t, run, h.get(path))
		run["args"] = nil
		require.Equal(t, run, h.get(path+"?omitArgs=1"))
		delete(run, "args")
		require.Equal(t, runs[0], run)
	})
}

// The Idempotency-Key has the same meaning with and without quotes.
func TestEnqueueAllGroupAndJob(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		for path, want := range map[string][]any{
			"/api/enqueue/all":                 {"import", "publish", "report/daily"},
			"/api/enqueue/groups/feed":         {"import", "publish"},
			"/api/enqueue/jobs/report%2Fdaily": {"report/daily"},
		} {
			first := h.call(http.StatusCreated, request{method: "POST", path: path, header: map[string]string{"Idempotency-Key": `"` + path + `"`}})
			require.Equal(t, want, column(items(first, "runs"), "job"))
			h.requireUnchanged(func() {
				second := h.call(http.StatusOK, request{method: "POST", path: path, header: map[string]string{"Idempotency-Key": path}})
				require.Equal(t, true, second["duplicate"])
				require.Equal(t, first["runs"], second["runs"])
			})
		}
		require.Len(t, items(h.get("/api/runs"), "runs"), 6)
		require.Equal(t, []any{"import", "publish", "report/daily"}, column(items(h.get("/api/jobs"), "jobs"), "name"))
	})
}

// E6: a repeated request gets the same response, even if the schedule has
// changed since. The same key for another target is refused.
func TestRepeatedRunNowReturnsSameRuns(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		body := fmt.Sprintf(`{"ifMatch": %q}`, h.schedule("hourly")["etag"])
		repeated := request{method: "POST", path: "/api/schedules/hourly/run", body: body, header: map[string]string{"Idempotency-Key": "k"}}
		first := h.call(http.StatusCreated, repeated)
		h.enable("hourly")
		require.Equal(t, first["runs"], h.call(http.StatusOK, repeated)["runs"])
		repeated.body = ""
		h.requireUnchanged(func() {
			for _, path := range []string{"/api/schedules/nightly/run", "/api/enqueue/all", "/api/enqueue/groups/feed", "/api/enqueue/jobs/import"} {
				repeated.path = path
				require.Equal(t, "key-reused", h.call(http.StatusUnprocessableEntity, repeated)["code"])
			}
		})
	})
}

// E6: 200 concurrent requests with one key enqueue once. With 200 keys they
// enqueue 200 times.
func TestConcurrentRunNowEnqueuesOncePerKey(t *testing.T) {
	requests := 200
	if testing.Short() {
		requests = 40 // SQLite under the race detector is too slow for more
	}
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.db.SQL().SetMaxOpenConns(20) // a typical pool size
		countCreated := func(key func(i int) string) (created int) {
			var all sync.WaitGroup
			statuses := make([]int, requests)
			for i := range requests {
				all.Go(func() {
					r, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/api/schedules/hourly/run", nil)
					if err != nil {
						return
					}
					r.Header.Set("Idempotency-Key", key(i))
					if res, err := http.DefaultClient.Do(r); err == nil {
						statuses[i] = res.StatusCode
						_ = res.Body.Close()
					}
				})
			}
			all.Wait()
			for _, status := range statuses {
				require.Contains(t, []int{http.StatusOK, http.StatusCreated}, status)
				if status == http.StatusCreated {
					created++
				}
			}
			return created
		}
		countRuns := func() (n int) {
			require.NoError(t, h.db.Raw("SELECT count(*) FROM hourbell_job_runs").Scan(&n).Error)
			return n
		}
		require.Equal(t, 1, countCreated(func(int) string { return "one" }))
		require.Equal(t, 2, countRuns(), "the group has two jobs")
		require.Equal(t, requests, countCreated(func(i int) string { return fmt.Sprint("key ", i) }))
		require.Equal(t, 2+2*requests, countRuns())
	})
}
