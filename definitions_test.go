package hourbell_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// wrongDefinitions are definitions with one fault each, with the field that New must name and what it must say.
var wrongDefinitions = []struct {
	fault       string
	change      func(*hourbell.Definition)
	field, says string
	is          error // or nil
}{
	{"no id", func(d *hourbell.Definition) { d.ID = "" }, "id", `""`, nil},
	{"a blank in the id", func(d *hourbell.Definition) { d.ID = "feed refresh" }, "id", `"feed refresh"`, nil},
	{"an id that begins with a sign", func(d *hourbell.Definition) { d.ID = "-feed" }, "id", `"-feed"`, nil},
	{"an id that is too long", func(d *hourbell.Definition) { d.ID = strings.Repeat("x", 101) }, "id", "1 to 100", nil},
	{"a name of two lines", func(d *hourbell.Definition) { d.Name = "feed\nrefresh" }, "name", "U+000A", nil},
	{"a description that is no text", func(d *hourbell.Definition) { d.Description = "\x00" }, "description", "not valid text", nil},
	{"no expression", func(d *hourbell.Definition) { d.Cron = "" }, "cron", `""`, nil},
	{"a minute that is none", func(d *hourbell.Definition) { d.Cron = "7,99 * * * *" }, "cron", "99", nil},
	{"a field too few", func(d *hourbell.Definition) { d.Cron = "0 * * *" }, "cron", `"0 * * *"`, nil},
	{"an expression that never comes due", func(d *hourbell.Definition) { d.Cron = "0 0 31 2 *" }, "cron", "never", nil},
	{"an unknown zone", func(d *hourbell.Definition) { d.TimeZone = "Europe/Atlantis" }, "time zone", "Europe/Atlantis", nil},
	{"the zone of the machine", func(d *hourbell.Definition) { d.TimeZone = "Local" }, "time zone", "Local", nil},
	{"no target", func(d *hourbell.Definition) { d.Target = hourbell.Target{} }, "target", "missing", nil},
	{"an empty list of jobs", func(d *hourbell.Definition) { d.Target = hourbell.Jobs() }, "target", "no jobs", nil},
	{"a job listed twice", func(d *hourbell.Definition) { d.Target = hourbell.Jobs("import", "import") }, "target", `"import"`, nil},
	{"an unknown job", func(d *hourbell.Definition) { d.Target = hourbell.Jobs("import", "nap") }, "target", `"nap"`, hourbell.ErrUnknownJob},
	{"a group without a name", func(d *hourbell.Definition) { d.Target = hourbell.Group("") }, "target", "empty group", nil},
	{"an unknown group", func(d *hourbell.Definition) { d.Target = hourbell.Group("nobody") }, "target", `"nobody"`, hourbell.ErrUnknownGroup},
	{"a negative grace", func(d *hourbell.Definition) { d.Grace = -time.Second }, "grace", "-1s", nil},
	{"a grace shorter than a poll and a claim", func(d *hourbell.Definition) { d.Grace = 70*time.Second - 1 }, "grace", "1m10s", nil},
}

// D1: a wrong definition fails New with an error that names the definition and the field, and leaves no trace.
func TestAWrongDefinitionFailsNewWithItsIDAndField(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		untouched(t, db, func() {
			for _, wrong := range wrongDefinitions {
				t.Run(wrong.fault, func(t *testing.T) {
					d := hourly("feed-refresh")
					wrong.change(&d)
					s, err := hourbell.New(store.New(db.DB), hourbell.Config{Jobs: jobs, Definitions: []hourbell.Definition{hourly("good"), d}})
					require.Nil(t, s)
					var fault *hourbell.DefinitionError
					require.ErrorAs(t, err, &fault)
					require.Equal(t, d.ID, fault.ID)
					require.Equal(t, wrong.field, fault.Field)
					require.ErrorContains(t, err, fmt.Sprintf("schedule %q: %s", d.ID, wrong.field))
					require.ErrorContains(t, err, wrong.says)
					require.NotContains(t, err.Error(), `"good"`)
					if wrong.is != nil {
						require.ErrorIs(t, err, wrong.is)
					}
				})
			}
		})
	})
}

// D1: an id may be declared once.
func TestAnIDDeclaredTwiceFailsNew(t *testing.T) {
	db := dbtest.SQLite(t)
	_, err := hourbell.New(store.New(db.DB), hourbell.Config{Jobs: jobs, Definitions: []hourbell.Definition{hourly("a"), hourly("b"), hourly("a")}})
	var fault *hourbell.DefinitionError
	require.ErrorAs(t, err, &fault)
	require.Equal(t, "a", fault.ID)
	require.Equal(t, "id", fault.Field)
	require.ErrorContains(t, err, "twice")
}

// D1: all jobs is an empty target where there are none.
func TestAllJobsOfNoJobsFailsNew(t *testing.T) {
	d := hourly("a")
	d.Target = hourbell.AllJobs()
	_, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{Definitions: []hourbell.Definition{d}})
	var fault *hourbell.DefinitionError
	require.ErrorAs(t, err, &fault)
	require.Equal(t, "target", fault.Field)
	require.ErrorContains(t, err, "Config.Jobs")
}

// D1: every wrong definition of a set is named, so that one start shows them all.
func TestAllWrongDefinitionsAreNamedAtOnce(t *testing.T) {
	broken := []hourbell.Definition{hourly("one"), hourly("two"), hourly("three")}
	broken[0].Cron, broken[0].TimeZone = "61 * * * *", "UTC"
	broken[2].Cron, broken[2].Target = "* * * * * * *", hourbell.Target{}
	_, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{Jobs: jobs, Definitions: broken})
	require.ErrorContains(t, err, `schedule "one": cron`)
	require.ErrorContains(t, err, `schedule "three": cron`)
	require.ErrorContains(t, err, `schedule "three": target`)
	require.NotContains(t, err.Error(), `"two"`)
}

// D1: a definition is judged the same whenever the process starts.
func TestAWrongDefinitionIsRefusedAtEveryMinuteAlike(t *testing.T) {
	st := store.New(dbtest.SQLite(t).DB)
	refuse := func(t *testing.T, cron string) string {
		d := hourly("feed-refresh")
		d.Cron = cron
		_, err := hourbell.New(st, hourbell.Config{Jobs: jobs, Definitions: []hourbell.Definition{d}})
		require.Error(t, err, time.Now())
		return err.Error()
	}
	synctest.Test(t, func(t *testing.T) {
		for _, cron := range []string{"7,99 * * * *", "0 0 31 2 *", "* 24 * * *", "0 0 0 * *"} {
			first := refuse(t, cron)
			for range 61 {
				time.Sleep(time.Minute) // of the bubble's clock
				require.Equal(t, first, refuse(t, cron))
			}
		}
	})
}

// D1: what is right is accepted, to the last second of its limits.
func TestRightDefinitionsAreAccepted(t *testing.T) {
	for name, change := range map[string]func(*hourbell.Definition){
		"the shortest grace":   func(d *hourbell.Definition) { d.Grace = 70 * time.Second },
		"the longest id":       func(d *hourbell.Definition) { d.ID = strings.Repeat("x", 100) },
		"all signs of an id":   func(d *hourbell.Definition) { d.ID = "9a._-/:Z" },
		"seconds":              func(d *hourbell.Definition) { d.Cron = "30 0 * * * *" },
		"a macro":              func(d *hourbell.Definition) { d.Cron = "@daily" },
		"a rare date":          func(d *hourbell.Definition) { d.Cron = "0 0 29 2 *" },
		"a zone":               func(d *hourbell.Definition) { d.TimeZone = "America/Argentina/Ushuaia" },
		"all jobs":             func(d *hourbell.Definition) { d.Target = hourbell.AllJobs() },
		"a group":              func(d *hourbell.Definition) { d.Target = hourbell.Group("feed") },
		"text in any language": func(d *hourbell.Definition) { d.Name, d.Description = "Zürich → 東京", "first\nsecond" },
	} {
		t.Run(name, func(t *testing.T) {
			d := hourly("feed-refresh")
			change(&d)
			require.NoError(t, d.Validate())
			_, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{Jobs: jobs, Definitions: []hourbell.Definition{d}})
			require.NoError(t, err)
		})
	}
}

// D1: Validate, Next and Between judge a definition by itself as New does, before there is a database.
func TestADefinitionCanBeCheckedByItself(t *testing.T) {
	for _, wrong := range wrongDefinitions {
		if wrong.is != nil || strings.HasPrefix(wrong.fault, "a grace") {
			continue // these depend on the rest of the Config
		}
		t.Run(wrong.fault, func(t *testing.T) {
			d := hourly("feed-refresh")
			wrong.change(&d)
			var fault *hourbell.DefinitionError
			require.ErrorAs(t, d.Validate(), &fault)
			require.Equal(t, wrong.field, fault.Field)
			if wrong.field != "cron" && wrong.field != "time zone" {
				return
			}
			_, nextErr := d.Next(noon)
			_, betweenErr := d.Between(noon, noon.Add(time.Hour))
			for _, err := range []error{nextErr, betweenErr} {
				require.ErrorAs(t, err, &fault)
				require.Equal(t, [2]string{"feed-refresh", wrong.field}, [2]string{fault.ID, fault.Field})
			}
		})
	}
}

// A definition tells its slots: Next strictly after, Between with its start and without its end.
func TestADefinitionTellsItsSlots(t *testing.T) {
	d := hourbell.Definition{ID: "standup", Cron: "30 9 * * *", TimeZone: "Europe/Berlin"}
	next, err := d.Next(noon)
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 6, 2, 7, 30, 0, 0, time.UTC), next)
	after, err := d.Next(next)
	require.NoError(t, err)
	require.Equal(t, next.AddDate(0, 0, 1), after)
	list, err := d.Between(next, after)
	require.NoError(t, err)
	require.Equal(t, []time.Time{next}, list)
}

// D1, for jobs: a wrong job fails New with an error that names it.
func TestAWrongJobFailsNewWithItsName(t *testing.T) {
	good := hourbell.Job{Name: "import"}
	for name, wrong := range map[string]struct {
		job  hourbell.Job
		says []string
	}{
		"no name":               {hourbell.Job{}, []string{`job ""`, "name is empty"}},
		"an unprintable name":   {hourbell.Job{Name: "a\tb"}, []string{"U+0009"}},
		"a name too long":       {hourbell.Job{Name: strings.Repeat("ä", 201)}, []string{"200 characters"}},
		"a name twice":          {good, []string{`job "import"`, "twice"}},
		"an unprintable group":  {hourbell.Job{Name: "nap", Group: "\x01"}, []string{`job "nap"`, "group", "U+0001"}},
		"args that are no JSON": {hourbell.Job{Name: "nap", Args: make(chan int)}, []string{`job "nap"`, "args"}},
		"args with a NUL":       {hourbell.Job{Name: "nap", Args: "\x00"}, []string{`job "nap"`, "args", "NUL"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{Jobs: []hourbell.Job{good, wrong.job}})
			for _, says := range wrong.says {
				require.ErrorContains(t, err, says)
			}
		})
	}
}
