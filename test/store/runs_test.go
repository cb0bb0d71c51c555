package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// listRuns reads runs, newest first.
func listRuns(t testing.TB, s hourbell.Store, q hourbell.RunQuery) []hourbell.JobRun {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	runs, err := s.Runs(t.Context(), q)
	require.NoError(t, err)
	return runs
}

// jobNames returns the jobs of runs in their order.
func jobNames(runs []hourbell.JobRun) []string {
	jobs := []string{}
	for _, r := range runs {
		jobs = append(jobs, r.Job)
	}
	return jobs
}

// E5: A run is stored with its slot and all other values.
func TestInsertedRunsRoundTrip(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		full := cronRun("a", noon.Add(-time.Minute), 3)
		full.Args, full.Actor, full.IdempotencyKey = json.RawMessage(`{"n": [1, 2.5, null, "ü€😀 \" ' \\ \n"]}`), "anna", "key-1"
		bare := apiRun("bare", 0)
		given := []hourbell.JobRun{full, bare}
		got := insertRuns(t, s, given...)
		require.ElementsMatch(t, []string{full.Job, "bare"}, jobNames(got))
		for _, r := range got {
			want := given[map[string]int{full.Job: 0, "bare": 1}[r.Job]]
			require.NotZero(t, r.ID)
			want.ID, want.QueuedAt = r.ID, noon
			require.Equal(t, want, r)

			stored := listRuns(t, s, hourbell.RunQuery{Job: r.Job})
			require.Len(t, stored, 1)
			if want.Args != nil {
				require.JSONEq(t, string(want.Args), string(stored[0].Args))
				stored[0].Args = want.Args
			}
			require.Equal(t, want, stored[0])
		}
		none, err := s.InsertRuns(t.Context(), nil, "")
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

func TestArgsAreStoredAsJSON(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *testClock) {
		run := apiRun("import", 0)
		run.Args = json.RawMessage(`{"feed": "a"}`)
		insertRuns(t, s, run)
		var feed string
		require.NoError(t, db.Raw("SELECT args ->> 'feed' FROM hourbell_job_runs").Scan(&feed).Error)
		require.Equal(t, "a", feed)
	})
}

// L3: The unique index refuses a second fire of a slot.
func TestInsertRunsFiresSlotOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		first := insertRuns(t, s, cronRun("a", noon, 0), cronRun("a", noon, 1))
		require.Len(t, first, 2)
		got, err := s.InsertRuns(t.Context(), []hourbell.JobRun{cronRun("a", noon, 0), cronRun("b", noon, 0)}, "")
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, "b", got[0].ScheduleID)
		require.Len(t, listRuns(t, s, hourbell.RunQuery{}), 3)

		// Other slots and manual runs do not conflict.
		manual := cronRun("a", time.Time{}, 0)
		manual.Trigger = hourbell.TriggerManual
		insertRuns(t, s, cronRun("a", noon.Add(time.Hour), 0), manual)
		insertRuns(t, s, manual)
	})
}

// L3: Of concurrent inserts of one slot exactly one succeeds.
func TestConcurrentInsertsFireSlotOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		inserted := make([]int, 8)
		for _, err := range runConcurrently(8, func(i int) error {
			for n := range 20 {
				runs, err := s.InsertRuns(testContext(t), []hourbell.JobRun{cronRun("a", noon.Add(time.Duration(n)*time.Hour), 0)}, "")
				if err != nil {
					return err
				}
				inserted[i] += len(runs)
			}
			return nil
		}) {
			require.NoError(t, err)
		}
		total := 0
		for _, n := range inserted {
			total += n
		}
		require.Equal(t, 20, total)
		require.Len(t, listRuns(t, s, hourbell.RunQuery{}), 20)
	})
}

// E6: idempotency key, job and ordinal are unique in a namespace.
func TestIdempotencyKeyIsUsedOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		keyed := func(job string, ordinal int, key string) hourbell.JobRun {
			r := apiRun(job, ordinal)
			r.IdempotencyKey = key
			return r
		}
		insertRuns(t, s, keyed("b", 0, "k"), keyed("a", 1, "k"))
		got, err := s.InsertRuns(t.Context(), []hourbell.JobRun{keyed("a", 1, "k"), keyed("c", 2, "k"), keyed("a", 3, "k2")}, "")
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"c", "a"}, jobNames(got))
		insertRuns(t, bindStore(t, db.DB, "other", c.Now), keyed("a", 0, "k"))

		runs, _, err := s.RunsByIdempotencyKey(t.Context(), "k2")
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, jobNames(runs))
		runs, _, err = s.RunsByIdempotencyKey(t.Context(), "none")
		require.NoError(t, err)
		require.Empty(t, runs)
		runs, _, err = s.RunsByIdempotencyKey(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, []int{0, 1, 2}, []int{runs[0].Ordinal, runs[1].Ordinal, runs[2].Ordinal}, "runs keep the order of the request")
		require.Equal(t, "b", runs[0].Job)
	})
}

// E6: Of concurrent requests with the same key, the first inserts runs and the
// others find them.
func TestConcurrentRequestsWithSameKeyInsertOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		found := make([]int, 8)
		for _, err := range runConcurrently(8, func(i int) error {
			return s.Transaction(testContext(t), deadAfter, func(s hourbell.Store, _ *gorm.DB) error {
				runs, _, err := s.RunsByIdempotencyKey(testContext(t), "key")
				found[i] = len(runs)
				if err != nil || len(runs) > 0 {
					return err
				}
				a, b := apiRun("a", 0), apiRun("b", 1)
				a.IdempotencyKey, b.IdempotencyKey = "key", "key"
				return errOf(s.InsertRuns(testContext(t), []hourbell.JobRun{a, b}, ""))
			})
		}) {
			require.NoError(t, err)
		}
		none := 0
		for _, n := range found {
			require.Contains(t, []int{0, 2}, n)
			if n == 0 {
				none++
			}
		}
		require.Equal(t, 1, none, "exactly one request found no runs and inserted them")
	})
}

// E6: A request waits for an open request with the same key and namespace, and
// for no other.
func TestRequestWaitsForSameKey(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	found := make(chan []string, 1)
	require.NoError(t, s.Transaction(testContext(t), deadAfter, func(in hourbell.Store, _ *gorm.DB) error {
		require.NoError(t, keyErr(in.RunsByIdempotencyKey(testContext(t), "key")))
		for _, other := range []hourbell.Store{bindStore(t, db.DB, "other", nil), s} {
			require.NoError(t, keyErr(other.RunsByIdempotencyKey(testContext(t), "another key")))
		}
		require.NoError(t, keyErr(bindStore(t, db.DB, "other", nil).RunsByIdempotencyKey(testContext(t), "key")))
		go func() {
			runs, _, err := s.RunsByIdempotencyKey(testContext(t), "key")
			found <- append(jobNames(runs), errorTexts(err)...)
		}()
		waitForLockWait(t, db)
		run := apiRun("a", 0)
		run.IdempotencyKey = "key"
		insertRuns(t, in, run)
		return nil
	}))
	require.Equal(t, []string{"a"}, <-found)
}

func TestRunsFilterByEveryField(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		manual := cronRun("a", time.Time{}, 0)
		manual.Trigger, manual.Job, manual.Group = hourbell.TriggerManual, "report", ""
		insertRuns(t, s, cronRun("a", noon, 0), cronRun("b", noon, 0), manual, apiRun("other", 0))
		taken, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "h", Limit: 1, Lease: time.Minute})
		require.NoError(t, err)
		require.Len(t, taken, 1)

		for _, tc := range []struct {
			q    hourbell.RunQuery
			want int
		}{
			{hourbell.RunQuery{}, 4},
			{hourbell.RunQuery{ScheduleID: "a"}, 2},
			{hourbell.RunQuery{ScheduleID: "a", Trigger: hourbell.TriggerCron}, 1},
			{hourbell.RunQuery{Job: "report"}, 1},
			{hourbell.RunQuery{Group: "feed"}, 2},
			{hourbell.RunQuery{Status: hourbell.RunRunning}, 1},
			{hourbell.RunQuery{Status: hourbell.RunQueued}, 3},
			{hourbell.RunQuery{Trigger: hourbell.TriggerAPI}, 1},
			{hourbell.RunQuery{ScheduleID: "a", Job: "job-0", Group: "feed", Status: hourbell.RunFailed, Trigger: hourbell.TriggerCron}, 0},
			{hourbell.RunQuery{Limit: 3}, 3},
			{hourbell.RunQuery{Job: "' OR '1'='1"}, 0},
		} {
			runs := listRuns(t, s, tc.q)
			require.Len(t, runs, tc.want, "%+v", tc.q)
			for i := 1; i < len(runs); i++ {
				require.Greater(t, runs[i-1].ID, runs[i].ID, "newest first")
			}
		}
	})
}

func TestRunPagesSurviveInserts(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		var want []string
		for i := range 25 {
			insertRuns(t, s, apiRun(fmt.Sprint(i), 0))
			want = append([]string{fmt.Sprint(i)}, want...)
		}
		var got []string
		for q := (hourbell.RunQuery{Limit: 4}); ; {
			page := listRuns(t, s, q)
			if len(page) == 0 {
				break
			}
			got = append(got, jobNames(page)...)
			q.Before = page[len(page)-1].ID
			insertRuns(t, s, apiRun("later", 0))
		}
		require.Equal(t, want, got)
	})
}

// Runs leaves out arguments if asked to, in all three statements.
func TestRunsOmitArgs(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertSchedules(t, s, dueSchedule("a"))
		run := hourbell.JobRun{
			Namespace: "test", Job: "import", Trigger: hourbell.TriggerCron, ScheduleID: "a", ScheduledFor: noon, Status: hourbell.RunQueued,
			Args: json.RawMessage(`{"large": true}`),
		}
		inserted, err := s.InsertRuns(t.Context(), []hourbell.JobRun{run}, "")
		require.NoError(t, err)
		for _, q := range []hourbell.RunQuery{{}, {ID: inserted[0].ID}, {ScheduleID: "a"}} {
			q.Limit = 10
			for _, omit := range []bool{false, true} {
				q.OmitArgs = omit
				runs, err := s.Runs(t.Context(), q)
				require.NoError(t, err)
				require.Len(t, runs, 1)
				require.Equal(t, omit, runs[0].Args == nil, "%+v", q)
				runs[0].Args = inserted[0].Args
				require.Equal(t, inserted[0], runs[0])
			}
		}
	})
}
