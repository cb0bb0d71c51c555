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

func (r *recorder) record(text string, args []any) error {
	r.mu.Lock()
	r.statements = append(r.statements, sentStatement{text, args})
	hook := r.onStatement
	r.mu.Unlock()
	if hook != nil {
		return hook(text)
	}
	return nil
}

// during returns the statements that are sent while fn runs.
func (r *recorder) during(fn func()) []sentStatement {
	r.mu.Lock()
	r.statements = nil
	r.mu.Unlock()
	fn()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.statements
}

func (r *recorder) GetDBConn() (*sql.DB, error) { return r.DB, nil }

func (r *recorder) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if err := r.record(text, args); err != nil {
		return nil, err
	}
	return r.DB.QueryContext(ctx, text, args...)
}

func (r *recorder) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if err := r.record(text, args); err != nil {
		return nil, err
	}
	return r.DB.ExecContext(ctx, text, args...)
}

func (r *recorder) BeginTx(ctx context.Context, options *sql.TxOptions) (gorm.ConnPool, error) {
	if err := r.record("BEGIN", nil); err != nil {
		return nil, err
	}
	tx, err := r.DB.BeginTx(ctx, options)
	return &recorderTx{tx, r}, err
}

type recorderTx struct {
	*sql.Tx
	pool *recorder
}

func (r *recorderTx) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if err := r.pool.record(text, args); err != nil {
		return nil, err
	}
	return r.Tx.QueryContext(ctx, text, args...)
}

func (r *recorderTx) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if err := r.pool.record(text, args); err != nil {
		return nil, err
	}
	return r.Tx.ExecContext(ctx, text, args...)
}

func (r *recorderTx) Commit() error {
	if err := r.pool.record("COMMIT", nil); err != nil {
		_ = r.Tx.Rollback()
		return err
	}
	return r.Tx.Commit()
}

func (r *recorderTx) Rollback() error {
	_ = r.pool.record("ROLLBACK", nil)
	return r.Tx.Rollback()
}

// openRecorded opens a handle whose statements go through a recorder.
func openRecorded(t testing.TB, db *dbtest.DB, cfg gorm.Config) (*gorm.DB, *recorder) {
	t.Helper()
	r := &recorder{DB: poolOf(t, db.Open(t, nil))}
	var dialector gorm.Dialector = &sqlite.Dialector{Conn: r}
	if db.Dialect == "postgres" {
		dialector = postgres.New(postgres.Config{Conn: r})
	}
	cfg.Logger = logger.Discard
	handle, err := gorm.Open(dialector, &cfg)
	require.NoError(t, err)
	return handle, r
}

func poolOf(t testing.TB, db *gorm.DB) *sql.DB {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	return pool
}
