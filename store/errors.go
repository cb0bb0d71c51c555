package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// tries is how often a statement or transaction is tried that was refused for reasons of concurrency alone.
const tries = 12

// retry runs fn again where another try may mend it, unless that is the host's to do, and says of what kind an error
// is that remains.
func (s *Store) retry(ctx context.Context, fn func() error) error {
	err := fn()
	for i := 1; err != nil && !s.inside && transient(err) && !errors.As(err, new(answered)) && i < tries && ctx.Err() == nil; i++ {
		pause(ctx, time.Duration(i*i)*time.Millisecond)
		again := fn()
		if again != nil && ctx.Err() != nil && s.dialect == sqlite {
			break // the time went on waiting for the file's lock
		}
		err = again
	}
	return classify(err)
}

// answered is a failure after rows had been answered, which another try would answer again: where SQLite keeps no
// write-ahead log, a reader can stand in the way of the commit of a statement that is done.
type answered struct{ error }

func (a answered) Unwrap() error { return a.error }

// pause waits for about as long as it is told to.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// The SQLSTATEs and SQLite codes that mean something here.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
	undefinedTable       = "42P01"
	uniqueViolation      = "23505"

	sqliteBusy     = 5
	sqliteLocked   = 6
	sqliteReadOnly = 8
	sqliteIOErr    = 10
	sqliteFull     = 13
	sqliteCantOpen = 14
)

// sqlState is the SQLSTATE of a Postgres error, or "".
func sqlState(err error) string {
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) {
		return coded.SQLState()
	}
	return ""
}

// sqliteCode is the primary result code of a SQLite error, or 0.
func sqliteCode(err error) int {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code() & 0xff
	}
	return 0
}

// transient says whether a transaction was refused for reasons of concurrency alone, and has left nothing behind.
func transient(err error) bool {
	switch sqlState(err) {
	case serializationFailure, deadlockDetected:
		return true
	}
	code := sqliteCode(err)
	return code == sqliteBusy || code == sqliteLocked
}

// classify adds to an error the sentinel of its kind.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, hourbell.ErrNotMigrated), errors.Is(err, hourbell.ErrUnavailable), errors.Is(err, hourbell.ErrBusy):
		return err
	case missingTable(err):
		return fmt.Errorf("%w (%w)", hourbell.ErrNotMigrated, err)
	case sqlState(err) == lockNotAvailable, transient(err):
		return fmt.Errorf("%w (%w)", hourbell.ErrBusy, err)
	case unavailable(err):
		return fmt.Errorf("%w: %w", hourbell.ErrUnavailable, err)
	}
	return err
}

func missingTable(err error) bool {
	return sqlState(err) == undefinedTable && strings.Contains(err.Error(), "hourbell_") ||
		sqliteCode(err) == 1 && strings.Contains(err.Error(), "no such table: hourbell_")
}

// unavailable says whether the database is away, ended the connection, was stopped, is full or read-only, or whether
// a deadline has passed.
func unavailable(err error) bool {
	var network net.Error
	for _, known := range []error{
		driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	// What pgx says where it has sent nothing, as on a connection that it has given up.
	var unsent interface{ SafeToRetry() bool }
	if errors.As(err, &unsent) && unsent.SafeToRetry() {
		return true
	}
	if errors.As(err, &network) || strings.Contains(err.Error(), "sql: database is closed") { // database/sql keeps that one to itself
		return true
	}
	switch state := sqlState(err); state {
	case "": // not of Postgres
	case "57014", // statement_timeout, or cancelled by an operator
		"57P01", "57P02", "57P03", "57P05", // shut down, crashed, starting up, idle for too long
		"25P03", "25P04", // idle in the transaction for too long, transaction for too long
		"25006", // read-only, as on a standby
		"72000": // snapshot too old
		return true
	default:
		switch state[:2] {
		case "08", "53", "58": // connection, resources, system
			return true
		}
	}
	switch sqliteCode(err) {
	case sqliteReadOnly, sqliteIOErr, sqliteFull, sqliteCantOpen:
		return true
	}
	return false
}
