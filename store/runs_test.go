package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// list reads runs, newest first.
func list(t testing.TB, s hourbell.Store, q hourbell.RunQuery) []hourbell.JobRun {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	runs, err := s.Runs(t.Context(), q)
	require.NoError(t, err)
	return runs
}

func jobsOf(runs []hourbell.JobRun) []string {
	jobs := []string{}
	for _, r := range runs {
		jobs = append(jobs, r.Job)
	}
	return jobs
}

// E5: every run knows its slot.
func TestAnInsertedRunIsAsGiven(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		full := fire("a", noon.Add(-time.Minute), 3)
		full.Args, full.Actor, full.RequestKey = json.RawMessage(`{"n": [1, 2.5, null, "ü€😀 \" ' \\ \n"]}`), "anna", "key-1"
		bare := asked("bare", 0)
		given := []hourbell.JobRun{full, bare}
		got := enqueue(t, s, given...)
		require.ElementsMatch(t, []string{full.Job, "bare"}, jobsOf(got))
		for _, r := range got {
			want := given[map[string]int{full.Job: 0, "bare": 1}[r.Job]]
			require.NotZero(t, r.ID)
			want.ID, want.QueuedAt = r.ID, noon
			require.Equal(t, want, r)

			stored := list(t, s, hourbell.RunQuery{Job: r.Job})
			require.Len(t, stored, 1)
			if want.Args != nil {
				require.JSONEq(t, string(want.Args), string(stored[0].Args))
				stored[0].Args = want.Args
			}
			require.Equal(t, want, stored[0])
		}
		none, err := s.InsertRuns(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

func TestArgsAreJSONToTheDatabase(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, _ *clock) {
		run := asked("import", 0)
		run.Args = json.RawMessage(`{"feed": "a"}`)
		enqueue(t, s, run)
		var feed string
		require.NoError(t, db.Raw("SELECT args ->> 'feed' FROM hourbell_job_runs").Scan(&feed).Error)
		require.Equal(t, "a", feed)
	})
}

// L3: the unique index is the last line.
func TestASlotHasOneFire(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		first := enqueue(t, s, fire("a", noon, 0), fire("a", noon, 1))
		require.Len(t, first, 2)
		got, err := s.InsertRuns(t.Context(), []hourbell.JobRun{fire("a", noon, 0), fire("b", noon, 0)})
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, "b", got[0].ScheduleID)
		require.Len(t, list(t, s, hourbell.RunQuery{}), 3)

		// Another slot, and a fire that nobody scheduled, are others.
		manual := fire("a", time.Time{}, 0)
		manual.Trigger = "MANUAL"
		enqueue(t, s, fire("a", noon.Add(time.Hour), 0), manual)
		enqueue(t, s, manual)
	})
}

// L3: of many that insert the fire of one slot, one does.
func TestOfEightInsertsOfOneSlotOneIsTaken(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		inserted := make([]int, 8)
		for _, err := range together(8, func(i int) error {
			for n := range 20 {
				runs, err := s.InsertRuns(soon(t), []hourbell.JobRun{fire("a", noon.Add(time.Duration(n)*time.Hour), 0)})
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
		require.Len(t, list(t, s, hourbell.RunQuery{}), 20)
	})
}

// E6: a request key is unique with the job, per namespace.
func TestARequestKeyIsUsedOnce(t *testing.T) {
	each(t, func(t *testing.T, db *dbtest.DB, s hourbell.Store, c *clock) {
		keyed := func(job string, ordinal int, key string) hourbell.JobRun {
			r := asked(job, ordinal)
			r.RequestKey = key
			return r
		}
		enqueue(t, s, keyed("b", 0, "k"), keyed("a", 1, "k"))
		got, err := s.InsertRuns(t.Context(), []hourbell.JobRun{keyed("a", 0, "k"), keyed("c", 1, "k"), keyed("a", 2, "k2")})
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"c", "a"}, jobsOf(got))
		enqueue(t, bind(t, db.DB, "other", c.Now), keyed("a", 0, "k"))

		runs, err := s.RunsByKey(t.Context(), "k2")
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, jobsOf(runs))
		runs, err = s.RunsByKey(t.Context(), "none")
		require.NoError(t, err)
		require.Empty(t, runs)
		runs, err = s.RunsByKey(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, []int{0, 1, 1}, []int{runs[0].Ordinal, runs[1].Ordinal, runs[2].Ordinal}, "in the order of the request")
		require.Equal(t, "b", runs[0].Job)
	})
}

// E6: of repeated requests that come at once, each sees the runs of the first.
func TestRequestsWithOneKeyWaitForEachOther(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		saw := make([]int, 8)
		for _, err := range together(8, func(i int) error {
			return s.Transaction(soon(t), dead, func(s hourbell.Store, _ hourbell.Tx) error {
				runs, err := s.RunsByKey(soon(t), "key")
				saw[i] = len(runs)
				if err != nil || len(runs) > 0 {
					return err
				}
				a, b := asked("a", 0), asked("b", 1)
				a.RequestKey, b.RequestKey = "key", "key"
				return second(s.InsertRuns(soon(t), []hourbell.JobRun{a, b}))
			})
		}) {
			require.NoError(t, err)
		}
		none := 0
		for _, n := range saw {
			require.Contains(t, []int{0, 2}, n)
			if n == 0 {
				none++
			}
		}
		require.Equal(t, 1, none, "one found nothing and inserted; all others found its runs")
	})
}

// E6: whoever reads a request's runs makes others with that key wait, and only those.
func TestARequestWaitsForTheOneWithItsKey(t *testing.T) {
	db := dbtest.Postgres(t)
	s, _ := bound(t, db.DB)
	found := make(chan []string, 1)
	require.NoError(t, s.Transaction(soon(t), dead, func(in hourbell.Store, _ hourbell.Tx) error {
		require.NoError(t, second(in.RunsByKey(soon(t), "key")))
		for _, other := range []hourbell.Store{bind(t, db.DB, "other", nil), s} {
			require.NoError(t, second(other.RunsByKey(soon(t), "key of another")))
		}
		require.NoError(t, second(bind(t, db.DB, "other", nil).RunsByKey(soon(t), "key")))
		go func() {
			runs, err := s.RunsByKey(soon(t), "key")
			found <- append(jobsOf(runs), errText(err)...)
		}()
		awaitLockWait(t, db)
		run := asked("a", 0)
		run.RequestKey = "key"
		enqueue(t, in, run)
		return nil
	}))
	require.Equal(t, []string{"a"}, <-found)
}

func TestRunsAreFilteredByEveryField(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		manual := fire("a", time.Time{}, 0)
		manual.Trigger, manual.Job, manual.Group = "MANUAL", "report", ""
		enqueue(t, s, fire("a", noon, 0), fire("b", noon, 0), manual, asked("other", 0))
		taken, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{Worker: "h", Limit: 1, Lease: time.Minute})
		require.NoError(t, err)
		require.Len(t, taken, 1)

		for _, tc := range []struct {
			q    hourbell.RunQuery
			want int
		}{
			{hourbell.RunQuery{}, 4},
			{hourbell.RunQuery{ScheduleID: "a"}, 2},
			{hourbell.RunQuery{ScheduleID: "a", Trigger: "CRON"}, 1},
			{hourbell.RunQuery{Job: "report"}, 1},
			{hourbell.RunQuery{Group: "feed"}, 2},
			{hourbell.RunQuery{Status: "RUNNING"}, 1},
			{hourbell.RunQuery{Status: "QUEUED"}, 3},
			{hourbell.RunQuery{Trigger: "API"}, 1},
			{hourbell.RunQuery{ScheduleID: "a", Job: "job-0", Group: "feed", Status: "FAILED", Trigger: "CRON"}, 0},
			{hourbell.RunQuery{Limit: 3}, 3},
			{hourbell.RunQuery{Job: "' OR '1'='1"}, 0},
		} {
			runs := list(t, s, tc.q)
			require.Len(t, runs, tc.want, "%+v", tc.q)
			for i := 1; i < len(runs); i++ {
				require.Greater(t, runs[i-1].ID, runs[i].ID, "newest first")
			}
		}
	})
}

func TestPagesOfRunsStayWhileRunsAreAdded(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		var want []string
		for i := range 25 {
			enqueue(t, s, asked(fmt.Sprint(i), 0))
			want = append([]string{fmt.Sprint(i)}, want...)
		}
		var got []string
		for q := (hourbell.RunQuery{Limit: 4}); ; {
			page := list(t, s, q)
			if len(page) == 0 {
				break
			}
			got = append(got, jobsOf(page)...)
			q.Before = page[len(page)-1].ID
			enqueue(t, s, asked("later", 0))
		}
		require.Equal(t, want, got)
	})
}
