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
	"reflect"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// maxTries is how often a statement or transaction is tried if concurrent ones
// make it fail.
const maxTries = 12

// retry calls fn, and calls it again after a serialization failure or deadlock,
// or if SQLite's file is locked. It classifies the last error. In a transaction
// it does not retry: only the code that began the transaction can.
func (s *database) retry(ctx context.Context, fn func() error) error {
	err := fn()
	for i := 1; err != nil && !s.inTx && isTransient(err) && !errors.As(err, new(partialResult)) && i < maxTries && ctx.Err() == nil; i++ {
		sleep(ctx, time.Duration(i*i)*time.Millisecond)
		next := fn()
		if next != nil && ctx.Err() != nil && s.dialect == sqlite {
			break // the wait for the file lock used up the time: keep the earlier error
		}
		err = next
	}
	if sqliteCode(err) == sqliteInterrupt && ctx.Err() != nil { // some drivers return ctx.Err() instead
		err = fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return s.classify(err)
}

// partialResult is an error after rows were returned. A retry would return them
// again, so there is none. For example, without a write-ahead log, a reader can
// prevent the commit of a SQLite statement that has returned its rows.
type partialResult struct{ error }

func (p partialResult) Unwrap() error { return p.error }

// sleep waits for a random time between 0.5 d and 1.5 d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// The SQLSTATEs and SQLite result codes that hourbell distinguishes.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
	undefinedTable       = "42P01"
	undefinedColumn      = "42703"

	insufficientPrivilege = "42501"

	uniqueViolation = "23505"

	sqliteError     = 1
	sqliteBusy      = 5
	sqliteLocked    = 6
	sqliteReadOnly  = 8
	sqliteInterrupt = 9
	sqliteIOErr     = 10
	sqliteCorrupt   = 11
	sqliteFull      = 13
	sqliteCantOpen  = 14
	sqliteNotADB    = 26
)

// sqlState returns the SQLSTATE of a Postgres error, or "".
func sqlState(err error) string {
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) {
		return coded.SQLState()
	}
	return ""
}

// sqliteCode returns the primary result code of a SQLite error, or 0. It reads
// errors whose type belongs to a package named sqlite or sqlite3.
func sqliteCode(err error) int {
	if err == nil {
		return 0
	}
	if code := resultCode(err); code != 0 {
		return code
	}
	switch err := err.(type) { //nolint:errorlint // the function itself unwraps
	case interface{ Unwrap() error }:
		return sqliteCode(err.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range err.Unwrap() {
			if code := sqliteCode(inner); code != 0 {
				return code
			}
		}
	}
	return 0
}

// resultCode returns the primary result code of an error itself, or 0. The
// drivers have no type in common. In modernc.org/sqlite and glebarez/go-sqlite,
// the error has a method Code. In mattn/go-sqlite3, it has a field Code. In
// ncruces/go-sqlite3, it has a method Code, or is the code.
func resultCode(err error) int {
	value := reflect.ValueOf(err)
	pkg, _, _ := strings.Cut(strings.TrimPrefix(value.Type().String(), "*"), ".")
	if pkg != "sqlite" && pkg != "sqlite3" || value.Kind() == reflect.Pointer && value.IsNil() {
		return 0
	}
	if method := value.MethodByName("Code"); method.IsValid() && method.Type().NumIn() == 0 && method.Type().NumOut() == 1 {
		value = method.Call(nil)[0]
	} else if value = reflect.Indirect(value); value.Kind() == reflect.Struct {
		value = value.FieldByName("Code")
	}
	switch {
	case value.CanInt():
		return int(value.Int() & 0xff)
	case value.CanUint():
		return int(value.Uint() & 0xff)
	}
	return 0
}

// isTransient reports whether a statement failed only because of concurrent
// ones, so that it may succeed if it is tried again.
func isTransient(err error) bool {
	switch sqlState(err) {
	case serializationFailure, deadlockDetected:
		return true
	}
	code := sqliteCode(err)
	return code == sqliteBusy || code == sqliteLocked
}

// classify wraps an error with the sentinel error of its kind: ErrNotMigrated,
// ErrBusy or ErrUnavailable. To a missing privilege, it adds where the grants
// are documented. It returns other errors unchanged.
func (s *database) classify(err error) error {
	table := duplicateIDTable(err)
	switch {
	case err == nil, errors.Is(err, hourbell.ErrNotMigrated), errors.Is(err, hourbell.ErrUnavailable), errors.Is(err, hourbell.ErrBusy):
		return err
	case errors.Is(err, context.Canceled): // the caller ended the call
		return err
	case sqlState(err) == insufficientPrivilege:
		return fmt.Errorf("the database role lacks a privilege that hourbell needs, see the grants in docs/operations.md: %w", err)
	case isMissingTable(err):
		return fmt.Errorf("%w (%w)", hourbell.ErrNotMigrated, err)
	case sqlState(err) == lockNotAvailable, isTransient(err):
		return fmt.Errorf("%w (%w)", hourbell.ErrBusy, err)
	case table != "":
		return newSequenceError(table, s.options, err)
	case isUnavailable(err):
		return fmt.Errorf("%w: %w", hourbell.ErrUnavailable, err)
	}
	return err
}

func isMissingTable(err error) bool {
	return sqlState(err) == undefinedTable && strings.Contains(err.Error(), "hourbell_") ||
		sqliteCode(err) == sqliteError && strings.Contains(err.Error(), "no such table: hourbell_")
}

// isUnavailable reports whether the database cannot be reached, refuses or has
// ended the connection, or is stopped, full, read-only or damaged. It also
// reports a deadline that has passed.
func isUnavailable(err error) bool {
	for _, known := range []error{
		driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		context.DeadlineExceeded,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	// Errors of ncruces/go-sqlite3 have the methods of a net.Error, so the
	// result code comes first.
	switch sqliteCode(err) {
	case 0: // not an error of SQLite
	case sqliteReadOnly, sqliteIOErr, sqliteCorrupt, sqliteFull, sqliteCantOpen, sqliteNotADB:
		return true
	default:
		return false
	}
	// pgx reports SafeToRetry if it sent nothing, for example because it had
	// closed the connection.
	var unsent interface{ SafeToRetry() bool }
	if errors.As(err, &unsent) && unsent.SafeToRetry() {
		return true
	}
	var network net.Error
	if errors.As(err, &network) {
		return true
	}
	// Not all versions of database/sql and pgx export these errors. pgx returns
	// the second one inside a transaction whose connection it has closed, and
	// the third one for any failed connection.
	for _, text := range []string{"sql: database is closed", "conn closed", "failed to connect to `"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	switch state := sqlState(err); state {
	case "": // not an error of Postgres
	case "57014", // statement_timeout, or canceled by an operator
		"57P01", "57P02", "57P03", "57P04", "57P05", // shut down, crashed, starting up, database dropped, idle for too long
		"3D000",          // the database does not exist, for example during a restore
		"28000", "28P01", // the login is refused, for example while a password is changed
		"25P03", "25P04", // idle in a transaction for too long, transaction too long
		"25006", // read-only, such as a standby
		"72000": // snapshot too old
		return true
	default:
		switch state[:2] {
		case "08", "53", "58": // connection, resources, system
			return true
		}
	}
	return false
}
