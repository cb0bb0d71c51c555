package contract_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// enqueuerFunc is a function that serves as an Enqueuer.
type enqueuerFunc func(ctx context.Context, tx *gorm.DB, runs []hourbell.JobRun) error

func (f enqueuerFunc) Enqueue(ctx context.Context, tx *gorm.DB, runs []hourbell.JobRun) error {
	return f(ctx, tx, runs)
}

// noopEnqueuer succeeds without doing anything.
var noopEnqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error { return nil })

// errEnqueuer is the error of an Enqueuer that fails.
var errEnqueuer = errors.New("engine unavailable")

// tableEnqueuer is an Enqueuer that writes the key of each run into a table of
// the host, engine_jobs, in the transaction of the fire.
type tableEnqueuer struct {
	mu    sync.Mutex
	calls [][]hourbell.JobRun                // the runs of each call
	fail  func(runs []hourbell.JobRun) error // called after the write unless nil
}

// newTableEnqueuer creates the table.
func newTableEnqueuer(t testing.TB, db *dbtest.DB) *tableEnqueuer {
	t.Helper()
	require.NoError(t, db.Exec("CREATE TABLE engine_jobs (key text)").Error)
	return &tableEnqueuer{}
}

func (e *tableEnqueuer) Enqueue(_ context.Context, tx *gorm.DB, runs []hourbell.JobRun) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, runs)
	for _, run := range runs {
		if err := tx.Exec("INSERT INTO engine_jobs (key) VALUES (?)", run.Key()).Error; err != nil {
			return err
		}
	}
	if e.fail != nil {
		return e.fail(runs)
	}
	return nil
}

// readEnqueuedKeys returns the keys in the table of a tableEnqueuer, sorted.
func readEnqueuedKeys(t testing.TB, db *dbtest.DB) []string {
	t.Helper()
	var keys []string
	require.NoError(t, db.Raw("SELECT key FROM engine_jobs ORDER BY key").Scan(&keys).Error)
	return keys
}

// sortedKeys returns the keys of runs, sorted.
func sortedKeys(runs []hourbell.JobRun) []string {
	keys := make([]string, len(runs))
	for i, run := range runs {
		keys[i] = run.Key()
	}
	slices.Sort(keys)
	return keys
}

// jobNames returns the job of each run, in their order.
func jobNames(runs []hourbell.JobRun) []string {
	names := []string{}
	for _, run := range runs {
		names = append(names, run.Job)
	}
	return names
}

// enqueueCalls are the four calls that enqueue runs by hand, and the jobs that
// each enqueues. RunNow needs a schedule "a" with all of testJobs.
var enqueueCalls = map[string]struct {
	call func(context.Context, *hourbell.Scheduler, hourbell.EnqueueOptions) ([]hourbell.JobRun, error)
	jobs []string
}{
	"RunNow": {func(ctx context.Context, s *hourbell.Scheduler, o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return s.RunNow(ctx, "a", o)
	}, []string{"import", "publish", "report"}},
	"EnqueueAll": {func(ctx context.Context, s *hourbell.Scheduler, o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return s.EnqueueAll(ctx, o)
	}, []string{"import", "publish", "report"}},
	"EnqueueGroup": {func(ctx context.Context, s *hourbell.Scheduler, o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return s.EnqueueGroup(ctx, "feed", o)
	}, []string{"import", "publish"}},
	"EnqueueJob": {func(ctx context.Context, s *hourbell.Scheduler, o hourbell.EnqueueOptions) ([]hourbell.JobRun, error) {
		return s.EnqueueJob(ctx, "report", o)
	}, []string{"report"}},
}
