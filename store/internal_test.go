package store

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/leaktest"
)

// TestMain fails the package if a test leaves a goroutine running.
func TestMain(m *testing.M) { leaktest.Main(m) }

var update = flag.Bool("update", false, "write the expanded statements to testdata")

// expandedFiles returns the expanded statements by the names of their files in
// testdata.
func expandedFiles(t *testing.T) map[string]string {
	t.Helper()
	both := map[string]*statement{
		"advance":         advance,
		"release":         release,
		"record_failures": recordFailures,
	}
	for sort := range orders {
		query := hourbell.ScheduleQuery{
			IDs: []string{"a"}, State: hourbell.StateOverdue, Search: "text", Sort: sort, After: encodeCursor("1", "a"), Limit: 50,
		}
		count, list, err := listStatements(query)
		require.NoError(t, err)
		both["list_count"], both["list_by_"+sort] = count, list.statement
	}
	files := map[string]string{}
	for name, st := range both {
		files[name+".postgres.sql"], files[name+".sqlite.sql"] = withNames(st.postgres), st.sqlite.text+"\n"
	}
	for name, st := range map[string]*statement{
		"claim_by_slot":          claimBySlot,
		"claim_by_last_fire":     claimByLastFire,
		"fire_mixed":             fireMixed,
		"fire_mixed_find_next":   fireMixedFind,
		"fire_uniform":           fireUniform,
		"fire_uniform_find_next": fireUniformFind,
	} {
		files[name+".postgres.sql"] = withNames(st.postgres)
	}
	for name, st := range map[string]*statement{
		"select_due_by_slot":      selectDueBySlot,
		"select_due_by_last_fire": selectDueByLastFire,
		"claim_selected":          claimSelected,
	} {
		files[name+".sqlite.sql"] = st.sqlite.text + "\n"
	}
	return files
}

// withNames returns the text of a Postgres statement below the names of its
// numbered values.
func withNames(f form) string {
	var values strings.Builder
	for i, name := range f.names {
		fmt.Fprintf(&values, "-- $%d = %s\n", i+1, name)
	}
	return values.String() + "\n" + f.text + "\n"
}

// The files in testdata show the statements as the databases get them.
func TestExpandedStatementsMatchTestdata(t *testing.T) {
	files := expandedFiles(t)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		for name, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join("testdata", name), []byte(text), 0o644))
		}
	}
	for name, text := range files {
		stored, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err, "run: go test ./store -update")
		require.Equal(t, string(stored), text, "%s: if the change is intended, run: go test ./store -update", name)
	}
	stored, err := filepath.Glob(filepath.Join("testdata", "*.sql"))
	require.NoError(t, err)
	for _, path := range stored {
		require.Contains(t, files, filepath.Base(path), "delete %s: it belongs to no statement", path)
	}
}

// pgx returns an error without a type for a transaction on a closed connection.
func TestClosedConnectionIsUnavailable(t *testing.T) {
	err := fmt.Errorf("commit: %w", errors.New("conn closed"))
	require.ErrorIs(t, new(database).classify(err), hourbell.ErrUnavailable)
}

// A driver with an old SQLite gets an error that says what to upgrade.
func TestSQLiteVersionIsChecked(t *testing.T) {
	for _, version := range []string{"3.42.0", "3.50.4", "4.0"} {
		require.NoError(t, checkSQLiteVersion(version))
	}
	for _, version := range []string{"3.41.2", "2.8.17"} {
		require.ErrorContains(t, checkSQLiteVersion(version), "has SQLite "+version+", but hourbell needs 3.42 or later")
	}
	require.ErrorContains(t, checkSQLiteVersion("new"), "is not a version")
}

// Each common table expression has a comment that states its purpose.
func TestEveryCTEHasComment(t *testing.T) {
	for name, text := range expandedFiles(t) {
		require.Empty(t, uncommentedCTEs(text), name)
	}
}

// cteStart matches the start of a common table expression.
var cteStart = regexp.MustCompile(`(\w+)(?: ?\([^()]*\))? AS (?:NOT )?(?:MATERIALIZED )?\(`)

// uncommentedCTEs returns the names of the common table expressions that do not
// start a line directly below a comment.
func uncommentedCTEs(text string) (ctes []string) {
	previous := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		for _, match := range cteStart.FindAllStringSubmatchIndex(line, -1) {
			if match[0] > 0 || !strings.HasPrefix(previous, "-- ") {
				ctes = append(ctes, line[match[2]:match[3]])
			}
		}
		previous = line
	}
	return ctes
}

func TestUncommentedCTEs(t *testing.T) {
	require.Empty(t, uncommentedCTEs("WITH\n-- the time\nclock AS MATERIALIZED (SELECT 1),\n-- due\ndue(id) AS (SELECT CAST(x AS text))\nSELECT 1"))
	require.Equal(t, []string{"clock", "due", "c"},
		uncommentedCTEs("-- below\nWITH clock AS (SELECT 1), due AS (\nSELECT 1),\n\nc (a, b) AS MATERIALIZED (SELECT 2)"))
}
