package store_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// takeRun takes one run.
func takeRun(t testing.TB, s hourbell.Store, worker string) hourbell.JobRun {
	t.Helper()
	runs, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: worker, Limit: 1, Lease: time.Minute})
	require.NoError(t, err)
	require.Len(t, runs, 1)
	return runs[0]
}

// E7: A taken run is leased to its worker.
func TestTakeRunsLeasesOldestRuns(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertRuns(t, s, apiRun("a", 0))
		insertRuns(t, s, apiRun("b", 0))
		insertRuns(t, s, apiRun("c", 0))
		c.Advance(time.Second)
		runs, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "h1", Limit: 2, Lease: time.Minute})
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, jobNames(runs))
		want := apiRun("a", 0)
		want.ID, want.QueuedAt, want.StartedAt, want.LeasedUntil = runs[0].ID, noon, c.Now(), c.Now().Add(time.Minute)
		want.Status, want.LeasedBy, want.Attempt = hourbell.RunRunning, "h1", 1
		require.Equal(t, want, runs[0])
		require.Equal(t, "c", takeRun(t, s, "h2").Job)
		runs, err = s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "h2", Limit: 2, Lease: time.Minute})
		require.NoError(t, err)
		require.Empty(t, runs)
	})
}

func TestTakeRunsFiltersByJob(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		insertRuns(t, s, apiRun("a", 0), apiRun("b", 1), apiRun("it's {c}", 2))
		for _, jobs := range [][]string{{"none"}, {"b", "none"}, {"it's {c}"}} {
			runs, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "h", Limit: 9, Lease: time.Minute, Jobs: jobs})
			require.NoError(t, err)
			if jobs[0] == "none" {
				require.Empty(t, runs)
				continue
			}
			require.Equal(t, jobs[:1], jobNames(runs))
		}
	})
}

// E7: A run can be taken again after its lease. The first worker can then no
// longer extend or finish it.
func TestExpiredLeaseIsTakenAgain(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, c *testClock) {
		insertRuns(t, s, apiRun("a", 0))
		first := takeRun(t, s, "h1")
		c.Advance(30 * time.Second)
		extended, err := s.ExtendRun(t.Context(), first, time.Minute)
		require.NoError(t, err)
		require.True(t, extended)

		c.Advance(time.Minute - time.Microsecond)
		runs, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "h2", Limit: 1, Lease: time.Minute})
		require.NoError(t, err)
		require.Empty(t, runs)
		c.Advance(time.Microsecond)
		again := takeRun(t, s, "h1") // the same worker may take it too
		require.Equal(t, 2, again.Attempt)

		for name, call := range map[string]func() (bool, error){
			"extend": func() (bool, error) { return s.ExtendRun(t.Context(), first, time.Hour) },
			"finish": func() (bool, error) { return s.FinishRun(t.Context(), first, hourbell.RunFailed, "late") },
		} {
			done, err := call()
			require.NoError(t, err)
			require.False(t, done, name)
		}
		require.Equal(t, again, listRuns(t, s, hourbell.RunQuery{})[0])
	})
}

// E7: A worker can finish a run after its lease, unless another worker took the
// run.
func TestRunIsFinishedOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		insertRuns(t, s, apiRun("a", 0), apiRun("b", 1))
		a, b := takeRun(t, s, "h1"), takeRun(t, s, "h1")
		c.Advance(time.Hour)
		otherWorker := a
		otherWorker.LeasedBy = "h2"
		other := bindStore(t, db.DB, "other", c.Now)
		for _, call := range []func() (bool, error){
			func() (bool, error) { return s.FinishRun(t.Context(), otherWorker, hourbell.RunSucceeded, "") },
			func() (bool, error) { return other.FinishRun(t.Context(), a, hourbell.RunSucceeded, "") },
			func() (bool, error) { return other.ExtendRun(t.Context(), a, time.Hour) },
		} {
			done, err := call()
			require.NoError(t, err)
			require.False(t, done)
		}
		for _, tc := range []struct {
			run     hourbell.JobRun
			status  hourbell.RunStatus
			message string
		}{{a, hourbell.RunSucceeded, ""}, {b, hourbell.RunFailed, "it's down"}} {
			done, err := s.FinishRun(t.Context(), tc.run, tc.status, tc.message)
			require.NoError(t, err)
			require.True(t, done)
			want := tc.run
			want.Status, want.Error, want.FinishedAt, want.LeasedUntil = tc.status, tc.message, c.Now(), time.Time{}
			require.Equal(t, []hourbell.JobRun{want}, listRuns(t, s, hourbell.RunQuery{Job: tc.run.Job}))

			done, err = s.FinishRun(t.Context(), tc.run, hourbell.RunFailed, "again")
			require.NoError(t, err)
			require.False(t, done)
		}
		runs, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "h2", Limit: 9, Lease: time.Minute})
		require.NoError(t, err)
		require.Empty(t, runs)
	})
}

// E7: Two workers never take the same run.
func TestConcurrentTakersNeverShareRun(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *testClock) {
		var runs []hourbell.JobRun
		for i := range 200 {
			runs = append(runs, apiRun(numberedID(i), i))
		}
		insertRuns(t, s, runs...)
		taken := make([][]hourbell.JobRun, 8)
		for _, err := range runConcurrently(8, func(i int) error {
			s := bindStore(t, db.Open(t, nil), "test", c.Now)
			for len(taken[i]) < 200 {
				runs, err := s.TakeRuns(testContext(t), hourbell.TakeRequest{LeasedBy: strconv.Itoa(i), Limit: 7, Lease: time.Minute})
				if err != nil {
					return err
				}
				taken[i] = append(taken[i], runs...)
				if len(runs) == 0 && len(listRuns(t, s, hourbell.RunQuery{Status: hourbell.RunQueued, Limit: 1})) == 0 {
					break
				}
			}
			return nil
		}) {
			require.NoError(t, err)
		}
		takes := map[string]int{}
		for _, runs := range taken {
			for _, r := range runs {
				takes[r.Job]++
				require.Equal(t, 1, r.Attempt)
			}
		}
		require.Len(t, takes, 200)
		for job, n := range takes {
			require.Equal(t, 1, n, job)
		}
	})
}

// E7: Workers that take runs do not wait for each other.
func TestTakeRunsDoesNotWaitForLockedRows(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := newStore(t, db.DB)
	insertRuns(t, s, apiRun("a", 0))
	insertRuns(t, s, apiRun("b", 0))
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("SELECT 1 FROM hourbell_job_runs WHERE job = 'a' FOR UPDATE").Error)
		runs, err := s.TakeRuns(testContext(t), hourbell.TakeRequest{LeasedBy: "h", Limit: 5, Lease: time.Minute})
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, jobNames(runs))
		return nil
	}))
}
