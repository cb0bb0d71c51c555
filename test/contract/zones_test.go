package contract_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/zoneinfo"
)

// town is a time zone whose rules differ between the zone files of a test.
const town = "Test/Town"

// zoneFile returns a zone file in which the zone is some hours ahead of UTC
// until a time, and other hours from then on.
func zoneFile(hoursBefore int, change time.Time, hoursAfter int) []byte {
	header := func(transitions int) []byte {
		file := append([]byte("TZif2"), make([]byte, 15)...)
		for _, count := range []int{0, 0, 0, transitions, 2, 4} { // two offsets with the name "TST"
			file = binary.BigEndian.AppendUint32(file, uint32(count))
		}
		return file
	}
	offsets := func(file []byte) []byte {
		for _, hours := range []int{hoursBefore, hoursAfter} {
			file = binary.BigEndian.AppendUint32(file, uint32(hours*3600))
			file = append(file, 0, 0)
		}
		return append(file, "TST\x00"...)
	}
	file := offsets(header(0)) // the part for readers of 32-bit times
	file = append(file, header(1)...)
	file = binary.BigEndian.AppendUint64(file, uint64(change.Unix()))
	file = append(file, 1) // the second offset follows
	return fmt.Appendf(offsets(file), "\n<TST>%d\n", -hoursAfter)
}

// useZoneFile makes this process read a zone file for town from now on.
func useZoneFile(t testing.TB, file []byte) {
	t.Helper()
	location, err := time.LoadLocationFromTZData(town, file)
	require.NoError(t, err)
	original := zoneinfo.Load
	if zoneLoader == nil {
		zoneLoader = original
		t.Cleanup(func() { zoneinfo.Load, zoneLoader = original, nil })
	}
	zoneinfo.Load = func(name string) (*time.Location, error) {
		if name == town {
			return location, nil
		}
		return zoneLoader(name)
	}
}

// zoneLoader is the loader that useZoneFile replaces; nil if it does not.
var zoneLoader func(string) (*time.Location, error)

// daily returns a definition that is due at nine in the morning in town.
func daily(id string) hourbell.Definition {
	d := hourly(id)
	d.Cron, d.TimeZone = "0 9 * * *", town
	return d
}

// The zone files of the tests below. The town stays an hour ahead of UTC in the
// first one. In the second one it moves its clocks on June 2: nine in the
// morning is at 8:00 UTC before, and at 7:00 or 10:00 UTC from then on.
var (
	unchangedFile = zoneFile(1, noon.AddDate(0, 0, 1).Add(-12*time.Hour), 1)
	earlierFile   = zoneFile(1, noon.AddDate(0, 0, 1).Add(-12*time.Hour), 2)
	laterFile     = zoneFile(1, noon.AddDate(0, 0, 1).Add(-12*time.Hour), -1)
)

// june returns a time of day on a day of June 2026, UTC.
func june(day, hour, minute int) time.Time {
	return time.Date(2026, 6, day, hour, minute, 0, 0, time.UTC)
}

// D4, T4: the first sync with other zone rules moves the next run to a slot of
// the new rules.
func TestChangedZoneRulesMoveNextRun(t *testing.T) {
	type test struct {
		file     []byte
		syncedAt time.Time
		nextRun  time.Time
		skips    []string
	}
	runCases(t, map[string]test{
		"slot is later":                           {laterFile, june(2, 6, 0), june(2, 10, 0), nil},
		"slot is later, old slot was due":         {laterFile, june(2, 8, 30), june(2, 10, 0), nil},
		"slot is earlier":                         {earlierFile, june(2, 6, 0), june(2, 7, 0), nil},
		"slot is earlier and was due":             {earlierFile, june(2, 7, 30), june(3, 7, 0), []string{"RULES_CHANGED 07:00:00-07:00:00 1"}},
		"slot is earlier, both slots were due":    {earlierFile, june(2, 9, 0), june(3, 7, 0), []string{"RULES_CHANGED 07:00:00-07:00:00 1"}},
		"slots of three days were due":            {earlierFile, june(4, 7, 30), june(5, 7, 0), []string{"RULES_CHANGED 07:00:00-07:00:00 3"}},
		"rules are the same in another zone file": {zoneFile(1, june(3, 0, 0), 1), june(2, 7, 30), june(2, 8, 0), nil},
	}, func(t *testing.T, db *dbtest.DB, c test) {
		now := newClock(june(1, 7, 0))
		useZoneFile(t, unchangedFile)
		s := newSyncedReplica(t, db.DB, newConfig(now, daily("a")))
		now.Set(june(1, 8, 0))
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, june(2, 8, 0), readSchedule(t, s, "a").NextRunAt)

		now.Set(c.syncedAt)
		useZoneFile(t, c.file)
		s = newReplica(t, db.DB, newConfig(now, daily("a")))
		plan, err := s.Plan(t.Context())
		require.NoError(t, err)
		require.NoError(t, s.Sync(t.Context()))
		require.Equal(t, c.nextRun, readSchedule(t, s, "a").NextRunAt)
		require.Equal(t, c.skips, skipTexts(t, s, "a"))
		if c.nextRun.Equal(june(2, 8, 0)) {
			require.Empty(t, plan)
			return
		}
		require.Equal(t, []hourbell.PlannedChange{{
			ScheduleID: "a", Kind: hourbell.EventChanged, Detail: "the rules of time zone Test/Town have changed",
			OldNextRunAt: june(2, 8, 0), NewNextRunAt: c.nextRun,
		}}, plan)

		// From now on, the schedule fires at its slots only.
		now.Set(c.nextRun.Add(-time.Second))
		require.Zero(t, tick(t, s).Fired)
		now.Set(c.nextRun)
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, c.nextRun.AddDate(0, 0, 1), readSchedule(t, s, "a").NextRunAt)
	})
}

// D7, D8: of two replicas with different zone files, only the one that owns the
// definitions fires. The page of the other one shows the stored next run.
func TestReplicasWithOtherZoneRulesDoNotFire(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(june(2, 6, 0))
		useZoneFile(t, unchangedFile)
		old := newReplica(t, db.DB, newConfig(now, daily("a")))
		stopOld := startLoop(t, old)
		await(t, "the first replica syncs", func() bool { return isSynced(t, old) })

		now.Advance(time.Second)
		useZoneFile(t, earlierFile)
		current := newReplica(t, db.DB, newConfig(now, daily("a")))
		stopCurrent := startLoop(t, current)
		await(t, "the second replica syncs", func() bool { return isSynced(t, current) })
		require.Equal(t, june(2, 7, 0), readSchedule(t, old, "a").NextRunAt)
		require.False(t, readSchedule(t, old, "a").DeclaredHere)

		now.Set(june(2, 7, 0))
		require.Zero(t, tick(t, old).Fired)
		tick(t, current) // or the loop has fired it
		for _, s := range []*hourbell.Scheduler{old, current} {
			upcoming, err := s.Upcoming(t.Context(), "a", 1)
			require.NoError(t, err)
			require.Equal(t, []time.Time{june(3, 7, 0)}, upcoming)
		}

		// A replica that restarts with the old file takes over, and the other
		// one fires nothing more.
		require.NoError(t, stopOld())
		now.Set(june(2, 7, 30))
		useZoneFile(t, unchangedFile)
		restarted := newReplica(t, db.DB, newConfig(now, daily("a")))
		startLoop(t, restarted)
		await(t, "the restarted replica syncs", func() bool { return isSynced(t, restarted) })
		require.Equal(t, june(2, 8, 0), readSchedule(t, restarted, "a").NextRunAt)
		now.Set(june(2, 8, 0))
		require.Zero(t, tick(t, current).Fired)
		tick(t, restarted)
		require.NoError(t, stopCurrent())
		require.Equal(t, []string{"2026-06-02T07:00:00Z", "2026-06-02T08:00:00Z"}, firedSlotTexts(t, restarted, "a"))
	})
}

// isSynced reports whether the first sync of a replica's Run has succeeded.
func isSynced(t testing.TB, s *hourbell.Scheduler) bool {
	t.Helper()
	health, err := s.Health(t.Context())
	require.NoError(t, err)
	return health.Synced
}

// M1, M4: a process with other zone rules cannot know the slots of a row. If it
// enables the schedule, no slot is lost: the claim of another process corrects
// the next run.
func TestEnableWithOtherZoneRulesLosesNoSlot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		now := newClock(june(2, 6, 0))
		d := daily("a")
		d.EnabledByDefault = false
		useZoneFile(t, earlierFile)
		owner := newSyncedReplica(t, db.DB, newConfig(now, d))
		useZoneFile(t, laterFile)
		other := newReplica(t, db.DB, newConfig(now, d))
		require.NoError(t, other.Enable(t.Context(), "a", ann))

		require.Zero(t, tick(t, other).Fired)
		now.Set(june(2, 7, 0))
		require.Zero(t, tick(t, owner).Fired)
		require.Equal(t, []string{"NOT_A_SLOT 07:00:00-07:00:00 1"}, skipTexts(t, owner, "a"))
		now.Set(june(3, 7, 0))
		require.Equal(t, 1, tick(t, owner).Fired)
	})
}
