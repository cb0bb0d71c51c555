package store_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	"github.com/glebarez/sqlite"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// recorder is a connection pool that records every statement and can make it
// fail.
type recorder struct {
	*sql.DB
	mu          sync.Mutex
	statements  []sentStatement
	onStatement func(statement string) error // returns an error to make it fail; may be nil
}

// sentStatement is a statement and its arguments. BEGIN, COMMIT and ROLLBACK
// are recorded too.
type sentStatement struct {
	text string
	args []any
}

func (w *recorder) record(text string, args []any) error {
	w.mu.Lock()
	w.statements = append(w.statements, sentStatement{text, args})
	on := w.onStatement
	w.mu.Unlock()
	if on != nil {
		return on(text)
	}
	return nil
}

// during returns the statements that are sent while fn runs.
func (w *recorder) during(fn func()) []sentStatement {
	w.mu.Lock()
	w.statements = nil
	w.mu.Unlock()
	fn()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.statements
}

func (w *recorder) GetDBConn() (*sql.DB, error) { return w.DB, nil }

func (w *recorder) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if err := w.record(text, args); err != nil {
		return nil, err
	}
	return w.DB.QueryContext(ctx, text, args...)
}

func (w *recorder) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if err := w.record(text, args); err != nil {
		return nil, err
	}
	return w.DB.ExecContext(ctx, text, args...)
}

func (w *recorder) BeginTx(ctx context.Context, options *sql.TxOptions) (gorm.ConnPool, error) {
	if err := w.record("BEGIN", nil); err != nil {
		return nil, err
	}
	tx, err := w.DB.BeginTx(ctx, options)
	return &recorderTx{tx, w}, err
}

type recorderTx struct {
	*sql.Tx
	pool *recorder
}

func (w *recorderTx) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if err := w.pool.record(text, args); err != nil {
		return nil, err
	}
	return w.Tx.QueryContext(ctx, text, args...)
}

func (w *recorderTx) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if err := w.pool.record(text, args); err != nil {
		return nil, err
	}
	return w.Tx.ExecContext(ctx, text, args...)
}

func (w *recorderTx) Commit() error {
	if err := w.pool.record("COMMIT", nil); err != nil {
		_ = w.Tx.Rollback()
		return err
	}
	return w.Tx.Commit()
}

func (w *recorderTx) Rollback() error {
	_ = w.pool.record("ROLLBACK", nil)
	return w.Tx.Rollback()
}

// openRecorded opens a handle whose statements go through a recorder.
func openRecorded(t testing.TB, db *dbtest.DB, cfg gorm.Config) (*gorm.DB, *recorder) {
	t.Helper()
	w := &recorder{DB: poolOf(t, db.Open(t, nil))}
	var dialector gorm.Dialector = &sqlite.Dialector{Conn: w}
	if db.Dialect == "postgres" {
		dialector = postgres.New(postgres.Config{Conn: w})
	}
	cfg.Logger = logger.Discard
	handle, err := gorm.Open(dialector, &cfg)
	require.NoError(t, err)
	return handle, w
}

func poolOf(t testing.TB, db *gorm.DB) *sql.DB {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	return pool
}
