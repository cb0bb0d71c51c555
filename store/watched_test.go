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

// watched is a connection pool as a host's own: it sees every statement, and can refuse it.
type watched struct {
	*sql.DB
	mu   sync.Mutex
	sent []sent
	on   func(statement string) error // may be nil
}

// sent is a statement with its values; BEGIN, COMMIT and ROLLBACK too.
type sent struct {
	text string
	args []any
}

func (w *watched) see(text string, args []any) error {
	w.mu.Lock()
	w.sent = append(w.sent, sent{text, args})
	on := w.on
	w.mu.Unlock()
	if on != nil {
		return on(text)
	}
	return nil
}

// during returns what is sent while fn runs.
func (w *watched) during(fn func()) []sent {
	w.mu.Lock()
	w.sent = nil
	w.mu.Unlock()
	fn()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent
}

func (w *watched) GetDBConn() (*sql.DB, error) { return w.DB, nil }

func (w *watched) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if err := w.see(text, args); err != nil {
		return nil, err
	}
	return w.DB.QueryContext(ctx, text, args...)
}

func (w *watched) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if err := w.see(text, args); err != nil {
		return nil, err
	}
	return w.DB.ExecContext(ctx, text, args...)
}

func (w *watched) BeginTx(ctx context.Context, options *sql.TxOptions) (gorm.ConnPool, error) {
	if err := w.see("BEGIN", nil); err != nil {
		return nil, err
	}
	tx, err := w.DB.BeginTx(ctx, options)
	return &watchedTx{tx, w}, err
}

type watchedTx struct {
	*sql.Tx
	pool *watched
}

func (w *watchedTx) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if err := w.pool.see(text, args); err != nil {
		return nil, err
	}
	return w.Tx.QueryContext(ctx, text, args...)
}

func (w *watchedTx) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if err := w.pool.see(text, args); err != nil {
		return nil, err
	}
	return w.Tx.ExecContext(ctx, text, args...)
}

func (w *watchedTx) Commit() error {
	if err := w.pool.see("COMMIT", nil); err != nil {
		_ = w.Tx.Rollback()
		return err
	}
	return w.Tx.Commit()
}

func (w *watchedTx) Rollback() error {
	_ = w.pool.see("ROLLBACK", nil)
	return w.Tx.Rollback()
}

// watch opens a handle on a database that goes through a watched pool.
func watch(t testing.TB, db *dbtest.DB, cfg gorm.Config) (*gorm.DB, *watched) {
	t.Helper()
	w := &watched{DB: openPool(t, db.Open(t, nil))}
	var dialector gorm.Dialector = &sqlite.Dialector{Conn: w}
	if db.Dialect == "postgres" {
		dialector = postgres.New(postgres.Config{Conn: w})
	}
	cfg.Logger = logger.Discard
	handle, err := gorm.Open(dialector, &cfg)
	require.NoError(t, err)
	return handle, w
}

func openPool(t testing.TB, db *gorm.DB) *sql.DB {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	return pool
}
