package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/hourbell/hourbell"
)

// poolError explains a deadline that passed while the call waited for a
// connection of a full pool. It returns other errors unchanged, and all errors
// if the pool has a type of the host's own.
//
// database/sql returns the context's error itself if the deadline passes before
// there is a connection. A driver wraps it.
func (s *database) poolError(err error) error {
	if s.inTx || !errors.Is(err, context.DeadlineExceeded) || errors.Unwrap(err) != nil {
		return err
	}
	pool, poolErr := s.db.DB()
	if poolErr != nil {
		return err
	}
	stats := pool.Stats()
	if stats.MaxOpenConnections == 0 || stats.InUse < stats.MaxOpenConnections {
		return err
	}
	return fmt.Errorf("all connections of the pool are in use: raise its limit, SetMaxOpenConns(%d), or find what holds them, "+
		"such as long transactions and rows that are not closed: %w", stats.MaxOpenConnections, err)
}

// selectUnknownTable reads a table that does not exist.
var selectUnknownTable = prepare(`SELECT 1 FROM tests_whether_errors_have_codes`)

// checkErrorCodes returns an error if the SQLite driver's errors have no result
// code that hourbell can read. Without the code, hourbell cannot recognize a
// locked file.
func (s *database) checkErrorCodes(ctx context.Context) error {
	err := s.query(ctx, selectUnknownTable, nil, func(*sql.Rows) error { return nil })
	switch {
	case sqliteCode(err) != 0:
		return nil
	case errors.Is(err, hourbell.ErrUnavailable), ctx.Err() != nil: // the statement was not tried
		return err
	}
	return fmt.Errorf("the SQLite driver %s is not supported, because its errors have no result code that hourbell can read: "+
		"use github.com/glebarez/sqlite, gorm.io/driver/sqlite, modernc.org/sqlite or github.com/ncruces/go-sqlite3", s.driverType())
}

// driverType returns the type of the driver, or of a pool of the host's own.
func (s *database) driverType() string {
	if pool, err := s.db.DB(); err == nil {
		return fmt.Sprintf("%T", pool.Driver())
	}
	return fmt.Sprintf("%T", s.pool())
}

// checkMemory returns an error if the connections of the pool do not share one
// SQLite database: see checkSharedMemory.
func (s *database) checkMemory(ctx context.Context) error {
	pool, err := s.db.DB()
	if err != nil {
		return nil //nolint:nilerr // a pool of the host's own type
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return s.retry(ctx, func() error {
		conn, err := pool.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // returns the connection to the pool
		return checkSharedMemory(ctx, pool, conn)
	})
}

const (
	countFiles  = `SELECT count(*) FROM pragma_database_list WHERE name = 'main' AND file <> ''`
	countTables = `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'hourbell_migrations'`
)

// memoryChecks is held during checkSharedMemory.
var memoryChecks sync.Mutex

// checkSharedMemory returns an error if the connections of a pool do not share
// one SQLite database. Without a file name, each connection has a database of
// its own, unless it shares a cache. checkSharedMemory compares the tables that
// conn and another connection see.
//
// If the pool is limited to one connection, checkSharedMemory closes conn
// first, and the caller must not use it afterward. If the pool keeps no idle
// connection, that destroys the database, which the comparison shows.
//
// Checks take turns: two of them that each hold a connection could otherwise
// wait for each other.
func checkSharedMemory(ctx context.Context, pool *sql.DB, conn *sql.Conn) error {
	memoryChecks.Lock()
	defer memoryChecks.Unlock()
	var files, before, after int
	if err := conn.QueryRowContext(ctx, countFiles).Scan(&files); err != nil || files > 0 {
		return err
	}
	if err := conn.QueryRowContext(ctx, countTables).Scan(&before); err != nil {
		return err
	}
	if pool.Stats().MaxOpenConnections == 1 {
		if err := conn.Close(); err != nil {
			return err
		}
	}
	other, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer other.Close() //nolint:errcheck // returns the connection to the pool
	if err := other.QueryRowContext(ctx, countTables).Scan(&after); err != nil || before == after {
		return err
	}
	return errors.New("the SQLite database is in memory, and each connection of the pool has one of its own: " +
		"use a file, share the database with file::memory:?cache=shared (ncruces: vfs=memdb), " +
		"or keep one connection with SetMaxOpenConns(1), SetMaxIdleConns(1) and no SetConnMaxLifetime or SetConnMaxIdleTime")
}
