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

// countingPool is a connection pool that counts queries.
type countingPool struct {
	*sql.DB
	queries atomic.Int64
}

func newCountingPool(db *dbtest.DB) *countingPool { return &countingPool{DB: db.SQL()} }

func (p *countingPool) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	p.queries.Add(1)
	return p.DB.QueryContext(ctx, text, args...)
}

func (p *countingPool) GetDBConn() (*sql.DB, error) { return p.DB, nil }

// handle returns a gorm handle on the pool.
func (p *countingPool) handle(t testing.TB, db *dbtest.DB) *gorm.DB {
	t.Helper()
	dialector := postgres.New(postgres.Config{Conn: p})
	if db.Dialect == "sqlite" {
		dialector = &sqlite.Dialector{Conn: p}
	}
	handle, err := gorm.Open(dialector, &gorm.Config{Logger: logger.Default.LogMode(logger.Silent)})
	require.NoError(t, err)
	return handle
}

// count returns the number of queries while fn runs.
func (p *countingPool) count(fn func()) int {
	p.queries.Store(0)
	fn()
	return int(p.queries.Load())
}

// BenchmarkListSchedules reads a page of 50 schedules with 20 outcomes each.
func BenchmarkListSchedules(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("schedules=%d", n), func(b *testing.B) {
			for _, database := range []func(testing.TB) *dbtest.DB{dbtest.SQLite, dbtest.Postgres} {
				db := database(b)
				b.Run(db.Dialect, func(b *testing.B) {
					h := newHost(b, db, setup{Config: hourbell.Config{Definitions: manyDefinitions(n)}})
					for range 20 {
						h.clock.Advance(15 * time.Minute)
						h.tick()
					}
					require.NoError(b, db.Exec("ANALYZE").Error)
					for b.Loop() {
						h.fetch("/api/schedules")
					}
				})
			}
		})
	}
}
