package hourbell_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// countedPool is a pool that counts the statements that go through it and its transactions.
type countedPool struct {
	gorm.ConnPool
	statements *atomic.Int64
}

// counting returns a handle on the same pool that counts.
func counting(db *gorm.DB) (*gorm.DB, *atomic.Int64) {
	var statements atomic.Int64
	counted := db.Session(&gorm.Session{NewDB: true, Context: db.Statement.Context})
	counted.Statement.ConnPool = &countedPool{counted.Statement.ConnPool, &statements}
	return counted, &statements
}

func (c *countedPool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	c.statements.Add(1)
	return c.ConnPool.QueryContext(ctx, query, args...)
}

func (c *countedPool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	c.statements.Add(1)
	return c.ConnPool.ExecContext(ctx, query, args...)
}

func (c *countedPool) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	c.statements.Add(1)
	tx, err := c.ConnPool.(gorm.TxBeginner).BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &countedTx{countedPool{tx, c.statements}}, nil
}

type countedTx struct{ countedPool }

func (c *countedTx) Commit() error {
	c.statements.Add(1)
	return c.ConnPool.(gorm.TxCommitter).Commit()
}

func (c *countedTx) Rollback() error {
	c.statements.Add(1)
	return c.ConnPool.(gorm.TxCommitter).Rollback()
}

// manyHourly are n enabled schedules, all due at every full hour.
func manyHourly(n int) []hourbell.Definition {
	definitions := make([]hourbell.Definition, n)
	for i := range definitions {
		definitions[i] = hourly(fmt.Sprintf("s%06d", i))
	}
	return definitions
}

// O4, and the design's promise that batches are not loops: a tick sends as many statements for 1,000 due schedules as
// for one, and a poll that finds nothing as many among 1,000 as among one.
func TestStatementsOfATickDoNotGrowWithTheSchedules(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		type counts struct{ sync, due, skip, idle int64 }
		measure := func(n int) (c counts) {
			now := newClock(noon.Add(-time.Minute))
			handle, statements := counting(db.DB)
			s := replica(t, handle, hourbell.Config{Definitions: manyHourly(n), BatchSize: 2000, Now: now.Now, Namespace: fmt.Sprintf("n%d", n)})
			count := func(do func()) int64 {
				before := statements.Load()
				do()
				return statements.Load() - before
			}
			c.sync = count(func() { require.NoError(t, s.Sync(t.Context())) })
			now.Set(noon)
			c.due = count(func() { require.Equal(t, n, tick(t, s).Fired) })
			c.idle = count(func() { require.Zero(t, tick(t, s).Claimed) })
			now.Advance(90 * time.Minute)
			c.skip = count(func() { require.Equal(t, n, tick(t, s).Skipped) })
			return c
		}
		one, thousand := measure(1), measure(1000)
		if db.Dialect == "postgres" {
			one.skip++ // what is late is tried by two lanes, half of it each
		}
		require.Equal(t, one, thousand)
		t.Logf("statements, with begin and commit: %+v", thousand)
	})
}
