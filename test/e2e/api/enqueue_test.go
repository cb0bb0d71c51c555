package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
)

var errBroken = errors.New("the engine at amqp://secret@queue is broken")

// broken is an Enqueuer whose engine is away.
type broken struct{}

func (broken) Enqueue(context.Context, hourbell.Tx, []hourbell.JobRun) error { return errBroken }

// E6: run now works on a disabled schedule, leaves its row alone, and says what it enqueued.
func TestRunNow(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		before := h.schedule("hourly")
		body := h.call(http.StatusCreated, request{method: "POST", path: "/api/schedules/hourly/run", body: `{"note": "try it"}`})
		require.Equal(t, false, body["repeated"])
		runs := items(body, "runs")
		require.Equal(t, []any{"import", "publish"}, column(runs, "job"))
		require.Equal(t, []any{"MANUAL", "hourly", "ada", "QUEUED", nil}, []any{
			runs[0]["trigger"], runs[0]["scheduleId"], runs[0]["actor"], runs[0]["status"], runs[0]["scheduledFor"],
		})
		after := h.schedule("hourly")
		for _, same := range []string{"nextRunAt", "wouldRunAt", "updatedAt", "fingerprint"} {
			require.Equal(t, before[same], after[same], same)
		}
		event := items(h.get("/api/schedules/hourly/events?kind=RUN_NOW"), "events")[0]
		require.Equal(t, []any{"ada", "try it"}, []any{event["actor"], event["note"]})

		one := h.get(fmt.Sprintf("/api/runs/%.0f", runs[0]["id"]))
		require.Equal(t, map[string]any{"shop": 7.0}, one["args"])
		delete(one, "args")
		require.Equal(t, runs[0], one)
	})
}

func TestEnqueueAllAGroupOrAJob(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		for path, want := range map[string][]any{
			"/api/enqueue/all":                 {"import", "publish", "report/daily"},
			"/api/enqueue/groups/feed":         {"import", "publish"},
			"/api/enqueue/jobs/report%2Fdaily": {"report/daily"},
		} {
			first := h.call(http.StatusCreated, request{method: "POST", path: path, header: map[string]string{"Idempotency-Key": `"` + path + `"`}})
			require.Equal(t, want, column(items(first, "runs"), "job"))
			h.untouched(func() { // quoted or not, it is one key
				again := h.call(http.StatusOK, request{method: "POST", path: path, header: map[string]string{"Idempotency-Key": path}})
				require.Equal(t, true, again["repeated"])
				require.Equal(t, first["runs"], again["runs"])
			})
		}
		require.Len(t, items(h.get("/api/runs"), "runs"), 6)
		require.Equal(t, []any{"import", "publish", "report/daily"}, column(items(h.get("/api/jobs"), "jobs"), "name"))
	})
}

// E6: a repeated request is answered alike, also after the schedule was changed.
func TestARepeatedRunNowIsAnsweredAlike(t *testing.T) {
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		body := fmt.Sprintf(`{"seen": %q}`, h.schedule("hourly")["fingerprint"])
		again := request{method: "POST", path: "/api/schedules/hourly/run", body: body, header: map[string]string{"Idempotency-Key": "k"}}
		first := h.call(http.StatusCreated, again)
		h.enable("hourly")
		require.Equal(t, first["runs"], h.call(http.StatusOK, again)["runs"])
		again.path, again.body = "/api/schedules/nightly/run", ""
		h.untouched(func() {
			require.Equal(t, "key-reused", h.call(http.StatusUnprocessableEntity, again)["code"])
			again.path = "/api/enqueue/all"
			require.Equal(t, "key-reused", h.call(http.StatusUnprocessableEntity, again)["code"])
			again.path = "/api/enqueue/groups/feed"
			require.Equal(t, "key-reused", h.call(http.StatusUnprocessableEntity, again)["code"])
			again.path = "/api/enqueue/jobs/import"
			require.Equal(t, "key-reused", h.call(http.StatusUnprocessableEntity, again)["code"])
		})
	})
}

// E6: 200 requests at once with one key enqueue once, with 200 keys 200 times.
func TestConcurrentRunNowRequests(t *testing.T) {
	requests := 200
	if testing.Short() {
		requests = 40 // under the race detector SQLite, which is Go, takes longer for them than a request may
	}
	eachHost(t, setup{}, func(t *testing.T, h *host) {
		h.db.SQL().SetMaxOpenConns(20) // as a backend's pool is
		enqueued := func(key func(i int) string) (created int) {
			var all sync.WaitGroup
			statuses := make([]int, requests)
			for i := range requests {
				all.Go(func() {
					r, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/api/schedules/hourly/run", nil)
					if err != nil {
						return
					}
					r.Header.Set("Idempotency-Key", key(i))
					if got, err := http.DefaultClient.Do(r); err == nil {
						statuses[i] = got.StatusCode
						_ = got.Body.Close()
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
		stored := func() (n int) {
			require.NoError(t, h.db.Raw("SELECT count(*) FROM hourbell_job_runs").Scan(&n).Error)
			return n
		}
		require.Equal(t, 1, enqueued(func(int) string { return "one" }))
		require.Equal(t, 2, stored(), "the group has two jobs")
		require.Equal(t, requests, enqueued(func(i int) string { return fmt.Sprint("key ", i) }))
		require.Equal(t, 2+2*requests, stored())
	})
}
