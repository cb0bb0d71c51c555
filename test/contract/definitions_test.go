package contract_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

// invalidDefinitions holds changes that make a definition invalid in one way.
// New must name the field and include message.
var invalidDefinitions = []struct {
	name           string
	change         func(*hourbell.Definition)
	field, message string
	sentinel       error // or nil
}{
	{"empty id", func(d *hourbell.Definition) { d.ID = "" }, "id", `""`, nil},
	{"id with a space", func(d *hourbell.Definition) { d.ID = "feed refresh" }, "id", `"feed refresh"`, nil},
	{"id that begins with a hyphen", func(d *hourbell.Definition) { d.ID = "-feed" }, "id", `"-feed"`, nil},
	{"id too long", func(d *hourbell.Definition) { d.ID = strings.Repeat("x", 101) }, "id", "1 to 100", nil},
	{"name with a line break", func(d *hourbell.Definition) { d.Name = "feed\nrefresh" }, "name", "U+000A", nil},
	{"description with NUL", func(d *hourbell.Definition) { d.Description = "\x00" }, "description", "not valid text", nil},
	{"empty cron", func(d *hourbell.Definition) { d.Cron = "" }, "cron", "is empty: for a schedule that only operators run, set Manual", nil},
	{"manual with cron", func(d *hourbell.Definition) { d.Manual = true }, "manual", "excludes Cron", nil},
	{"manual with time zone", func(d *hourbell.Definition) { d.Manual, d.Cron, d.TimeZone = true, "", "Europe/Berlin" }, "time zone", "a manual schedule has none", nil},
	{"minute out of range", func(d *hourbell.Definition) { d.Cron = "7,99 * * * *" }, "cron", "99", nil},
	{"missing cron field", func(d *hourbell.Definition) { d.Cron = "0 * * *" }, "cron", `"0 * * *"`, nil},
	{"cron that never comes due", func(d *hourbell.Definition) { d.Cron = "0 0 31 2 *" }, "cron", "never comes due: for a schedule that only operators run, set Manual", nil},
	{"unknown zone", func(d *hourbell.Definition) { d.TimeZone = "Europe/Atlantis" }, "time zone", "Europe/Atlantis", nil},
	{"local zone", func(d *hourbell.Definition) { d.TimeZone = "Local" }, "time zone", "Local", nil},
	{"missing target", func(d *hourbell.Definition) { d.Target = hourbell.Target{} }, "target", "missing", nil},
	{"empty job list", func(d *hourbell.Definition) { d.Target = hourbell.Jobs() }, "target", "no jobs", nil},
	{"duplicate job", func(d *hourbell.Definition) { d.Target = hourbell.Jobs("import", "import") }, "target", `"import"`, nil},
	{"unknown job", func(d *hourbell.Definition) { d.Target = hourbell.Jobs("import", "nap") }, "target", `"nap"`, hourbell.ErrUnknownTarget},
	{"empty group name", func(d *hourbell.Definition) { d.Target = hourbell.Group("") }, "target", "empty group", nil},
	{"unknown group", func(d *hourbell.Definition) { d.Target = hourbell.Group("none") }, "target", `"none"`, hourbell.ErrUnknownTarget},
	{"negative grace", func(d *hourbell.Definition) { d.Grace = -time.Second }, "grace", "-1s", nil},
	{"grace shorter than poll and claim", func(d *hourbell.Definition) { d.Grace = 70*time.Second - 1 }, "grace", "1m10s", nil},
}

// D1: New rejects an invalid definition with an error that names the definition
// and the field. New writes nothing.
func TestNewNamesInvalidDefinitionAndField(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		requireNoWrites(t, db, func() {
			for _, invalid := range invalidDefinitions {
				t.Run(invalid.name, func(t *testing.T) {
					d := hourly("feed-refresh")
					invalid.change(&d)
					s, err := hourbell.New(store.New(db.DB), hourbell.Config{Jobs: testJobs, Definitions: []hourbell.Definition{hourly("good"), d}})
					require.Nil(t, s)
					var definitionErr *hourbell.DefinitionError
					require.ErrorAs(t, err, &definitionErr)
					require.Equal(t, d.ID, definitionErr.ID)
					require.Equal(t, invalid.field, definitionErr.Field)
					require.ErrorContains(t, err, fmt.Sprintf("schedule %q: %s", d.ID, invalid.field))
					require.ErrorContains(t, err, invalid.message)
					require.NotContains(t, err.Error(), `"good"`)
					if invalid.sentinel != nil {
						require.ErrorIs(t, err, invalid.sentinel)
					}
				})
			}
		})
	})
}

// D1: New rejects an id that is declared twice.
func TestNewRejectsDuplicateID(t *testing.T) {
	db := dbtest.SQLite(t)
	_, err := hourbell.New(store.New(db.DB), hourbell.Config{Jobs: testJobs, Definitions: []hourbell.Definition{hourly("a"), hourly("b"), hourly("a")}})
	var definitionErr *hourbell.DefinitionError
	require.ErrorAs(t, err, &definitionErr)
	require.Equal(t, "a", definitionErr.ID)
	require.Equal(t, "id", definitionErr.Field)
	require.ErrorContains(t, err, "twice")
}

// D1: the target AllJobs is empty if no job is declared.
func TestNewRejectsAllJobsWithoutJobs(t *testing.T) {
	d := hourly("a")
	d.Target = hourbell.AllJobs()
	_, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{Definitions: []hourbell.Definition{d}})
	var definitionErr *hourbell.DefinitionError
	require.ErrorAs(t, err, &definitionErr)
	require.Equal(t, "target", definitionErr.Field)
	require.ErrorContains(t, err, "Config.Jobs")
}

// D1: one error names all invalid definitions, so one start shows all of them.
func TestNewNamesAllInvalidDefinitions(t *testing.T) {
	invalid := []hourbell.Definition{hourly("one"), hourly("two"), hourly("three")}
	invalid[0].Cron, invalid[0].TimeZone = "61 * * * *", "UTC"
	invalid[2].Cron, invalid[2].Target = "* * * * * * *", hourbell.Target{}
	_, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{Jobs: testJobs, Definitions: invalid})
	require.ErrorContains(t, err, `schedule "one": cron`)
	require.ErrorContains(t, err, `schedule "three": cron`)
	require.ErrorContains(t, err, `schedule "three": target`)
	require.NotContains(t, err.Error(), `"two"`)
}

// D1: New returns the same error at any time of day.
func TestNewRejectsDefinitionAtAnyTime(t *testing.T) {
	st := store.New(dbtest.SQLite(t).DB)
	newError := func(t *testing.T, cron string) string {
		d := hourly("feed-refresh")
		d.Cron = cron
		_, err := hourbell.New(st, hourbell.Config{Jobs: testJobs, Definitions: []hourbell.Definition{d}})
		require.Error(t, err, time.Now())
		return err.Error()
	}
	synctest.Test(t, func(t *testing.T) {
		for _, cron := range []string{"7,99 * * * *", "0 0 31 2 *", "* 24 * * *", "0 0 0 * *"} {
			first := newError(t, cron)
			for range 61 {
				time.Sleep(time.Minute) // in synctest's virtual time
				require.Equal(t, first, newError(t, cron))
			}
		}
	})
}

// D1: New accepts valid definitions, including values at their limits.
func TestNewAcceptsValidDefinitions(t *testing.T) {
	for name, change := range map[string]func(*hourbell.Definition){
		"shortest grace":           func(d *hourbell.Definition) { d.Grace = 70 * time.Second },
		"longest id":               func(d *hourbell.Definition) { d.ID = strings.Repeat("x", 100) },
		"all punctuation in an id": func(d *hourbell.Definition) { d.ID = "9a._-/:Z" },
		"seconds":                  func(d *hourbell.Definition) { d.Cron = "30 0 * * * *" },
		"macro":                    func(d *hourbell.Definition) { d.Cron = "@daily" },
		"rare date":                func(d *hourbell.Definition) { d.Cron = "0 0 29 2 *" },
		"zone":                     func(d *hourbell.Definition) { d.TimeZone = "America/Argentina/Ushuaia" },
		"all jobs":                 func(d *hourbell.Definition) { d.Target = hourbell.AllJobs() },
		"group":                    func(d *hourbell.Definition) { d.Target = hourbell.Group("feed") },
		"non-ASCII text":           func(d *hourbell.Definition) { d.Name, d.Description = "Zürich → 東京", "first\nsecond" },
	} {
		t.Run(name, func(t *testing.T) {
			d := hourly("feed-refresh")
			change(&d)
			require.NoError(t, d.Validate())
			_, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{Jobs: testJobs, Definitions: []hourbell.Definition{d}})
			require.NoError(t, err)
		})
	}
}

// D1: Validate, Next and Between return the same errors as New, without a
// database.
func TestDefinitionMethodsValidate(t *testing.T) {
	for _, invalid := range invalidDefinitions {
		if invalid.sentinel != nil || strings.HasPrefix(invalid.name, "grace") {
			continue // these checks need the rest of the Config
		}
		t.Run(invalid.name, func(t *testing.T) {
			d := hourly("feed-refresh")
			invalid.change(&d)
			var definitionErr *hourbell.DefinitionError
			require.ErrorAs(t, d.Validate(), &definitionErr)
			require.Equal(t, invalid.field, definitionErr.Field)
			if invalid.field != "cron" && invalid.field != "time zone" {
				return
			}
			_, nextErr := d.Next(noon)
			_, betweenErr := d.Between(noon, noon.Add(time.Hour))
			for _, err := range []error{nextErr, betweenErr} {
				require.ErrorAs(t, err, &definitionErr)
				require.Equal(t, [2]string{"feed-refresh", invalid.field}, [2]string{definitionErr.ID, definitionErr.Field})
			}
		})
	}
}

// Next returns the first slot after a time. Between includes its start and
// excludes its end.
func TestDefinitionComputesSlots(t *testing.T) {
	d := hourbell.Definition{ID: "standup", Cron: "30 9 * * *", TimeZone: "Europe/Berlin"}
	next, err := d.Next(noon)
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 6, 2, 7, 30, 0, 0, time.UTC), next)
	after, err := d.Next(next)
	require.NoError(t, err)
	require.Equal(t, next.AddDate(0, 0, 1), after)
	slots, err := d.Between(next, after)
	require.NoError(t, err)
	require.Equal(t, []time.Time{next}, slots)
}

// D1: New rejects an invalid job with an error that names the job.
func TestNewNamesInvalidJob(t *testing.T) {
	good := hourbell.Job{Name: "import"}
	for name, invalid := range map[string]struct {
		job      hourbell.Job
		messages []string
	}{
		"empty name":             {hourbell.Job{}, []string{`job ""`, "name is empty"}},
		"unprintable name":       {hourbell.Job{Name: "a\tb"}, []string{"U+0009"}},
		"name too long":          {hourbell.Job{Name: strings.Repeat("ä", 201)}, []string{"200 characters"}},
		"duplicate name":         {good, []string{`job "import"`, "twice"}},
		"unprintable group":      {hourbell.Job{Name: "nap", Group: "\x01"}, []string{`job "nap"`, "group", "U+0001"}},
		"args without JSON form": {hourbell.Job{Name: "nap", Args: make(chan int)}, []string{`job "nap"`, "args"}},
		"args with a NUL":        {hourbell.Job{Name: "nap", Args: "\x00"}, []string{`job "nap"`, "args", "NUL"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{Jobs: []hourbell.Job{good, invalid.job}})
			for _, message := range invalid.messages {
				require.ErrorContains(t, err, message)
			}
		})
	}
}

// D2: a schedule is disabled until an operator enables it.
func TestNewScheduleStaysDisabledUntilEnabled(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		d := hourly("a")
		d.EnabledByDefault = false
		s := newSyncedReplica(t, db.DB, newConfig(c, d))
		require.False(t, readSchedule(t, s, "a").Enabled)
		require.Zero(t, readSchedule(t, s, "a").NextRunAt)
		c.Advance(3 * time.Hour)
		require.Zero(t, tick(t, s).Claimed)

		require.NoError(t, s.Enable(t.Context(), "a", hourbell.ChangeOptions{Actor: "ann"}))
		c.Advance(time.Hour)
		require.Equal(t, 1, tick(t, s).Fired)
	})
}

// D2: EnabledByDefault applies only to the first sync of a schedule.
func TestEnabledByDefaultAppliesOnlyToFirstSync(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		on, off := hourly("on"), hourly("off")
		off.EnabledByDefault = false
		s := newSyncedReplica(t, db.DB, newConfig(c, on, off))
		require.True(t, readSchedule(t, s, "on").Enabled)
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "on").NextRunAt)

		on.EnabledByDefault, off.EnabledByDefault = false, true
		requireNoWrites(t, db, func() { newSyncedReplica(t, db.DB, newConfig(c, on, off)) })
		on.Name, off.Name = "renamed", "renamed"
		newSyncedReplica(t, db.DB, newConfig(c, on, off))
		require.True(t, readSchedule(t, s, "on").Enabled)
		require.False(t, readSchedule(t, s, "off").Enabled)
	})
}

// D3: the first sync stores all fields that code owns and leaves a DEFINED
// event.
func TestSyncStoresDefinitions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c,
			hourbell.Definition{
				ID: "a", Name: "Feeds", Description: "reads the feeds", Cron: "*/15 * * * *", TimeZone: "Europe/Berlin",
				Target: hourbell.Group("feed"), Grace: 5 * time.Minute,
			},
			hourbell.Definition{ID: "b", Cron: "@daily", Target: hourbell.Jobs("report", "import")},
			hourbell.Definition{ID: "c", Cron: "@daily", Target: hourbell.AllJobs()}))

		a := readSchedule(t, s, "a")
		require.Len(t, a.DefinitionHash, 32)
		require.Equal(t, hourbell.Schedule{
			Namespace: "default", ID: "a", Name: "Feeds", Description: "reads the feeds", Cron: "*/15 * * * *", TimeZone: "Europe/Berlin",
			TargetKind: "GROUP", Target: "feed", Grace: 5 * time.Minute, DefinitionHash: a.DefinitionHash, CreatedAt: noon, UpdatedAt: noon,
			ReadAt: noon, State: hourbell.StateDisabled, ETag: a.ETag, DeclaredHere: true, Jobs: testJobs[:2],
		}, a)
		b := readSchedule(t, s, "b")
		require.Equal(t, []any{"b", "UTC", "JOBS", `["report","import"]`, 2 * time.Minute}, []any{b.Name, b.TimeZone, b.TargetKind, b.Target, b.Grace})
		require.Equal(t, "ALL_JOBS", readSchedule(t, s, "c").TargetKind)
		for _, id := range []string{"a", "b", "c"} {
			require.Equal(t, []hourbell.EventKind{hourbell.EventDefined}, eventKinds(t, s, id))
		}
	})
}

// D3: unchanged definitions cause no write, even after many restarts of the
// host.
func TestSyncOfUnchangedDefinitionsWritesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		off := hourly("b")
		off.EnabledByDefault = false
		cfg := newConfig(c, hourly("a"), off, hourly("gone"))
		newSyncedReplica(t, db.DB, cfg)
		cfg.Definitions = cfg.Definitions[:2]
		s := newSyncedReplica(t, db.DB, cfg)
		c.Advance(time.Hour)
		tick(t, s)
		require.NoError(t, s.Enable(t.Context(), "b", hourbell.ChangeOptions{Actor: "ann", Note: "go"}))
		c.Advance(5 * time.Hour) // due slots are the loop's work, not Sync's

		requireNoWrites(t, db, func() {
			for range 3 {
				newSyncedReplica(t, db.DB, cfg)
			}
			require.NoError(t, s.Sync(t.Context()))
			cfg.Definitions = []hourbell.Definition{cfg.Definitions[1], cfg.Definitions[0]} // in another order
			newSyncedReplica(t, db.DB, cfg)
		})
	})
}

// D3: a changed definition keeps the fields that operators own.
func TestSyncKeepsOperatorState(t *testing.T) {
	renamed, recron, retarget := hourly("a"), hourly("a"), hourly("a")
	renamed.Name = "other"
	recron.Cron = "30 * * * *"
	retarget.Target = hourbell.AllJobs()
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("b")))
		require.NoError(t, s.Disable(t.Context(), "a", hourbell.ChangeOptions{Actor: "ann", Note: "on holiday"}))
		for _, d := range []hourbell.Definition{renamed, recron, retarget} {
			newSyncedReplica(t, db.DB, newConfig(c, d, hourly("b")))
			a := readSchedule(t, s, "a")
			require.False(t, a.Enabled)
			require.Equal(t, "on holiday", a.EnabledNote)
			require.Zero(t, a.NextRunAt)
		}
		require.NoError(t, s.Enable(t.Context(), "a", hourbell.ChangeOptions{Actor: "ann", Note: "back"}))
		newSyncedReplica(t, db.DB, newConfig(c, recron, hourly("b")))
		require.True(t, readSchedule(t, s, "a").Enabled)
		require.Equal(t, "back", readSchedule(t, s, "a").EnabledNote)
	})
}

// D3: a change of other fields than cron and zone leaves the loop's fields
// alone, including a lock that is held at that time.
func TestChangeOfOtherFieldsKeepsLoopState(t *testing.T) {
	runCases(t, map[string]func(*hourbell.Definition){
		"name":        func(d *hourbell.Definition) { d.Name = "other" },
		"description": func(d *hourbell.Definition) { d.Description = "other" },
		"target":      func(d *hourbell.Definition) { d.Target = hourbell.AllJobs() },
		"grace":       func(d *hourbell.Definition) { d.Grace = time.Hour },
	}, func(t *testing.T, db *dbtest.DB, change func(*hourbell.Definition)) {
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		c.Advance(time.Hour)
		cfg := newConfig(c, hourly("a"))
		cfg.Enqueuer = enqueuerFunc(func(context.Context, *gorm.DB, []hourbell.JobRun) error { return errEnqueuer })
		tick(t, newReplica(t, db.DB, cfg)) // records a failure and its backoff
		c.Advance(2 * time.Second)
		holder := newReplicaWithStore(t, &hookedStore{store.New(db.DB), hookOnce("after claim", func() error { return errLostResponse })}, newConfig(c, hourly("a")))
		_, err := holder.Tick(t.Context())
		require.ErrorIs(t, err, errLostResponse)
		before := readSchedule(t, holder, "a")
		require.NotEmpty(t, before.LockedBy)
		require.NotZero(t, before.UnfinishedSince)
		require.Equal(t, 1, before.ConsecutiveFailures)

		c.Advance(time.Second)
		d := hourly("a")
		change(&d)
		s := newSyncedReplica(t, db.DB, newConfig(c, d))
		after := readSchedule(t, s, "a")
		require.NotEqual(t, before.DefinitionHash, after.DefinitionHash)
		want := before
		want.Name, want.Description, want.Target, want.TargetKind = after.Name, after.Description, after.Target, after.TargetKind
		want.Grace, want.DefinitionHash = after.Grace, after.DefinitionHash
		want.ReadAt, want.ETag, want.Jobs = after.ReadAt, after.ETag, after.Jobs
		require.Equal(t, want, after)
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined, hourbell.EventEnqueueFailed, hourbell.EventChanged}, eventKinds(t, s, "a"))

		c.Advance(6 * time.Minute) // past LockTTL
		require.Equal(t, 1, tick(t, s).Fired, "the unfinished claim is kept too")
	})
}

// D4: a changed expression or zone settles the schedule. Its next slot is the
// first of the new definition after now.
func TestChangedCronOrZoneContinuesAfterNow(t *testing.T) {
	type change struct {
		change func(*hourbell.Definition)
		next   string
	}
	runCases(t, map[string]change{
		"expression": {func(d *hourbell.Definition) { d.Cron = "*/20 * * * *" }, "15:40"},
		"zone":       {func(d *hourbell.Definition) { d.TimeZone = "Asia/Kathmandu" }, "16:15"},
	}, func(t *testing.T, db *dbtest.DB, test change) {
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		c.Set(noon.Add(3*time.Hour + 30*time.Minute))
		d := hourly("a")
		test.change(&d)
		s := newSyncedReplica(t, db.DB, newConfig(c, d))

		a := readSchedule(t, s, "a")
		require.Equal(t, test.next, a.NextRunAt.Format("15:04"))
		require.Equal(t, c.Now(), a.SettledThrough, "the new slots count from now on")
		require.Equal(t, []string{"CHANGED 13:00:00-15:00:00 3"}, skipTexts(t, s, "a"))
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined, hourbell.EventSkipped, hourbell.EventChanged}, eventKinds(t, s, "a"))
		require.Zero(t, tick(t, s).Claimed)
		c.Set(a.NextRunAt)
		require.Equal(t, 1, tick(t, s).Fired)
		require.Equal(t, []time.Time{a.NextRunAt}, firedSlots(readRuns(t, s, "a")))
	})
}

// D4: a change while no slot is due skips nothing.
func TestChangedCronWithNothingDueSkipsNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		c.Set(noon.Add(59 * time.Minute))
		d := hourly("a")
		d.Cron = "*/20 * * * *"
		s := newSyncedReplica(t, db.DB, newConfig(c, d))
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "a").NextRunAt)
		require.Empty(t, skipTexts(t, s, "a"))
	})
}

// D4: a slot that has fired does not repeat if the new expression has it too.
// That holds after the clock was stepped back as well.
func TestChangedCronNeverRepeatsSlot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		c.Set(noon.Add(time.Hour))
		require.Equal(t, 1, tick(t, s).Fired)

		c.Set(noon.Add(50 * time.Minute))
		d := hourly("a")
		d.Cron = "*/30 * * * *"
		s = newSyncedReplica(t, db.DB, newConfig(c, d))
		require.Equal(t, noon.Add(90*time.Minute), readSchedule(t, s, "a").NextRunAt)
		for range 120 {
			c.Advance(time.Minute)
			tick(t, s)
		}
		require.Equal(t, []time.Time{noon.Add(150 * time.Minute), noon.Add(120 * time.Minute), noon.Add(90 * time.Minute), noon.Add(time.Hour)},
			firedSlots(readRuns(t, s, "a")))
	})
}

// D4: a disabled schedule takes the new expression and gets no next slot.
func TestChangedCronKeepsScheduleDisabled(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		d := hourly("a")
		d.EnabledByDefault = false
		newSyncedReplica(t, db.DB, newConfig(c, d))
		c.Advance(3 * time.Hour)
		d.Cron = "*/20 * * * *"
		s := newSyncedReplica(t, db.DB, newConfig(c, d))
		require.Equal(t, "*/20 * * * *", readSchedule(t, s, "a").Cron)
		require.Zero(t, readSchedule(t, s, "a").NextRunAt)
		require.Empty(t, skipTexts(t, s, "a"))
	})
}

// D5: a schedule missing from code is kept, settled, marked removed and not
// fired. It returns with its state.
func TestRemovedScheduleReturnsWithState(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("b")))
		require.NoError(t, s.Disable(t.Context(), "a", hourbell.ChangeOptions{}))
		require.NoError(t, s.Enable(t.Context(), "a", hourbell.ChangeOptions{Actor: "ann", Note: "needed"}))
		c.Set(noon.Add(time.Hour))
		require.Equal(t, 2, tick(t, s).Fired)

		c.Set(noon.Add(3*time.Hour + time.Minute))
		remover := newSyncedReplica(t, db.DB, newConfig(c, hourly("b")))
		a := readSchedule(t, remover, "a")
		require.Equal(t, c.Now(), a.RemovedAt)
		require.Zero(t, a.NextRunAt)
		require.Equal(t, noon.Add(3*time.Hour), a.SettledThrough)
		require.Equal(t, []string{"REMOVED 14:00:00-15:00:00 2"}, skipTexts(t, s, "a"))
		require.Equal(t, []hourbell.EventKind{hourbell.EventDefined, hourbell.EventDisabled, hourbell.EventEnabled, hourbell.EventSkipped, hourbell.EventRemoved}, eventKinds(t, s, "a"))
		requireNoWrites(t, db, func() { require.NoError(t, remover.Sync(t.Context())) })

		c.Set(noon.Add(5 * time.Hour))
		tick(t, remover)
		tick(t, s) // a replica of the old build still declares it
		require.Len(t, readRuns(t, s, "a"), 1)

		c.Advance(30 * time.Minute)
		redeclarer := newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("b")))
		returned := readSchedule(t, redeclarer, "a")
		require.Zero(t, returned.RemovedAt)
		require.True(t, returned.Enabled)
		require.Equal(t, "needed", returned.EnabledNote)
		require.Equal(t, noon.Add(time.Hour), returned.LastScheduledFor)
		require.Equal(t, noon, returned.CreatedAt)
		require.Equal(t, noon.Add(6*time.Hour), returned.NextRunAt, "M4: no past slot")
		require.Len(t, skipTexts(t, s, "a"), 1)
		c.Set(returned.NextRunAt)
		tick(t, redeclarer)
		require.Equal(t, []time.Time{noon.Add(6 * time.Hour), noon.Add(time.Hour)}, firedSlots(readRuns(t, redeclarer, "a")))
	})
}

// D5: a schedule that was disabled at its removal returns disabled, and one
// that was enabled returns enabled. Operators cannot enable it while it is
// removed.
func TestRemovedScheduleKeepsOperatorState(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		all := newConfig(c, hourly("a"), hourly("b"), hourly("c"), hourly("kept"))
		s := newSyncedReplica(t, db.DB, all)
		require.NoError(t, s.Disable(t.Context(), "a", hourbell.ChangeOptions{}))
		require.NoError(t, s.Disable(t.Context(), "b", hourbell.ChangeOptions{}))
		remover := newSyncedReplica(t, db.DB, newConfig(c, hourly("kept")))
		require.ErrorIs(t, remover.Enable(t.Context(), "b", hourbell.ChangeOptions{}), hourbell.ErrRemoved)
		require.Zero(t, readSchedule(t, remover, "b").NextRunAt)
		require.NotZero(t, readSchedule(t, remover, "b").RemovedAt)

		s = newSyncedReplica(t, db.DB, all)
		require.False(t, readSchedule(t, s, "a").Enabled)
		require.Zero(t, readSchedule(t, s, "a").NextRunAt)
		require.False(t, readSchedule(t, s, "b").Enabled)
		require.True(t, readSchedule(t, s, "c").Enabled)
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "c").NextRunAt)
	})
}

// D6: two namespaces in one database have the same ids, jobs, keys and workers.
// No operation in one touches the rows of the other.
func TestNamespacesAreIndependent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		ctx := t.Context()
		config := func(namespace string, definitions ...hourbell.Definition) hourbell.Config {
			cfg := newConfig(c, definitions...)
			cfg.Namespace = namespace
			return cfg
		}
		first := newSyncedReplica(t, db.DB, config("first", hourly("a"), hourly("b")))
		_, err := first.EnqueueJob(ctx, "import", hourbell.EnqueueOptions{IdempotencyKey: "k"})
		require.NoError(t, err)
		c.Advance(time.Hour)
		before := dumpRows(t, db, "first")

		second := newSyncedReplica(t, db.DB, config("second", hourly("a"), hourly("b")))
		by := hourbell.ChangeOptions{Actor: "ann"}
		require.NoError(t, second.Disable(ctx, "a", by))
		require.NoError(t, second.Enable(ctx, "a", by))
		require.NoError(t, second.Unlock(ctx, "a", by))
		runs, err := second.EnqueueJob(ctx, "import", hourbell.EnqueueOptions{IdempotencyKey: "k"})
		require.NoError(t, err)
		require.Equal(t, "second", runs[0].Namespace)
		_, err = second.RunNow(ctx, "b", hourbell.EnqueueOptions{})
		require.NoError(t, err)
		c.Advance(time.Hour)
		require.Equal(t, 2, tick(t, second).Fired)
		taken, err := second.TakeRuns(ctx, hourbell.TakeRequest{LeasedBy: "w", Limit: 100})
		require.NoError(t, err)
		require.Len(t, taken, 4)
		require.NoError(t, second.FinishRun(ctx, taken[0], nil))
		changed := hourly("a")
		changed.Cron = "* * * * *"
		second = newSyncedReplica(t, db.DB, config("second", changed))
		_ = newSyncedReplica(t, db.DB, config("second", hourly("c"))) // has no id in common with the stored schedules
		stopped, stop := context.WithCancel(ctx)
		stop()
		_ = second.Run(stopped)
		require.Equal(t, before, dumpRows(t, db, "first"))

		health, err := second.Health(ctx)
		require.NoError(t, err)
		require.Zero(t, health.Overdue, "the overdue slot belongs to the first namespace")
		page, err := second.Schedules(ctx, hourbell.ScheduleQuery{})
		require.NoError(t, err)
		require.Len(t, page.Schedules, 3)
		require.Equal(t, 2, tick(t, first).Claimed)
	})
}

// D6: a sync that has no id in common with the stored schedules refuses to
// remove them while another worker is active. The error names Namespace.
// Without another active worker the sync succeeds.
func TestSyncRefusesToRemoveAllBesideActiveWorker(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		ticked := make(chan struct{}, 100)
		cfg := newConfig(c, hourly("a"), hourly("b"))
		cfg.OnTick = func(hourbell.TickReport) { ticked <- struct{}{} }
		first := newReplica(t, db.DB, cfg)
		second := newReplica(t, db.DB, newConfig(c, hourly("x")))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- first.Run(ctx) }()
		<-ticked

		err := second.Sync(t.Context())
		require.ErrorContains(t, err, `Namespace "default"`)
		require.ErrorContains(t, err, "refusing to remove every schedule")
		require.Zero(t, readSchedule(t, second, "a").RemovedAt)
		_, err = second.Schedule(t.Context(), "x")
		require.ErrorIs(t, err, hourbell.ErrUnknownSchedule, "new schedules are not written either")
		require.NoError(t, newReplica(t, db.DB, newConfig(c, hourly("b"), hourly("x"))).Sync(t.Context()), "one common id is enough")
		require.NotZero(t, readSchedule(t, second, "a").RemovedAt)

		stop()
		require.NoError(t, <-ended)
		third := newReplica(t, db.DB, newConfig(c, hourly("z")))
		require.NoError(t, third.Sync(t.Context()))
		require.NotZero(t, readSchedule(t, second, "b").RemovedAt)
	})
}

// D6: a worker that missed three heartbeats is not active.
func TestSyncRemovesAllBesideDeadWorker(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		heartbeatAs(t, bindStore(t, db.DB, c.Now), "other")
		unrelated := newReplica(t, db.DB, newConfig(c, hourly("z")))
		c.Advance(30 * time.Second)
		require.ErrorContains(t, unrelated.Sync(t.Context()), "Namespace")
		c.Advance(time.Second)
		require.NoError(t, unrelated.Sync(t.Context()))
		require.NotZero(t, readSchedule(t, s, "a").RemovedAt)
	})
}

// D8: a replica fires only rows with its own definition hash. The runs have the
// jobs of the build that owns the definitions.
func TestReplicaFiresOnlyMatchingDefinitions(t *testing.T) {
	moreJobs := append([]hourbell.Job{{Name: "archive", Group: "feed"}}, testJobs...)
	grouped := hourly("a")
	grouped.Target = hourbell.Group("feed")
	wider := grouped
	wider.Target = hourbell.AllJobs()
	renamed := grouped
	renamed.Name = "other"
	jobsWithArgs := append([]hourbell.Job{}, testJobs...)
	jobsWithArgs[0].Args = map[string]int{"depth": 2}
	type newerBuild struct {
		definition hourbell.Definition
		jobs       []hourbell.Job
		runs       int
	}
	runCases(t, map[string]newerBuild{
		"other target":             {wider, testJobs, 3},
		"other name":               {renamed, testJobs, 2},
		"another job in the group": {grouped, moreJobs, 3},
		"other arguments":          {grouped, jobsWithArgs, 2},
	}, func(t *testing.T, db *dbtest.DB, newer newerBuild) {
		c := newClock(noon)
		older := newSyncedReplica(t, db.DB, newConfig(c, grouped))
		cfg := newConfig(c, newer.definition)
		cfg.Jobs = newer.jobs
		newest := newSyncedReplica(t, db.DB, cfg)
		c.Set(noon.Add(time.Hour))

		report := tick(t, older)
		require.Equal(t, []int{1, 0, 0, 0}, []int{report.Claimed, report.Fired, report.Skipped, report.Failed})
		require.Empty(t, readSchedule(t, older, "a").LockedBy, "it is released at once")
		require.Zero(t, tick(t, older).Claimed, "it is excluded from further claims")
		require.Equal(t, 1, tick(t, newest).Fired)
		require.Len(t, readRuns(t, newest, "a"), newer.runs)

		require.NoError(t, older.Sync(t.Context())) // as after a rollback
		c.Set(noon.Add(2 * time.Hour))
		require.Zero(t, tick(t, newest).Fired)
		require.Equal(t, 1, tick(t, older).Fired)
		require.Len(t, readRuns(t, newest, "a"), newer.runs+2)
	})
}

// D8: rows that a replica may not fire take no place in its batches.
func TestMismatchedRowsStayOutOfBatches(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		var ownDefinitions, newerDefinitions []hourbell.Definition
		for i := range 5 {
			d := hourly(fmt.Sprintf("mismatched%d", i))
			ownDefinitions = append(ownDefinitions, d)
			d.Name = "newer"
			newerDefinitions = append(newerDefinitions, d)
		}
		matching := hourly("matching")
		matching.Cron = "1 * * * *" // due last, so claimed last
		newSyncedReplica(t, db.DB, newConfig(c, append(newerDefinitions, matching)...))
		cfg := newConfig(c, append(ownDefinitions, matching)...)
		cfg.BatchSize = 1
		s := newReplica(t, db.DB, cfg)
		c.Set(noon.Add(61 * time.Minute))
		require.Equal(t, 1, tick(t, s).Fired)
		require.Len(t, readRuns(t, s, "matching"), 1)

		c.Set(noon.Add(121 * time.Minute))
		require.Equal(t, 1, tick(t, s).Claimed, "the only claim is of its own row")
		require.Len(t, readRuns(t, s, "matching"), 2)
	})
}

// D8: health names overdue rows that this process may not fire.
func TestHealthShowsMismatchedRows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		newer := hourly("a")
		newer.Name = "newer"
		older := newReplica(t, db.DB, newConfig(c, hourly("a"), hourly("b")))
		newest := newSyncedReplica(t, db.DB, newConfig(c, newer, hourly("b")))
		c.Set(noon.Add(time.Hour + 3*time.Minute))

		tick(t, older) // skips b, which is out of grace, and leaves a
		health, err := older.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, health.Mismatched)
		require.Equal(t, 1, health.Overdue)
		require.Equal(t, noon.Add(time.Hour), health.OldestDue)
		health, err = newest.Health(t.Context())
		require.NoError(t, err)
		require.Empty(t, health.Mismatched, "it matches in this process")
		require.Equal(t, 1, health.Overdue)

		tick(t, newest)
		health, err = older.Health(t.Context())
		require.NoError(t, err)
		require.Zero(t, health.Overdue)
		require.Empty(t, health.Mismatched)
	})
}

// Build times of two builds in a rolling deploy.
var (
	olderBuildTime = time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	newerBuildTime = olderBuildTime.Add(24 * time.Hour)
)

// buildConfig returns the Config of a build. Version and the name of its
// schedule "a" are name.
func buildConfig(c *clock, name string, builtAt time.Time) hourbell.Config {
	d := hourly("a")
	d.Name = name
	cfg := newConfig(c, d)
	cfg.BuildTime, cfg.Version = builtAt, name
	return cfg
}

// D7: the newest active build owns the definitions. If build times are unknown
// or equal, the last process to start owns them.
func TestNewestActiveBuildOwnsDefinitions(t *testing.T) {
	peer := func(id string, built time.Time) hourbell.Worker {
		return hourbell.Worker{ID: id, WorkerType: "schedule_daemon", BuildTime: built, DefinitionsHash: "of " + id}
	}
	type situation struct {
		buildTime    time.Time
		peers        []hourbell.Worker
		peersStopped bool
		silence      time.Duration // since the peers' last heartbeats
		owns         bool
	}
	var unknown time.Time
	runCases(t, map[string]situation{
		"no peer":                        {olderBuildTime, nil, false, 0, true},
		"newer peer active":              {olderBuildTime, []hourbell.Worker{peer("p", newerBuildTime)}, false, 0, false},
		"newer peer stopped":             {olderBuildTime, []hourbell.Worker{peer("p", newerBuildTime)}, true, 0, true},
		"newer peer almost dead":         {olderBuildTime, []hourbell.Worker{peer("p", newerBuildTime)}, false, 30 * time.Second, false},
		"newer peer dead":                {olderBuildTime, []hourbell.Worker{peer("p", newerBuildTime)}, false, 31 * time.Second, true},
		"older peer active":              {newerBuildTime, []hourbell.Worker{peer("p", olderBuildTime)}, false, 0, true},
		"peer of equal age":              {newerBuildTime, []hourbell.Worker{peer("p", newerBuildTime)}, false, 0, true},
		"own build time unknown":         {unknown, []hourbell.Worker{peer("p", newerBuildTime)}, false, 0, true},
		"build time of peer unknown":     {olderBuildTime, []hourbell.Worker{peer("p", unknown)}, false, 0, true},
		"build time of one peer unknown": {olderBuildTime, []hourbell.Worker{peer("p", newerBuildTime), peer("q", unknown)}, false, 0, true},
		"older and newer peer":           {olderBuildTime.Add(time.Hour), []hourbell.Worker{peer("p", olderBuildTime), peer("q", newerBuildTime)}, false, 0, false},
	}, func(t *testing.T, db *dbtest.DB, test situation) {
		c := newClock(noon)
		stored := newSyncedReplica(t, db.DB, buildConfig(c, "stored", test.buildTime))
		st := bindStore(t, db.DB, c.Now)
		for _, w := range test.peers {
			_, err := st.Heartbeat(t.Context(), w, 30*time.Second)
			require.NoError(t, err)
			if test.peersStopped {
				require.NoError(t, st.StopWorker(t.Context(), w.ID))
			}
		}
		c.Advance(test.silence)
		var log logBuffer
		cfg := buildConfig(c, "own", test.buildTime)
		cfg.Logger = log.logger()
		s := newReplica(t, db.DB, cfg)
		if test.owns {
			require.NoError(t, s.Sync(t.Context()))
			require.Equal(t, "own", readSchedule(t, stored, "a").Name)
			return
		}
		requireNoWrites(t, db, func() { require.NoError(t, s.Sync(t.Context())) })
		require.Contains(t, log.String(), "newer build is active")
	})
}

// D7: an older process that starts beside an active newer build leaves the
// definitions alone and fires no row that it does not match. It takes over once
// the newer build is gone, as after a rollback.
func TestOlderBuildTakesOverAfterNewerStops(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		var ticks *atomic.Int64 // of the replica that started last
		start := func(name string, builtAt time.Time) (*hourbell.Scheduler, func() error) {
			cfg := buildConfig(nil, name, builtAt)
			cfg.Now = nil
			cfg.Definitions[0].Cron = "* * * * * *"
			cfg.PollInterval = 100 * time.Millisecond
			count := new(atomic.Int64)
			cfg.OnTick = func(hourbell.TickReport) { count.Add(1) }
			ticks = count
			s := newReplica(t, db.DB, cfg)
			return s, startLoop(t, s)
		}
		firesAs := func(s *hourbell.Scheduler, name string) func() bool {
			return func() bool {
				stored, err := s.Schedule(t.Context(), "a")
				return err == nil && stored.Name == name && len(readRuns(t, s, "a")) > 0
			}
		}
		newer, stopNewer := start("newer", newerBuildTime)
		await(t, "the newer build fires", firesAs(newer, "newer"))
		older, _ := start("older", olderBuildTime)
		await(t, "the older build ticks", func() bool { return ticks.Load() > 2 })
		before := len(readRuns(t, newer, "a"))
		await(t, "the newer build fires again", func() bool { return len(readRuns(t, newer, "a")) > before })
		require.Equal(t, "newer", readSchedule(t, older, "a").Name)

		require.NoError(t, stopNewer())
		await(t, "the older build takes over", firesAs(older, "older"))
		before = len(readRuns(t, older, "a"))
		await(t, "the older build fires again", func() bool { return len(readRuns(t, older, "a")) > before })
	})
}

// D7: definitions of a build without an active worker are noticed when the row
// comes due. An active build then writes its own.
func TestActiveBuildReplacesUnknownDefinitions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		cfg := buildConfig(nil, "active", olderBuildTime)
		cfg.Now = nil
		cfg.Definitions[0].Cron = "* * * * * *"
		cfg.PollInterval = 100 * time.Millisecond
		s := newReplica(t, db.DB, cfg)
		startLoop(t, s)
		await(t, "a fire", func() bool { return len(readRuns(t, s, "a")) > 0 })
		cfg.Definitions = []hourbell.Definition{cfg.Definitions[0]}
		cfg.Definitions[0].Name, cfg.BuildTime = "gone", newerBuildTime
		newSyncedReplica(t, db.DB, cfg)
		await(t, "the active build writes its definition", func() bool { return readSchedule(t, s, "a").Name == "active" })
		before := len(readRuns(t, s, "a"))
		await(t, "the active build fires again", func() bool { return len(readRuns(t, s, "a")) > before })
	})
}

// D7: the worker's build is the one that the Config names.
func TestWorkerShowsConfiguredBuild(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		s := newReplica(t, db.DB, buildConfig(newClock(noon), "r4711", newerBuildTime))
		startLoop(t, s)
		await(t, "the worker appears", func() bool {
			workers, err := s.Workers(t.Context())
			require.NoError(t, err)
			return len(workers) == 1 && workers[0].Version == "r4711" && workers[0].BuildTime.Equal(newerBuildTime)
		})
	})
}

// D7: Plan returns what Sync would add, change and remove and how next slots
// would move. It writes nothing.
func TestPlanShowsChangesOfSync(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		same, moved, renamed, removed, added := hourly("same"), hourly("moved"), hourly("renamed"), hourly("removed"), hourly("added")
		newSyncedReplica(t, db.DB, newConfig(c, same, moved, renamed, removed))
		c.Advance(30 * time.Second)
		moved.Cron, renamed.Name, added.EnabledByDefault = "59 * * * *", "other", true
		s := newReplica(t, db.DB, newConfig(c, same, moved, renamed, added))
		var changes []hourbell.PlannedChange
		requireNoWrites(t, db, func() {
			var err error
			changes, err = s.Plan(t.Context())
			require.NoError(t, err)
		})
		require.Equal(t, []hourbell.PlannedChange{
			{ScheduleID: "added", Kind: hourbell.EventDefined, Detail: `0 * * * * in UTC, jobs ["import"]`, NewNextRunAt: noon},
			{ScheduleID: "moved", Kind: hourbell.EventChanged, Detail: "from 0 * * * * in UTC to 59 * * * * in UTC", OldNextRunAt: noon, NewNextRunAt: noon.Add(59 * time.Minute)},
			{ScheduleID: "removed", Kind: hourbell.EventRemoved, OldNextRunAt: noon},
			{ScheduleID: "renamed", Kind: hourbell.EventChanged, Detail: "name, description, or the jobs of the target", OldNextRunAt: noon, NewNextRunAt: noon},
		}, changes)

		require.NoError(t, s.Sync(t.Context()))
		for _, change := range changes {
			stored := readSchedule(t, s, change.ScheduleID)
			require.Equal(t, change.NewNextRunAt, stored.NextRunAt, change.ScheduleID)
			require.Equal(t, change.Kind, readEvents(t, s, change.ScheduleID, "")[0].Kind)
		}
		changes, err := s.Plan(t.Context())
		require.NoError(t, err)
		require.Empty(t, changes, "Sync has applied the plan")
	})
}

// D6: Plan returns the error with which Sync would refuse to remove all.
func TestPlanFailsWhereSyncRefuses(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("a")))
		heartbeatAs(t, bindStore(t, db.DB, c.Now), "other")
		_, err := newReplica(t, db.DB, newConfig(c, hourly("z"))).Plan(t.Context())
		require.ErrorContains(t, err, "refusing to remove every schedule")
	})
}

// D1: one error names every mistake. A bad namespace hides no definition, and
// another mistake hides no duplicate id.
func TestNewReportsEveryMistake(t *testing.T) {
	db := dbtest.EmptyPostgres(t)
	_, err := hourbell.New(store.New(db.DB), hourbell.Config{
		Namespace: "bad namespace", BatchSize: -1,
		Jobs: []hourbell.Job{{Name: "import", Args: func() {}}, {Name: "import"}},
		Definitions: []hourbell.Definition{
			{ID: "a", Cron: "61 * * * *", Target: hourbell.Jobs("import")},
			{ID: "a", Cron: "* * * * *", Target: hourbell.Group("none"), Grace: time.Second},
		},
	})
	for _, mistake := range []string{
		"Config.Namespace", "Config.BatchSize", `job "import": args cannot be marshaled`, `job "import": is declared twice`,
		`schedule "a": cron`, `schedule "a": id is declared twice`, `schedule "a": grace`, `schedule "a": target`,
	} {
		require.ErrorContains(t, err, mistake)
	}
	require.NotContains(t, err.Error(), `job "import" is not in Config.Jobs`, "an invalid job is still declared")
}

// D1: an unknown job or group is reported with the nearest name.
func TestNewSuggestsNearestName(t *testing.T) {
	_, err := hourbell.New(store.New(dbtest.EmptyPostgres(t).DB), hourbell.Config{
		Jobs: testJobs,
		Definitions: []hourbell.Definition{
			{ID: "a", Cron: "0 * * * *", Target: hourbell.Jobs("imprt", "publis")},
			{ID: "b", Cron: "0 * * * *", Target: hourbell.Group("fed")},
			{ID: "c", Cron: "0 * * * *", Target: hourbell.Jobs("something else")},
		},
	})
	require.ErrorIs(t, err, hourbell.ErrUnknownTarget)
	require.ErrorContains(t, err, `job "imprt" is not in Config.Jobs; did you mean "import"?`)
	require.ErrorContains(t, err, `job "publis" is not in Config.Jobs; did you mean "publish"?`)
	require.ErrorContains(t, err, `in group "fed"; did you mean "feed"?`)
	require.NotContains(t, err.Error(), `"something else" is not in Config.Jobs;`)
}

// D3: a sync writes in several transactions, and the next one continues one
// that was interrupted.
func TestSyncContinuesAfterInterruption(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		cfg := newConfig(c, manyHourly(2500)...)
		begins := 0
		cut := &hookedStore{store.New(db.DB), func(step string) error {
			if step == "before begin" {
				if begins++; begins == 3 {
					return hourbell.ErrUnavailable
				}
			}
			return nil
		}}
		require.ErrorIs(t, newReplicaWithStore(t, cut, cfg).Sync(t.Context()), hourbell.ErrUnavailable)
		s := newReplica(t, db.DB, cfg)
		page, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, 2000, page.Total, "two chunks were written")

		require.NoError(t, s.Sync(t.Context()))
		page, err = s.Schedules(t.Context(), hourbell.ScheduleQuery{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, 2500, page.Total)
		events, err := s.Events(t.Context(), hourbell.EventQuery{Kind: hourbell.EventDefined, Limit: 1000})
		require.NoError(t, err)
		require.Len(t, events, 1000)
	})
}

// D3: a sync removes last, so that an interrupted rename never leaves nothing.
func TestSyncRemovesLast(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("a"), hourly("b")))
		cfg := newConfig(c, append(manyHourly(1000), hourly("a"))...)
		begins := 0
		cut := &hookedStore{store.New(db.DB), func(step string) error {
			if step == "before begin" {
				if begins++; begins == 2 {
					return hourbell.ErrUnavailable
				}
			}
			return nil
		}}
		s := newReplicaWithStore(t, cut, cfg)
		require.ErrorIs(t, s.Sync(t.Context()), hourbell.ErrUnavailable)
		require.Zero(t, readSchedule(t, s, "b").RemovedAt)
		require.NoError(t, newReplica(t, db.DB, cfg).Sync(t.Context()))
		require.NotZero(t, readSchedule(t, s, "b").RemovedAt)
	})
}

// D7: each chunk of a sync checks whether a newer build has become active.
func TestSyncStopsAtNewerBuild(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		cfg := newConfig(c, manyHourly(1500)...)
		cfg.BuildTime = noon.Add(-time.Hour)
		begins := 0
		interrupted := &hookedStore{store.New(db.DB), func(step string) error {
			if step == "before begin" {
				if begins++; begins == 2 {
					_, err := bindStore(t, db.DB, c.Now).Heartbeat(t.Context(), hourbell.Worker{
						ID: "newer", WorkerType: "schedule_daemon", DefinitionsHash: "other", BuildTime: noon,
					}, 30*time.Second)
					return err
				}
			}
			return nil
		}}
		s := newReplicaWithStore(t, interrupted, cfg)
		require.NoError(t, s.Sync(t.Context()))
		page, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, 1000, page.Total, "the second chunk was not written")
	})
}

// D5: a sync that removes an enabled schedule names it in a warning.
func TestSyncWarnsOfRemovedEnabledSchedule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		disabled := hourly("disabled")
		disabled.EnabledByDefault = false
		newSyncedReplica(t, db.DB, newConfig(c, hourly("kept"), hourly("enabled"), disabled))
		var logs logBuffer
		cfg := newConfig(c, hourly("kept"))
		cfg.Logger = logs.logger()
		newSyncedReplica(t, db.DB, cfg)
		require.Regexp(t, `level=WARN msg="hourbell: enabled schedules removed" count=1 schedules=\[enabled\]`, logs.String())
	})
}

// D5: code no longer declares a removed schedule, so nothing can be done with
// it.
func TestRemovedScheduleRefusesChanges(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		old := newSyncedReplica(t, db.DB, newConfig(c, hourly("kept"), hourly("gone")))
		s := newSyncedReplica(t, db.DB, newConfig(c, hourly("kept")))
		for name, replica := range map[string]*hourbell.Scheduler{"the process that declares it": old, "another one": s} {
			require.ErrorIs(t, replica.Enable(t.Context(), "gone", ann), hourbell.ErrRemoved, name)
			require.ErrorIs(t, replica.Disable(t.Context(), "gone", ann), hourbell.ErrRemoved, name)
			_, err := replica.RunNow(t.Context(), "gone", hourbell.EnqueueOptions{})
			require.ErrorIs(t, err, hourbell.ErrRemoved, name)
		}
		require.Empty(t, readRuns(t, s, "gone"))
	})
}

// D8: a process that does not declare a stored schedule can enable and disable
// it, and cannot run it.
func TestScheduleOfOtherBuildCanBeSwitched(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("other")))
		s := newReplica(t, db.DB, newConfig(c, hourly("own")))
		require.NoError(t, s.Disable(t.Context(), "other", ann))
		require.NoError(t, s.Enable(t.Context(), "other", ann))
		_, err := s.RunNow(t.Context(), "other", hourbell.EnqueueOptions{})
		require.ErrorIs(t, err, hourbell.ErrUnknownTarget)
		require.ErrorContains(t, err, "another build")
	})
}

// renamed returns an hourly definition with a former id.
func renamed(id, former string) hourbell.Definition {
	d := hourly(id)
	d.FormerID = former
	return d
}

// D10: a renamed schedule keeps its state, and nothing is recorded as removed.
func TestFormerIDMovesState(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		disabledByDefault := hourly("old")
		disabledByDefault.EnabledByDefault = false
		s := newSyncedReplica(t, db.DB, newConfig(c, disabledByDefault, hourly("kept")))
		require.NoError(t, s.Enable(t.Context(), "old", ann))
		tick(t, s)
		c.Set(noon)
		tick(t, s)
		before := readSchedule(t, s, "old")
		require.Equal(t, noon, before.SettledThrough)

		c.Advance(time.Minute)
		to := renamed("new", "old")
		to.EnabledByDefault = false
		plan, err := newReplica(t, db.DB, newConfig(c, to, hourly("kept"))).Plan(t.Context())
		require.NoError(t, err)
		require.Equal(t, []hourbell.PlannedChange{{
			ScheduleID: "new", Kind: hourbell.EventDefined, Detail: `renamed from old: 0 * * * * in UTC, jobs ["import"]`,
			OldNextRunAt: noon.Add(time.Hour), NewNextRunAt: noon.Add(time.Hour),
		}}, plan)
		s = newSyncedReplica(t, db.DB, newConfig(c, to, hourly("kept")))
		after := readSchedule(t, s, "new")
		require.True(t, after.Enabled)
		require.Equal(t, "because", after.EnabledNote)
		require.Equal(t, before.NextRunAt, after.NextRunAt)
		require.Equal(t, before.SettledThrough, after.SettledThrough)
		require.Equal(t, "old", after.FormerID)
		former := readSchedule(t, s, "old")
		require.NotZero(t, former.RemovedAt)
		require.Zero(t, former.NextRunAt)
		require.Empty(t, readEvents(t, s, "old", hourbell.EventRemoved))

		c.Set(noon.Add(time.Hour))
		require.Equal(t, 2, tick(t, s).Fired, "new and kept")
		require.Equal(t, []string{"2026-06-01T12:00:00Z", "2026-06-01T13:00:00Z"}, firedSlotTexts(t, s, "new"),
			"the history includes that of the former id")
		require.Equal(t, []string{"2026-06-01T12:00:00Z"}, firedSlotTexts(t, s, "old"))
		require.Contains(t, eventKinds(t, s, "new"), hourbell.EventEnabled)
		page, err := s.Schedules(t.Context(), hourbell.ScheduleQuery{IDs: []string{"new"}, Outcomes: 10})
		require.NoError(t, err)
		require.Len(t, page.Schedules[0].Outcomes, 2)
		require.Equal(t, noon.Add(time.Hour), page.Schedules[0].Outcomes[0].SlotFrom)

		requireNoWrites(t, db, func() { require.NoError(t, s.Sync(t.Context())) })
	})
}

// D10, L4: a slot that is due, and an unfinished claim, move with the schedule.
// A worker that had claimed the former schedule can no longer fire it.
func TestFormerIDMovesDueSlot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		newSyncedReplica(t, db.DB, newConfig(c, hourly("old"), hourly("kept")))
		c.Set(noon)
		st := bindStore(t, db.DB, c.Now)
		claimed, err := st.Claim(t.Context(), storage.ClaimRequest{
			Worker: "killed", Limit: 10, LockTTL: 5 * time.Minute, MaxBackoff: time.Minute,
		})
		require.NoError(t, err)
		require.Len(t, claimed.Claims, 2)

		c.Set(noon.Add(6 * time.Minute)) // out of grace, and the claim is not abandoned yet
		s := newSyncedReplica(t, db.DB, newConfig(c, renamed("new", "old"), hourly("kept")))
		require.Equal(t, noon, readSchedule(t, s, "new").NextRunAt)
		for _, claim := range claimed.Claims {
			if claim.ID == "old" {
				ids, err := st.Advance(t.Context(), "killed", []storage.Advance{{Claim: claim, Fired: noon, Through: noon, Next: noon.Add(time.Hour)}})
				require.NoError(t, err)
				require.Empty(t, ids)
			}
		}
		tick(t, s)
		require.Equal(t, []string{"2026-06-01T12:00:00Z"}, firedSlotTexts(t, s, "new"))
		require.Empty(t, readEvents(t, s, "new", hourbell.EventSkipped))
	})
}

// D10, D4: if the expression changes too, due slots are recorded, and the new
// expression starts after now.
func TestFormerIDWithChangedExpression(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		newSyncedReplica(t, db.DB, newConfig(c, hourly("old"), hourly("kept")))
		c.Set(noon.Add(time.Second))
		to := renamed("new", "old")
		to.Cron = "30 * * * *"
		s := newSyncedReplica(t, db.DB, newConfig(c, to, hourly("kept")))
		require.Equal(t, noon.Add(30*time.Minute), readSchedule(t, s, "new").NextRunAt)
		require.Equal(t, []string{"CHANGED 12:00:00-12:00:00 1"}, skipTexts(t, s, "new"))
	})
}

// D10, D4: if the new row cannot be written because one of its slots has come
// due meanwhile, the former row is not retired either. The next attempt records
// the former row's due slots.
func TestFormerIDIsRetiredOnlyWithInsert(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		newSyncedReplica(t, db.DB, newConfig(c, hourly("old"), hourly("kept")))
		c.Set(noon.Add(time.Second))
		to := renamed("new", "old")
		to.Cron = "30 * * * *"
		late := &hookedStore{store.New(db.DB), hookOnce("before insert-schedules", func() error {
			c.Set(noon.Add(31 * time.Minute))
			return nil
		})}
		s := newReplicaWithStore(t, late, newConfig(c, to, hourly("kept")))
		require.NoError(t, s.Sync(t.Context()))
		require.Equal(t, noon.Add(90*time.Minute), readSchedule(t, s, "new").NextRunAt)
		require.Equal(t, []string{"CHANGED 12:00:00-12:00:00 1"}, skipTexts(t, s, "new"))
	})
}

// D10: after a rollback, the schedule takes back what operators have changed
// under the new id, and fires no slot again.
func TestFormerIDAfterRollback(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		newSyncedReplica(t, db.DB, newConfig(c, hourly("old"), hourly("kept")))
		s := newSyncedReplica(t, db.DB, newConfig(c, renamed("new", "old"), hourly("kept")))
		c.Set(noon)
		tick(t, s)
		require.NoError(t, s.Disable(t.Context(), "new", ann))
		s = newSyncedReplica(t, db.DB, newConfig(c, hourly("old"), hourly("kept")))
		back := readSchedule(t, s, "old")
		require.False(t, back.Enabled)
		require.Equal(t, "because", back.EnabledNote)
		require.Equal(t, noon, back.SettledThrough)
		require.Zero(t, back.RemovedAt)
		require.NoError(t, s.Enable(t.Context(), "old", ann))
		require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "old").NextRunAt)
	})
}

// D10: a schedule that returns under its new id, after a rollback, takes what
// operators have changed under the former id. A later return of the former id
// takes nothing from a row that was removed before.
func TestFormerIDAfterRollbackAndSecondRename(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		before := newConfig(c, hourly("old"), hourly("kept"))
		after := newConfig(c, renamed("new", "old"), hourly("kept"))
		newSyncedReplica(t, db.DB, before)
		newSyncedReplica(t, db.DB, after)
		c.Advance(time.Second)
		s := newSyncedReplica(t, db.DB, before)
		c.Set(noon)
		tick(t, s)
		require.NoError(t, s.Disable(t.Context(), "old", ann))
		c.Advance(time.Second)
		s = newSyncedReplica(t, db.DB, after)
		back := readSchedule(t, s, "new")
		require.False(t, back.Enabled)
		require.Equal(t, "because", back.EnabledNote)
		require.Equal(t, noon, back.SettledThrough)
		require.NotZero(t, readSchedule(t, s, "old").RemovedAt)

		c.Advance(time.Second)
		s = newSyncedReplica(t, db.DB, before)
		require.NoError(t, s.Enable(t.Context(), "old", ann))
		c.Advance(time.Second)
		newSyncedReplica(t, db.DB, newConfig(c, hourly("kept")))
		c.Advance(time.Second)
		s = newSyncedReplica(t, db.DB, before)
		require.True(t, readSchedule(t, s, "old").Enabled, "its own state is newer")
	})
}

// D10: in a large sync, a schedule that returns and the row whose state it
// takes change in one transaction, so that no slot fires under both ids.
func TestFormerIDReturnsInOneTransaction(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		newSyncedReplica(t, db.DB, newConfig(c, hourly("old")))
		newSyncedReplica(t, db.DB, newConfig(c, renamed("new", "old")))
		begins := 0
		cut := &hookedStore{store.New(db.DB), func(step string) error {
			if step == "before begin" {
				if begins++; begins == 2 {
					return hourbell.ErrUnavailable
				}
			}
			return nil
		}}
		s := newReplicaWithStore(t, cut, newConfig(c, append(manyHourly(1500), hourly("old"))...))
		require.ErrorIs(t, s.Sync(t.Context()), hourbell.ErrUnavailable)
		require.Equal(t, readSchedule(t, s, "old").RemovedAt.IsZero(), !readSchedule(t, s, "new").RemovedAt.IsZero())
		require.NoError(t, newReplica(t, db.DB, newConfig(c, append(manyHourly(1500), hourly("old"))...)).Sync(t.Context()))
		require.Zero(t, readSchedule(t, s, "old").RemovedAt)
		require.NotZero(t, readSchedule(t, s, "new").RemovedAt)
	})
}

// D10: the former id acts only if the new id is not stored and the former one
// is no longer declared.
func TestFormerIDActsOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		newSyncedReplica(t, db.DB, newConfig(c, hourly("old"), hourly("new")))
		s := newSyncedReplica(t, db.DB, newConfig(c, renamed("new", "old")))
		require.Empty(t, readSchedule(t, s, "new").FormerID)
		require.Len(t, readEvents(t, s, "old", hourbell.EventRemoved), 1)
		s = newSyncedReplica(t, db.DB, newConfig(c, hourly("old"), renamed("other", "old"), hourly("new")))
		require.Empty(t, readSchedule(t, s, "other").FormerID, "old is still declared")
	})
}

// D10: chains, cycles and shared former ids are errors of New.
func TestNewRejectsInvalidFormerIDs(t *testing.T) {
	for name, c := range map[string]struct {
		definitions []hourbell.Definition
		mistake     string
	}{
		"itself":  {[]hourbell.Definition{renamed("a", "a")}, "is the ID itself"},
		"invalid": {[]hourbell.Definition{renamed("a", "b c")}, "is not a valid ID"},
		"chain":   {[]hourbell.Definition{renamed("a", "b"), renamed("b", "c")}, "has a former ID itself"},
		"cycle":   {[]hourbell.Definition{renamed("a", "b"), renamed("b", "a")}, "has a former ID itself"},
		"shared":  {[]hourbell.Definition{renamed("a", "c"), renamed("b", "c")}, "is the former ID of"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hourbell.New(store.New(dbtest.EmptyPostgres(t).DB), hourbell.Config{Jobs: testJobs, Definitions: c.definitions})
			var invalid *hourbell.DefinitionError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, "former id", invalid.Field)
			require.ErrorContains(t, err, c.mistake)
		})
	}
}

// D6, D10: schedules that were all renamed have their former ids in common.
func TestFormerIDsCountAsCommon(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		c := newClock(noon.Add(-time.Minute))
		old := newSyncedReplica(t, db.DB, newConfig(c, hourly("old"), hourly("gone")))
		startLoop(t, old)
		await(t, "the old build is active", func() bool { return len(readWorkers(t, old)) == 1 })
		s := newSyncedReplica(t, db.DB, newConfig(c, renamed("new", "old")))
		require.NotZero(t, readSchedule(t, s, "gone").RemovedAt)
	})
}
