//go:build unix

package contract_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// zoneFolder returns a folder with a zone file for town.
func zoneFolder(t testing.TB, file []byte) string {
	t.Helper()
	folder := t.TempDir()
	path := filepath.Join(folder, filepath.FromSlash(town))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, file, 0o600))
	return folder
}

// D4, T4: processes with other zone files, one after another. A killed process
// leaves a next run that its successor must not fire.
func TestNewZoneFileFiresOncePerDay(t *testing.T) {
	type test struct {
		file  []byte
		clock []time.Time
		fires []string
		skips []string
	}
	runCases(t, map[string]test{
		"slot is later": {
			laterFile,
			[]time.Time{june(2, 7, 30), june(2, 8, 0), june(2, 10, 0), june(2, 12, 0)},
			[]string{"2026-06-01T08:00:00Z", "2026-06-02T10:00:00Z"},
			nil,
		},
		"slot is earlier": {
			earlierFile,
			[]time.Time{june(2, 6, 30), june(2, 7, 0), june(2, 8, 0), june(2, 12, 0)},
			[]string{"2026-06-01T08:00:00Z", "2026-06-02T07:00:00Z"},
			nil,
		},
		"slot is earlier and was due": {
			earlierFile,
			[]time.Time{june(2, 7, 30), june(2, 8, 0), june(2, 12, 0)},
			[]string{"2026-06-01T08:00:00Z"},
			[]string{"RULES_CHANGED 07:00:00-07:00:00 1"},
		},
	}, func(t *testing.T, db *dbtest.DB, c test) {
		first := childConfig{ZoneFiles: zoneFolder(t, unchangedFile), Clock: []time.Time{june(1, 7, 0), june(1, 8, 0), june(1, 9, 0)}}
		p := startChild(t, db, first)
		await(t, "the first process makes its passes", func() bool { return p.passCount() >= len(first.Clock) })
		require.NoError(t, p.Process.Kill())
		p.awaitKilled(t, db)

		second := childConfig{ZoneFiles: zoneFolder(t, c.file), Clock: c.clock}
		startChild(t, db, second).finish(t, second)
		s := newReplica(t, db.DB, newConfig(newClock(june(2, 12, 0)), hourly("b")))
		require.Equal(t, c.fires, firedSlotTexts(t, s, "a"))
		require.Equal(t, c.skips, skipTexts(t, s, "a"))
	})
}

// D7, D8: processes with different zone files at the same time. Only the last
// one to start fires.
func TestLastZoneFileDecidesInFleet(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		old := childConfig{ZoneFiles: zoneFolder(t, unchangedFile), Clock: []time.Time{june(2, 6, 0)}}
		before := startChild(t, db, old)
		before.awaitOutput(t, "pass 1")
		// Both processes have the same clock, which stays at the last value:
		// 7:00 and 8:00 are due, the latter by the old file.
		current := childConfig{ZoneFiles: zoneFolder(t, earlierFile), Clock: []time.Time{june(2, 6, 0).Add(time.Second), june(2, 7, 0), june(2, 8, 0)}}
		after := startChild(t, db, current)
		await(t, "the new process makes its passes", func() bool { return after.passCount() >= len(current.Clock) })

		late := childConfig{ZoneFiles: old.ZoneFiles, Clock: []time.Time{june(2, 8, 0)}}
		s := newReplica(t, db.DB, newConfig(newClock(june(2, 8, 0)), hourly("b")))
		require.Equal(t, []string{"2026-06-02T07:00:00Z"}, firedSlotTexts(t, s, "a"))
		require.Equal(t, june(3, 7, 0), readSchedule(t, s, "a").NextRunAt)
		before.finish(t, old)
		after.finish(t, current)
		startChild(t, db, late).finish(t, late)
		require.Equal(t, june(3, 8, 0), readSchedule(t, s, "a").NextRunAt)
		require.Len(t, firedSlotTexts(t, s, "a"), 1)
	})
}
