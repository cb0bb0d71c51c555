package simulation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/simulation/model"
	"github.com/hourbell/hourbell/internal/storage"
)

// jobs are the jobs of every build.
var jobs = []hourbell.Job{{Name: "import", Group: "feed"}, {Name: "publish", Group: "feed"}, {Name: "report"}}

// scenario is the setup of a history.
type scenario struct {
	start        time.Time
	length       time.Duration // of the phase with faults
	replicas     int
	withEnqueuer bool // every slot then takes the claim path, and host code runs in its transaction
	batch        int
	lockTTL      time.Duration
	grace        time.Duration
	calmWeight   int // weight of no fault in each step: the higher, the rarer are faults
	builds       []*build
	zone         *zone
}

// build is a release of the host with its definitions.
type build struct {
	name        string
	definitions []hourbell.Definition
	rows        []map[string]storage.Schedule // as its first sync stores them, by version of the zone's rules and id
}

// drawScenario draws a scenario. It starts half an hour before Berlin changes
// to daylight saving time.
func drawScenario(c *choices, z *zone) (*scenario, error) {
	s := &scenario{
		start:        time.Date(2026, 3, 29, 0, 29, 30, 0, time.UTC),
		length:       oneOf(c, 20*time.Minute, time.Hour, 4*time.Hour),
		replicas:     oneOf(c, 2, 3, 4),
		withEnqueuer: oneOf(c, false, true),
		batch:        oneOf(c, 2000, 1, 2),
		lockTTL:      oneOf(c, 5*time.Minute, time.Minute),
		grace:        oneOf(c, 2*time.Minute, 4*time.Minute),
		calmWeight:   oneOf(c, 100, 40, 15),
		zone:         z,
	}
	z.drawVersions(c)
	var base []hourbell.Definition
	for i := range oneOf(c, 1, 2, 3, 4) {
		base = append(base, s.drawDefinition(c, fmt.Sprintf("s%d", i)))
	}
	s.builds = []*build{{name: "v0", definitions: base}}
	for i := range oneOf(c, 0, 1, 2, 3) {
		s.builds = append(s.builds, &build{name: fmt.Sprintf("v%d", i+1), definitions: s.drawChange(c, base)})
	}
	for _, b := range s.builds {
		if err := s.storeRows(b); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *scenario) drawDefinition(c *choices, id string) hourbell.Definition {
	return hourbell.Definition{
		ID:   id,
		Cron: oneOf(c, "* * * * *", "*/5 * * * *", "*/2 * * * *", "0 * * * *", "*/15 * * * *", "7,37 * * * *", "*/20 * * * * *", "7,37 2 * * *", "*/30 2-4 * * *"),
		// Berlin has daylight saving time; Kolkata's offset ends in half an
		// hour.
		TimeZone:         oneOf(c, "UTC", "Europe/Berlin", "Asia/Kolkata", s.zone.name, s.zone.name),
		Target:           oneOf(c, hourbell.Jobs("report"), hourbell.Group("feed"), hourbell.AllJobs()),
		EnabledByDefault: oneOf(c, true, true, false),
	}
}

// renamedPrefix begins the ids of renamed schedules. Their former ids follow
// it.
const renamedPrefix = "renamed-"

// drawChange returns the base definitions with one change.
func (s *scenario) drawChange(c *choices, base []hourbell.Definition) []hourbell.Definition {
	changed := slices.Clone(base)
	d := &changed[c.draw(slices.Repeat([]int{1}, len(changed))...)]
	switch c.draw(3, 2, 1, 2, 2, 3) {
	case 0:
		d.Cron = oneOf(c, "1-59/2 * * * *", "*/3 * * * *", "30 * * * *")
	case 1:
		d.Target = oneOf(c, hourbell.Jobs("import"), hourbell.Jobs("publish", "report"))
	case 2:
		d.Description = "changed"
	case 3:
		changed = append(changed, s.drawDefinition(c, "new"))
	case 4:
		if len(changed) > 1 { // sync refuses to remove all schedules
			changed = changed[1:]
		}
	case 5:
		d.ID, d.FormerID = renamedPrefix+d.ID, d.ID
		d.Cron = oneOf(c, d.Cron, d.Cron, "*/3 * * * *")
	}
	return changed
}

func (s *scenario) config(b *build) hourbell.Config {
	return hourbell.Config{
		Jobs: jobs, Definitions: b.definitions, BatchSize: s.batch, Connections: 1, LockTTL: s.lockTTL, Grace: s.grace, Logger: discardLogger,
	}
}

// storeRows syncs a build to an empty database, with each version of the zone's
// rules, and keeps the rows.
func (s *scenario) storeRows(b *build) error {
	for s.zone.loaded = range s.zone.versions {
		db := model.New(s.start, model.Omissions{})
		if err := s.sync(db, b); err != nil {
			return err
		}
		rows := map[string]storage.Schedule{}
		for _, d := range b.definitions {
			rows[d.ID], _ = db.Schedule(d.ID)
		}
		b.rows = append(b.rows, rows)
	}
	s.zone.loaded = 0
	return nil
}

// sync stores the definitions of a build in an empty database.
func (s *scenario) sync(db *model.Database, b *build) error {
	scheduler, err := hourbell.New(db.Session(nil), s.config(b))
	if err != nil {
		return err
	}
	return scheduler.Sync(context.Background())
}

// renames reports whether a build renames a schedule. The history then starts
// with stored schedules: two builds that store a schedule under both ids at the
// first start of all know nothing of each other.
func (s *scenario) renames() bool {
	for _, b := range s.builds {
		for _, d := range b.definitions {
			if d.FormerID != "" {
				return true
			}
		}
	}
	return false
}

// overwriteHash gives a claim the definition hash that this build has with a
// version of the zone's rules, as if the row had no hash to compare.
func (b *build) overwriteHash(c *storage.Claim, version int) {
	if own, declared := b.rows[version][c.ID]; declared {
		c.DefinitionHash = own.DefinitionHash
	}
}
