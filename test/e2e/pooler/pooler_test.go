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
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// execModes lists the modes in which pgx keeps no prepared statement on the
// server. Behind a transaction pooler, the next transaction may use another
// server connection, which lacks the statement.
var execModes = []string{"exec", "cache_describe", "simple_protocol"}

// O1, and docs/operations.md: everything works behind PgBouncer with pool_mode =
// transaction and fewer server connections than replicas: migrations, claim path
// and fast path, reads, operators' requests and job workers.
func TestTransactionPooler(t *testing.T) {
	modes := execModes
	if testing.Short() {
		modes = modes[:1]
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			direct := dbtest.EmptyPostgres(t)
			db := startPooler(t, direct)
			db.DSN += "&default_query_exec_mode=" + mode
			require.NoError(t, store.Migrate(t.Context(), db.Open(t, nil)))
			s := newSyncedScheduler(t, db)
			replicas := startReplicas(t, db)

			firedSlots := func() (n int) {
				require.NoError(t, direct.Raw("SELECT count(DISTINCT (schedule_id, scheduled_for)) FROM hourbell_job_runs WHERE trigger = 'CRON'").Scan(&n).Error)
				return n
			}
			rounds := 0
			await(t, "slots fire while operators and a job worker send requests", func() bool {
				rounds++
				sendRequests(t, s)
				return rounds >= 20 && firedSlots() >= 6
			})
			replicas.stop(t)
			require.NotContains(t, replicas.log.String(), "level=ERROR")
			checkLedger(t, direct, rounds)
		})
	}
}

// config declares a schedule that is due every second.
func config(log *slog.Logger) hourbell.Config {
	return hourbell.Config{
		Jobs: []hourbell.Job{{Name: "import", Group: "feed", Args: map[string]int{"shop": 7}}, {Name: "publish", Group: "feed"}},
		Definitions: []hourbell.Definition{{
			ID: "s", Cron: "* * * * * *", Target: hourbell.Group("feed"), EnabledByDefault: true,
		}},
		PollInterval: time.Second, Logger: log,
	}
}

func newSyncedScheduler(t *testing.T, db *dbtest.DB) *hourbell.Scheduler {
	t.Helper()
	s, err := hourbell.New(store.New(db.Open(t, nil)), config(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	require.NoError(t, s.Sync(t.Context()))
	return s
}

// replicaSet is several running replicas.
type replicaSet struct {
	log     *logBuffer
	cancel  context.CancelFunc
	running sync.WaitGroup
	errs    []error
}

// startReplicas runs four loops, each with its own pool. Two of them have an
// Enqueuer and so use the claim path, the others use the fast path.
func startReplicas(t *testing.T, db *dbtest.DB) *replicaSet {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &replicaSet{log: &logBuffer{}, cancel: cancel, errs: make([]error, 4)}
	for i := range r.errs {
		cfg := config(slog.New(slog.NewTextHandler(r.log, nil)))
		if i%2 == 0 {
			cfg.Enqueuer = selectEnqueuer{}
		}
		s, err := hourbell.New(store.New(db.Open(t, nil)), cfg)
		require.NoError(t, err)
		r.running.Go(func() { r.errs[i] = s.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		r.running.Wait()
	})
	return r
}

func (r *replicaSet) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	r.running.Wait()
	for _, err := range r.errs {
		require.NoError(t, err)
	}
}

// selectEnqueuer is an Enqueuer that sends a query in its transaction.
type selectEnqueuer struct{}

func (selectEnqueuer) Enqueue(ctx context.Context, tx *gorm.DB, runs []hourbell.JobRun) error {
	var count int
	return tx.WithContext(ctx).Raw("SELECT count(*) FROM hourbell_job_runs WHERE id = ?", runs[0].ID).Scan(&count).Error
}

// sendRequests sends every kind of request of operators and job workers. It
// enqueues four runs.
func sendRequests(t *testing.T, s *hourbell.Scheduler) {
	t.Helper()
	handler, err := admin.New(s, admin.Config{Authorize: admin.AllowAll})
	require.NoError(t, err)
	for _, path := range []string{"/", "/api/schedules", "/api/schedules/s", "/api/schedules/s/runs", "/api/schedules/s/events", "/api/runs", "/api/workers", "/api/health"} {
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, httptest.NewRequest(http.MethodGet, path, nil))
		require.Less(t, response.Code, 400, "%s: %s", path, response.Body)
	}
	run := httptest.NewRequest(http.MethodPost, "/api/schedules/s/run", strings.NewReader("{}"))
	run.Header.Set("Content-Type", "application/json")
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, run)
	require.Equal(t, http.StatusCreated, response.Code, response.Body)
	_, err = s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
	require.NoError(t, err)
	taken, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "w", Limit: 2})
	require.NoError(t, err)
	for _, run := range taken {
		require.NoError(t, s.FinishRun(t.Context(), run, nil))
	}
}

// checkLedger checks that each slot fired with both jobs or is in a skip, that
// no other slot fired, and that the runs of all requests exist.
func checkLedger(t *testing.T, db *dbtest.DB, rounds int) {
	t.Helper()
	var fired, skipped, slots, incomplete, requested, locked int
	require.NoError(t, db.Raw(`
SELECT (SELECT count(*) FROM hourbell_job_runs WHERE trigger = 'CRON' AND ordinal = 0),
	(SELECT COALESCE(sum(slot_count), 0) FROM hourbell_events WHERE kind = 'SKIPPED'),
	(SELECT count(*) FROM hourbell_schedules, generate_series(date_trunc('second', created_at) + interval '1 second', settled_through, interval '1 second')),
	(SELECT count(*) FROM (SELECT 1 FROM hourbell_job_runs WHERE trigger = 'CRON' GROUP BY scheduled_for HAVING count(*) <> 2) incomplete),
	(SELECT count(*) FROM hourbell_job_runs WHERE trigger <> 'CRON'),
	(SELECT count(*) FROM hourbell_schedules WHERE locked_by IS NOT NULL OR unfinished_since IS NOT NULL)`).
		Row().Scan(&fired, &skipped, &slots, &incomplete, &requested, &locked))
	require.Equal(t, slots, fired+skipped)
	require.Zero(t, incomplete)
	require.Equal(t, 4*rounds, requested)
	require.Zero(t, locked)
	t.Logf("%d slots fired, %d skipped; %d runs requested", fired, skipped, requested)
}

// logBuffer is a log that the test can read while replicas write to it.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
