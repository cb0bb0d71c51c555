package pooler_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// modes are the ways of pgx to send a statement that keep nothing on the server for the next transaction, which may have another
// connection. Its usual one keeps prepared statements; so it needs PgBouncer 1.21 with max_prepared_statements.
var modes = []string{"exec", "cache_describe", "simple_protocol"}

// O1, and what docs/operations.md says: behind PgBouncer with pool_mode = transaction, and with fewer connections than
// replicas, everything works in each of these modes: migrating, both roads of the loop, what people read and ask for, and workers.
func TestEverythingWorksBehindATransactionPooler(t *testing.T) {
	modes := modes
	if testing.Short() {
		modes = modes[:1]
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			direct := dbtest.EmptyPostgres(t)
			db := pooled(t, direct)
			db.DSN += "&default_query_exec_mode=" + mode
			require.NoError(t, store.Migrate(t.Context(), db.Open(t, nil)))
			s := syncedReplica(t, db)
			host := replicas(t, db)

			runs := func() (n int) {
				require.NoError(t, direct.Raw("SELECT count(DISTINCT (schedule_id, scheduled_for)) FROM hourbell_job_runs WHERE trigger = 'CRON'").Scan(&n).Error)
				return n
			}
			asked := 0
			await(t, "slots fire while people ask for all there is", func() bool {
				asked++
				ask(t, s)
				return asked >= 20 && runs() >= 6
			})
			host.stop(t)
			require.NotContains(t, host.log.String(), "level=ERROR")
			account(t, direct, asked)
		})
	}
}

// config is what the test's host declares: a schedule that is due every second.
func config(log *slog.Logger) hourbell.Config {
	return hourbell.Config{
		Jobs: []hourbell.Job{{Name: "import", Group: "feed", Args: map[string]int{"shop": 7}}, {Name: "publish", Group: "feed"}},
		Definitions: []hourbell.Definition{{
			ID: "s", Cron: "* * * * * *", Target: hourbell.Group("feed"), EnabledByDefault: true,
		}},
		PollInterval: time.Second, Logger: log,
	}
}

func syncedReplica(t *testing.T, db *dbtest.DB) *hourbell.Scheduler {
	t.Helper()
	s, err := hourbell.New(store.New(db.Open(t, nil)), config(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	require.NoError(t, s.Sync(t.Context()))
	return s
}

// fleet is some replicas that run.
type fleet struct {
	log    *lines
	cancel context.CancelFunc
	ended  sync.WaitGroup
	errs   []error
}

// replicas runs four loops, each with a pool of its own. Two have an Enqueuer, and so the other road.
func replicas(t *testing.T, db *dbtest.DB) *fleet {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &fleet{log: &lines{}, cancel: cancel, errs: make([]error, 4)}
	for i := range f.errs {
		cfg := config(slog.New(slog.NewTextHandler(f.log, nil)))
		if i%2 == 0 {
			cfg.Enqueuer = selecting{}
		}
		s, err := hourbell.New(store.New(db.Open(t, nil)), cfg)
		require.NoError(t, err)
		f.ended.Go(func() { f.errs[i] = s.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		f.ended.Wait()
	})
	return f
}

func (f *fleet) stop(t *testing.T) {
	t.Helper()
	f.cancel()
	f.ended.Wait()
	for _, err := range f.errs {
		require.NoError(t, err)
	}
}

// selecting is an Enqueuer that uses its transaction.
type selecting struct{}

func (selecting) Enqueue(ctx context.Context, tx hourbell.Tx, runs []hourbell.JobRun) error {
	var one int
	return tx.WithContext(ctx).Raw("SELECT count(*) FROM hourbell_job_runs WHERE id = ?", runs[0].ID).Scan(&one).Error
}

// ask asks for all that a person or a worker asks for.
func ask(t *testing.T, s *hourbell.Scheduler) {
	t.Helper()
	handler, err := admin.New(s, admin.Config{Authorize: admin.AllowAll})
	require.NoError(t, err)
	for _, path := range []string{"/", "/api/schedules", "/api/schedules/s", "/api/schedules/s/runs", "/api/schedules/s/events", "/api/runs", "/api/workers", "/api/health"} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		require.Less(t, answer.Code, 400, "%s: %s", path, answer.Body)
	}
	run := httptest.NewRequest(http.MethodPost, "/api/schedules/s/run", strings.NewReader("{}"))
	run.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, run)
	require.Equal(t, http.StatusCreated, answer.Code, answer.Body)
	_, err = s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
	require.NoError(t, err)
	taken, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{Worker: "w", Limit: 2})
	require.NoError(t, err)
	for _, run := range taken {
		require.NoError(t, s.FinishRun(t.Context(), run, nil))
	}
}

// account checks that each slot has fired, whole, or is in a skip, and no other; and that what was asked for is there.
func account(t *testing.T, db *dbtest.DB, asked int) {
	t.Helper()
	var fired, skipped, slots, halves, byHand, left int
	require.NoError(t, db.Raw(`
SELECT (SELECT count(*) FROM hourbell_job_runs WHERE trigger = 'CRON' AND ordinal = 0),
	(SELECT COALESCE(sum(slot_count), 0) FROM hourbell_events WHERE kind = 'SKIPPED'),
	(SELECT count(*) FROM hourbell_schedules, generate_series(date_trunc('second', created_at) + interval '1 second', settled_until, interval '1 second')),
	(SELECT count(*) FROM (SELECT 1 FROM hourbell_job_runs WHERE trigger = 'CRON' GROUP BY scheduled_for HAVING count(*) <> 2) h),
	(SELECT count(*) FROM hourbell_job_runs WHERE trigger <> 'CRON'),
	(SELECT count(*) FROM hourbell_schedules WHERE locked_by IS NOT NULL OR owed_since IS NOT NULL)`).
		Row().Scan(&fired, &skipped, &slots, &halves, &byHand, &left))
	require.Equal(t, slots, fired+skipped)
	require.Zero(t, halves)
	require.Equal(t, 4*asked, byHand)
	require.Zero(t, left)
	t.Logf("%d slots fired, %d skipped; %d runs by hand", fired, skipped, byHand)
}

// lines is a log that the test reads.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
