package simulation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/simulation/model"
)

// jobs are what every build can run.
var jobs = []hourbell.Job{{Name: "import", Group: "feed"}, {Name: "publish", Group: "feed"}, {Name: "report"}}

// scenario is what a history begins with.
type scenario struct {
	start    time.Time
	length   time.Duration // of the time in which things happen
	replicas int
	enqueuer bool // host code runs in every fire, and nothing fires without a claim
	batch    int
	lockTTL  time.Duration
	grace    time.Duration
	calmness int // how rare mishaps are
	builds   []*build
}

// build is a release of the host, with what it declares.
type build struct {
	name        string
	definitions []hourbell.Definition
	rows        map[string]hourbell.Schedule // as its sync alone would store them
}

// drawScenario begins half an hour before the clocks change in Berlin.
func drawScenario(t *tape) (*scenario, error) {
	s := &scenario{
		start:    time.Date(2026, 3, 29, 0, 29, 30, 0, time.UTC),
		length:   oneOf(t, 20*time.Minute, time.Hour, 4*time.Hour),
		replicas: oneOf(t, 2, 3, 4),
		enqueuer: oneOf(t, false, true),
		batch:    oneOf(t, 2000, 1, 2),
		lockTTL:  oneOf(t, 5*time.Minute, time.Minute),
		grace:    oneOf(t, 2*time.Minute, 4*time.Minute),
		calmness: oneOf(t, 100, 40, 15),
	}
	var base []hourbell.Definition
	for i := range oneOf(t, 1, 2, 3, 4) {
		base = append(base, drawDefinition(t, fmt.Sprintf("s%d", i)))
	}
	s.builds = []*build{{name: "v0", definitions: base}}
	for i := range oneOf(t, 0, 1, 2, 3) {
		changed := slices.Clone(base)
		change(t, &changed)
		s.builds = append(s.builds, &build{name: fmt.Sprintf("v%d", i+1), definitions: changed})
	}
	for _, b := range s.builds {
		if err := s.store(b); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func drawDefinition(t *tape, id string) hourbell.Definition {
	return hourbell.Definition{
		ID:   id,
		Cron: oneOf(t, "* * * * *", "*/5 * * * *", "*/2 * * * *", "0 * * * *", "*/15 * * * *", "7,37 * * * *", "*/20 * * * * *"),
		// A zone whose clocks change, and one that is off by half an hour.
		TimeZone:         oneOf(t, "UTC", "Europe/Berlin", "Asia/Kolkata"),
		Target:           oneOf(t, hourbell.Jobs("report"), hourbell.Group("feed"), hourbell.AllJobs()),
		EnabledByDefault: oneOf(t, true, true, false),
	}
}

// change is what a release changes of what an earlier one declared.
func change(t *tape, list *[]hourbell.Definition) {
	d := &(*list)[t.draw(slices.Repeat([]int{1}, len(*list))...)]
	switch t.draw(3, 2, 1, 2, 2) {
	case 0:
		d.Cron = oneOf(t, "1-59/2 * * * *", "*/3 * * * *", "30 * * * *")
	case 1:
		d.Target = oneOf(t, hourbell.Jobs("import"), hourbell.Jobs("publish", "report"))
	case 2:
		d.Description = "changed"
	case 3:
		*list = append(*list, drawDefinition(t, "new"))
	case 4:
		if len(*list) > 1 { // one at least stays in common, for a sync refuses to remove them all
			*list = (*list)[1:]
		}
	}
}

func (s *scenario) config(b *build) hourbell.Config {
	return hourbell.Config{
		Jobs: jobs, Definitions: b.definitions, BatchSize: s.batch, Connections: 1, LockTTL: s.lockTTL, Grace: s.grace, Logger: discard,
	}
}

// store notes how a build's definitions are stored.
func (s *scenario) store(b *build) error {
	db := model.New(s.start, model.Without{})
	scheduler, err := hourbell.New(db.Session(nil), s.config(b))
	if err != nil {
		return err
	}
	if err := scheduler.Sync(context.Background()); err != nil {
		return err
	}
	b.rows = map[string]hourbell.Schedule{}
	for _, d := range b.definitions {
		b.rows[d.ID], _ = db.Schedule(d.ID)
	}
	return nil
}

// fromMemory makes a claim look as if its row were of this build.
func (b *build) fromMemory(c *hourbell.Claim) {
	if own, declared := b.rows[c.ID]; declared {
		c.DefinitionHash = own.DefinitionHash
	}
}
