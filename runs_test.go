package hourbell_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// queued is a scheduler with one run of each job, in the order of jobs.
func queued(t *testing.T, db *dbtest.DB, c *clock) *hourbell.Scheduler {
	t.Helper()
	s := synced(t, db.DB, definitions(c, everyJob("a")))
	_, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
	require.NoError(t, err)
	return s
}

func take(t *testing.T, s *hourbell.Scheduler, request hourbell.TakeRequest) []hourbell.JobRun {
	t.Helper()
	runs, err := s.TakeRuns(t.Context(), request)
	require.NoError(t, err)
	return runs
}

func jobsOf(runs []hourbell.JobRun) []string {
	list := []string{}
	for _, run := range runs {
		list = append(list, run.Job)
	}
	return list
}

// E7: a run is taken, leased, extended and finished, oldest first.
func TestARunIsTakenExtendedAndFinished(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, c := t.Context(), newClock(noon)
		s := queued(t, db, c)
		c.Advance(time.Minute)
		runs := take(t, s, hourbell.TakeRequest{Worker: "w1"})
		require.Equal(t, []string{"import"}, jobsOf(runs), "one is the default")
		run := runs[0]
		require.Equal(t, []any{"RUNNING", "w1", 1}, []any{run.Status, run.WorkerID, run.Attempt})
		require.Equal(t, c.Now(), run.StartedAt)
		require.Equal(t, c.Now().Add(5*time.Minute), run.LeasedUntil)

		c.Advance(4 * time.Minute)
		require.NoError(t, s.ExtendRun(ctx, run, time.Hour))
		c.Advance(59 * time.Minute)
		require.Equal(t, []string{"publish", "report"}, jobsOf(take(t, s, hourbell.TakeRequest{Worker: "w2", Limit: 10})))
		require.NoError(t, s.FinishRun(ctx, run, nil))

		finished := allRuns(t, s)[0]
		require.Equal(t, "SUCCEEDED", finished.Status)
		require.Equal(t, c.Now(), finished.FinishedAt)
		require.Zero(t, finished.LeasedUntil)
		require.Empty(t, finished.Error)
	})
}

// E7: a run that failed says why, whatever its message holds.
func TestAFailedRunSaysWhy(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := queued(t, db, c)
		for _, run := range take(t, s, hourbell.TakeRequest{Worker: "w", Limit: 10}) {
			require.NoError(t, s.FinishRun(t.Context(), run, errors.New("bytes \xff\x00 from "+run.Job)))
		}
		for _, run := range allRuns(t, s) {
			require.Equal(t, "FAILED", run.Status)
			require.Equal(t, "bytes \uFFFD\uFFFD from "+run.Job, run.Error)
		}
		c.Advance(24 * time.Hour)
		require.Empty(t, take(t, s, hourbell.TakeRequest{Worker: "w", Limit: 10}), "what is finished is not taken again")
	})
}

// An error may hold a whole request; what is kept of it is bounded.
func TestAFailedRunKeepsTheBeginningOfALongError(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := queued(t, db, newClock(noon))
		run := take(t, s, hourbell.TakeRequest{Worker: "w"})[0]
		require.NoError(t, s.FinishRun(t.Context(), run, errors.New(strings.Repeat("é", 5000))))
		for _, stored := range allRuns(t, s) {
			if stored.ID == run.ID {
				require.Equal(t, strings.Repeat("é", 1000)+"…", stored.Error)
			}
		}
	})
}

// E7: after its lease a run may be taken again, with one attempt more; its former holder can then neither extend nor
// finish it.
func TestARunWhoseLeaseEndedIsTakenAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, c := t.Context(), newClock(noon)
		s := queued(t, db, c)
		request := hourbell.TakeRequest{Worker: "w", Jobs: []string{"import"}, Lease: time.Minute}
		first := take(t, s, request)[0]
		c.Advance(time.Minute - time.Microsecond)
		require.Empty(t, take(t, s, request))
		c.Advance(time.Microsecond)
		second := take(t, s, request)[0] // the same worker's name: it is the attempt that tells them apart
		require.Equal(t, first.ID, second.ID)
		require.Equal(t, 2, second.Attempt)

		untouched(t, db, func() {
			for _, err := range []error{
				s.FinishRun(ctx, first, nil), s.FinishRun(ctx, first, errors.New("late")), s.ExtendRun(ctx, first, time.Hour),
			} {
				require.ErrorIs(t, err, hourbell.ErrLeaseLost)
				require.ErrorContains(t, err, fmt.Sprintf("run %d", first.ID))
			}
		})
		imposter := second
		imposter.WorkerID = "other"
		require.ErrorIs(t, s.FinishRun(ctx, imposter, nil), hourbell.ErrLeaseLost)
		require.NoError(t, s.FinishRun(ctx, second, nil))
		require.ErrorIs(t, s.FinishRun(ctx, second, nil), hourbell.ErrLeaseLost)
		require.ErrorIs(t, s.ExtendRun(ctx, second, time.Hour), hourbell.ErrLeaseLost)
	})
}

// E7: whoever finishes after the lease's end, but before anybody else came, has finished.
func TestALateFinishCountsWhileNobodyElseCame(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := queued(t, db, c)
		run := take(t, s, hourbell.TakeRequest{Worker: "w"})[0]
		c.Advance(24 * time.Hour)
		require.NoError(t, s.FinishRun(t.Context(), run, nil))
	})
}

// E7: a worker takes only the jobs it names.
func TestOnlyNamedJobsAreTaken(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := queued(t, db, newClock(noon))
		require.Empty(t, take(t, s, hourbell.TakeRequest{Worker: "w", Limit: 10, Jobs: []string{"nap", ""}}))
		require.Equal(t, []string{"import", "report"}, jobsOf(take(t, s, hourbell.TakeRequest{Worker: "w", Limit: 10, Jobs: []string{"report", "import"}})))
		require.Equal(t, []string{"publish"}, jobsOf(take(t, s, hourbell.TakeRequest{Worker: "w", Limit: 10})))
	})
}

// E7: takers at the same time never get the same run, and together they get all.
func TestTakersNeverShareARun(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := queued(t, db, newClock(noon))
		for range 39 {
			_, err := s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
			require.NoError(t, err)
		}
		taken := make([][]int64, 8)
		failures := make([]error, len(taken))
		var done sync.WaitGroup
		for i := range taken {
			done.Go(func() {
				for {
					runs, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{Worker: fmt.Sprintf("w%d", i), Limit: 1})
					if err != nil || len(runs) == 0 {
						failures[i] = err
						return
					}
					for _, run := range runs {
						taken[i] = append(taken[i], run.ID)
					}
				}
			})
		}
		done.Wait()
		require.NoError(t, errors.Join(failures...))
		// Who passes by what others are just taking may leave early; the last takes the rest.
		all := slices.Concat(taken...)
		slices.Sort(all)
		require.Len(t, all, 120)
		require.Len(t, slices.Compact(all), 120)
		for _, run := range allRuns(t, s) {
			require.Equal(t, 1, run.Attempt)
		}
	})
}

// E7: takers do not wait for each other. What one is just taking, the others pass by.
func TestTakersPassByWhatAnotherIsTaking(t *testing.T) {
	db := dbtest.Postgres(t) // SQLite has one writer at a time
	s := queued(t, db, newClock(noon))
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Exec("SELECT id FROM hourbell_job_runs WHERE job = 'import' FOR UPDATE").Error)
		runs, err := s.TakeRuns(bounded(t), hourbell.TakeRequest{Worker: "w", Limit: 2})
		require.NoError(t, err)
		require.Equal(t, []string{"publish", "report"}, jobsOf(runs))
		return nil
	}))
	require.Equal(t, []string{"import"}, jobsOf(take(t, s, hourbell.TakeRequest{Worker: "w", Limit: 10})))
}

// E7: a bad request is refused with an error that says what is wrong, and takes nothing.
func TestABadTakeIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := queued(t, db, newClock(noon))
		run := hourbell.JobRun{ID: 1, WorkerID: "w", Attempt: 1}
		untouched(t, db, func() {
			for says, request := range map[string]hourbell.TakeRequest{
				"Worker is empty":          {},
				"Limit -1 is not in":       {Worker: "w", Limit: -1},
				"Limit 1001 is not in":     {Worker: "w", Limit: 1001},
				"Lease -1ns is negative":   {Worker: "w", Lease: -1},
				"Lease -1m0s is negative":  {Worker: "w", Lease: -time.Minute},
				"take runs: Limit -5 is n": {Worker: "w", Limit: -5},
			} {
				_, err := s.TakeRuns(t.Context(), request)
				require.ErrorContains(t, err, says)
			}
			for _, lease := range []time.Duration{0, -time.Second} {
				require.ErrorContains(t, s.ExtendRun(t.Context(), run, lease), "not positive")
			}
			require.ErrorIs(t, s.FinishRun(t.Context(), run, nil), hourbell.ErrLeaseLost, "it was never taken")
			require.ErrorIs(t, s.FinishRun(t.Context(), hourbell.JobRun{ID: 999}, nil), hourbell.ErrLeaseLost, "it does not exist")
		})
	})
}

// Runs are selected by every field of the query, newest first, page by page.
func TestRunsAreSelectedAndPaged(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx, c := t.Context(), newClock(noon)
		s := queued(t, db, c) // import publish report, API
		c.Advance(time.Hour)
		tick(t, s) // the same three, CRON
		_, err := s.RunNow(ctx, "a", hourbell.EnqueueOptions{})
		require.NoError(t, err)
		runs := take(t, s, hourbell.TakeRequest{Worker: "w", Limit: 3})
		require.NoError(t, s.FinishRun(ctx, runs[0], nil))
		require.NoError(t, s.FinishRun(ctx, runs[1], errors.New("no")))

		for want, query := range map[int]hourbell.RunQuery{
			9: {},
			6: {ScheduleID: "a"},
			3: {Job: "report"},
			4: {ScheduleID: "a", Group: "feed"},
			2: {ScheduleID: "a", Job: "import"},
			1: {Status: "FAILED"},
			0: {Status: "FAILED", Trigger: "CRON"},
		} {
			list, err := s.Runs(ctx, query)
			require.NoError(t, err)
			require.Len(t, list, want, "%+v", query)
			require.True(t, slices.IsSortedFunc(list, func(a, b hourbell.JobRun) int { return int(b.ID - a.ID) }))
		}
		var paged []hourbell.JobRun
		for query := (hourbell.RunQuery{Limit: 4}); ; {
			page, err := s.Runs(ctx, query)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			query.Before = page[len(page)-1].ID
		}
		slices.Reverse(paged)
		require.Equal(t, allRuns(t, s), paged)
	})
}

// A query that cannot be meant is refused with an error that names what is wrong, rather than answered with nothing.
func TestABadQueryIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		ctx := t.Context()
		s := synced(t, db.DB, definitions(newClock(noon), everyJob("a")))
		untouched(t, db, func() {
			for says, query := range map[string]hourbell.RunQuery{
				`Status "DONE"`:    {Status: "DONE"},
				`Status "queued"`:  {Status: "queued"},
				`Trigger "HTTP"`:   {Trigger: "HTTP"},
				"Limit -1 is not":  {Limit: -1},
				"Limit 1001 is no": {Limit: 1001},
			} {
				_, err := s.Runs(ctx, query)
				require.ErrorContains(t, err, says)
			}
			for _, limit := range []int{-1, 1001} {
				_, err := s.Events(ctx, hourbell.EventQuery{Limit: limit})
				require.ErrorContains(t, err, fmt.Sprintf("Limit %d", limit))
			}
			_, err := s.Events(ctx, hourbell.EventQuery{Kind: "FIRED"})
			require.ErrorContains(t, err, `Kind "FIRED"`)
			for _, n := range []int{-1, 0, 1001} {
				_, err := s.Upcoming(ctx, "a", n)
				require.ErrorContains(t, err, fmt.Sprintf("%d is not in 1-1000", n))
			}
		})
	})
}
