package api_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/glebarez/sqlite"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// watched is a connection pool that counts the statements which read.
type watched struct {
	*sql.DB
	sent atomic.Int64
}

func watch(t testing.TB, db *dbtest.DB) *watched {
	t.Helper()
	return &watched{DB: db.SQL()}
}

func (w *watched) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	w.sent.Add(1)
	return w.DB.QueryContext(ctx, text, args...)
}

func (w *watched) GetDBConn() (*sql.DB, error) { return w.DB, nil }

// handle is a host's gorm handle on the pool.
func (w *watched) handle(t testing.TB, db *dbtest.DB) *gorm.DB {
	t.Helper()
	dialector := postgres.New(postgres.Config{Conn: w})
	if db.Dialect == "sqlite" {
		dialector = &sqlite.Dialector{Conn: w}
	}
	handle, err := gorm.Open(dialector, &gorm.Config{Logger: logger.Default.LogMode(logger.Silent)})
	require.NoError(t, err)
	return handle
}

// during counts what is sent while fn runs.
func (w *watched) during(fn func()) int {
	w.sent.Store(0)
	fn()
	return int(w.sent.Load())
}

// BenchmarkListSchedules reads a page of 50 with 20 outcomes each.
func BenchmarkListSchedules(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("schedules=%d", n), func(b *testing.B) {
			for _, database := range []func(testing.TB) *dbtest.DB{dbtest.SQLite, dbtest.Postgres} {
				db := database(b)
				b.Run(db.Dialect, func(b *testing.B) {
					h := newHost(b, db, setup{Config: hourbell.Config{Definitions: many(n)}})
					for range 20 {
						h.clock.Advance(15 * time.Minute)
						h.tick()
					}
					require.NoError(b, db.Exec("ANALYZE").Error)
					for b.Loop() {
						h.read("/api/schedules")
					}
				})
			}
		})
	}
}
