package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

// Without a write-ahead log, a reader of SQLite prevents a COMMIT. The
// transaction leaves nothing behind on its connection: what later calls report
// as written is stored.
func TestSQLiteFailedCommitLeavesNothingBehind(t *testing.T) {
	db := sqliteWith(t, "&_pragma=busy_timeout(5)&_pragma=journal_mode(DELETE)")
	db.SQL().SetMaxOpenConns(1) // so that later calls use the same connection
	s, _ := newScheduler(t, db.DB)
	require.NoError(t, s.Sync(t.Context()))
	other := db.Open(t, nil)
	countRuns := func() (count int64) {
		require.NoError(t, other.Table("hourbell_job_runs").Count(&count).Error)
		return count
	}

	reader, err := db.Open(t, nil).DB()
	require.NoError(t, err)
	conn, err := reader.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	exec := func(statement string) {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	exec("BEGIN DEFERRED")
	exec("SELECT count(*) FROM hourbell_job_runs")
	_, err = s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{Actor: "during the read"})
	require.ErrorIs(t, err, hourbell.ErrBusy)
	exec("ROLLBACK")

	require.Zero(t, countRuns(), "the failed call")
	st, err := store.New(db.DB).Bind("default", nil)
	require.NoError(t, err)
	_, err = st.Heartbeat(t.Context(), hourbell.Worker{ID: "w", WorkerType: "schedule_daemon"}, 30*time.Second)
	require.NoError(t, err)
	var workers int64
	require.NoError(t, other.Table("hourbell_workers").Count(&workers).Error)
	require.EqualValues(t, 1, workers, "a statement without a transaction")
	_, err = s.EnqueueAll(t.Context(), hourbell.EnqueueOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 1, countRuns(), "a later transaction")
}
