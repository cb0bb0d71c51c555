package store

import (
	"fmt"
	"strings"

	"github.com/hourbell/hourbell"
)

// tablesWithIDs are the tables whose ids a sequence issues. A restore of the
// data alone and logical replication leave the sequence behind the ids. Inserts
// then fail until it is set.
var tablesWithIDs = []string{"hourbell_job_runs", "hourbell_events"}

// duplicateIDTable returns the table whose sequence has issued an id that the
// table already has, or "". Only the name of the constraint is the same in all
// languages of the server.
func duplicateIDTable(err error) string {
	if sqlState(err) != uniqueViolation {
		return ""
	}
	for _, table := range tablesWithIDs {
		if strings.Contains(err.Error(), table+"_pkey") {
			return table
		}
	}
	return ""
}

// sequenceError reports that the sequence of a table is behind its ids. Every
// insert fails until an operator sets the sequence. So the error matches
// [hourbell.ErrUnavailable].
type sequenceError struct {
	table, repair string
	err           error
}

func newSequenceError(table string, o options, err error) error {
	return &sequenceError{table, o.qualify(repairSequence(table)), err}
}

// repairSequence returns the statement that sets the sequence of a table.
func repairSequence(table string) string {
	return fmt.Sprintf("SELECT setval(pg_get_serial_sequence('%s', 'id'), max(id)) FROM %s", table, table)
}

func (e *sequenceError) Error() string {
	return fmt.Sprintf("the sequence of the ids of %s is behind its rows, as after a restore of the data alone, so that inserts fail: "+
		"run, as the owner of the table: %s; (%v)", e.table, e.repair, e.err)
}

// Is makes the error match [hourbell.ErrUnavailable].
func (e *sequenceError) Is(target error) bool { return target == hourbell.ErrUnavailable }

func (e *sequenceError) Unwrap() error { return e.err }
