package contract_test

import (
	"context"
	"database/sql"
	"sync/atomic"

	"gorm.io/gorm"
)

// countingPool counts the statements of a pool and of its transactions. Begin,
// commit and rollback count too.
type countingPool struct {
	gorm.ConnPool
	statements *atomic.Int64
}

// countStatements returns a handle on the pool of db that counts its
// statements.
func countStatements(db *gorm.DB) (*gorm.DB, *atomic.Int64) {
	var statements atomic.Int64
	counted := db.Session(&gorm.Session{NewDB: true, Context: db.Statement.Context})
	counted.Statement.ConnPool = &countingPool{counted.Statement.ConnPool, &statements}
	return counted, &statements
}

func (p *countingPool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	p.statements.Add(1)
	return p.ConnPool.QueryContext(ctx, query, args...)
}

func (p *countingPool) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	p.statements.Add(1)
	return p.ConnPool.ExecContext(ctx, query, args...)
}

func (p *countingPool) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	p.statements.Add(1)
	tx, err := p.ConnPool.(gorm.TxBeginner).BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &countingTx{countingPool{tx, p.statements}}, nil
}

type countingTx struct{ countingPool }

func (tx *countingTx) Commit() error {
	tx.statements.Add(1)
	return tx.ConnPool.(gorm.TxCommitter).Commit()
}

func (tx *countingTx) Rollback() error {
	tx.statements.Add(1)
	return tx.ConnPool.(gorm.TxCommitter).Rollback()
}
