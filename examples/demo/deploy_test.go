package main

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

// Two builds of one host. Between them one schedule stays as it is, one gets another target, one another expression,
// one is taken out and one comes in.
const (
	oldBuild = "old"
	newBuild = "new"
)

func deployConfig(build string, log *slog.Logger) hourbell.Config {
	cfg := crowdConfig(log)
	cfg.Version, cfg.BuildTime = build, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	every := func(id, cron string, target hourbell.Target) hourbell.Definition {
		return hourbell.Definition{ID: id, Cron: cron, Target: target, EnabledByDefault: true}
	}
	pair := hourbell.Group("pair")
	cfg.Definitions = []hourbell.Definition{
		every("kept", "* * * * * *", pair), every("retargeted", "* * * * * *", pair),
		every("moved", "* * * * * *", pair), every("gone", "* * * * * *", pair),
	}
	if build == newBuild {
		cfg.BuildTime = cfg.BuildTime.Add(time.Hour)
		cfg.Definitions = []hourbell.Definition{
			every("kept", "* * * * * *", pair), every("retargeted", "* * * * * *", hourbell.Jobs("left")),
			every("moved", "*/2 * * * * *", pair), every("added", "* * * * * *", pair),
		}
	}
	return cfg
}

// runBuild is a process of one of the builds.
func runBuild(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	db, err := openDatabase(ctx, log)
	if err != nil {
		return err
	}
	scheduler, err := hourbell.New(store.New(db), deployConfig(os.Args[1], log))
	if err != nil {
		return err
	}
	return scheduler.Run(ctx)
}

// D4, D5, D7, D8: old and new builds side by side, an old one that is killed and starts again, a rollback, and forward
// again. The definitions are always those of the newest build that lives, and no slot is lost or doubled.
func TestARollingDeployLosesNothingAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	run := func(build string) *process {
		p := start(t, "build", t.TempDir(), c.db.DSN, build)
		p.prints(t, "hourbell: running")
		return p
	}
	stored := func(build string) {
		t.Helper()
		gone, added := "gone", "added"
		if build == oldBuild {
			gone, added = added, gone
		}
		await(t, "the definitions of the "+build+" build", func() bool {
			return c.text("SELECT id FROM hourbell_schedules WHERE id = ? AND removed_at IS NULL", added) != "" &&
				c.text("SELECT id FROM hourbell_schedules WHERE id = ? AND removed_at IS NULL", gone) == ""
		})
	}
	fires := func(schedule string) {
		t.Helper()
		before := len(c.fires(schedule))
		await(t, schedule+" fires", func() bool { return len(c.fires(schedule)) > before+1 })
	}

	first, second := run(oldBuild), run(oldBuild)
	stored(oldBuild)
	fires("gone")
	newer := run(newBuild)
	stored(newBuild)
	fires("added")

	second.kill()
	second = run(oldBuild)
	second.prints(t, "those of a newer build")
	fires("added")
	stored(newBuild)

	require.Equal(t, 0, newer.stop(t))
	stored(oldBuild)
	fires("gone")

	newer = run(newBuild)
	stored(newBuild)
	fires("added")
	first.kill()
	require.Equal(t, 0, second.stop(t))
	fires("added")
	stored(newBuild)

	// The last of the old was killed in the middle of whatever it was at: what it held is taken over.
	await(t, "no lock is left", func() bool {
		return c.text("SELECT s.id FROM hourbell_schedules s JOIN hourbell_workers w ON w.id = s.locked_by WHERE w.pid = ?", first.Process.Pid) == ""
	})
	require.Equal(t, 0, newer.stop(t))
	for _, id := range []string{"kept", "retargeted", "moved", "gone", "added"} {
		newHistory(c, id).check()
	}
}

// history is what the tables say of a schedule through the deploys.
type history struct {
	*crowd
	id   string
	eras []era
	end  time.Time // of the last
	seen map[time.Time]int
}

// era is a stretch in which one expression was in force, or none.
type era struct {
	from time.Time
	cron string
}

// slack is how far the instant of a change may be from the instant that its event names, and a slot from its fire.
const slack = 2 * time.Second

func newHistory(c *crowd, id string) *history {
	c.Helper()
	h := &history{crowd: c, id: id, seen: map[time.Time]int{}}
	require.NoError(c, c.db.Raw("SELECT clock_timestamp()").Row().Scan(&h.end))
	var changes []struct {
		At           time.Time
		Kind, Detail string
	}
	require.NoError(c, c.db.Raw(`SELECT at, kind, detail FROM hourbell_events
		WHERE schedule_id = ? AND kind IN ('DEFINED', 'CHANGED', 'REMOVED') ORDER BY id`, id).Scan(&changes).Error)
	require.NotEmpty(c, changes, id)
	for _, change := range changes {
		switch {
		case change.Kind == "REMOVED":
			h.eras = append(h.eras, era{change.At, ""})
		case strings.HasSuffix(change.Detail, "to */2 * * * * * in UTC"), strings.HasPrefix(change.Detail, "*/2 * * * * * in UTC"):
			h.eras = append(h.eras, era{change.At, "*/2 * * * * *"})
		case change.Kind == "DEFINED", strings.HasSuffix(change.Detail, "to * * * * * * in UTC"):
			h.eras = append(h.eras, era{change.At, "* * * * * *"})
		}
	}
	return h
}

// inForce is the expression in force just before an instant.
func (h *history) inForce(t time.Time) string {
	cron := h.eras[0].cron
	for _, e := range h.eras {
		if e.from.Before(t) {
			cron = e.cron
		}
	}
	return cron
}

// unsettled says whether an instant is so near to a change that either expression may have been in force.
func (h *history) unsettled(t time.Time) bool {
	for _, e := range h.eras {
		if t.Sub(e.from).Abs() <= slack {
			return true
		}
	}
	return t.Add(slack).After(h.end)
}

// check walks over every second.
func (h *history) check() {
	h.Helper()
	for _, fire := range h.fires(h.id) {
		h.seen[fire.Slot.UTC()]++
		require.Equal(h, fire.Runs, fire.Jobs)
		require.True(h, fire.Runs == 2 || fire.Runs == 1 && h.id == "retargeted", "%s at %v has %d runs", h.id, fire.Slot, fire.Runs)
	}
	skips := h.skips(h.id)
	for _, skip := range skips {
		d := hourbell.Definition{ID: h.id, Cron: h.inForce(skip.At), Target: hourbell.AllJobs()}
		slots, err := d.Between(skip.From, skip.Through.Add(time.Second))
		require.NoError(h, err)
		require.Len(h, slots, skip.Count)
		for _, slot := range slots {
			h.seen[slot]++
		}
	}
	for slot := h.eras[0].from.Truncate(time.Second).Add(time.Second).UTC(); slot.Before(h.end); slot = slot.Add(time.Second) {
		expected := 1
		if cron := h.inForce(slot); cron == "" || strings.HasPrefix(cron, "*/2") && slot.Second()%2 == 1 {
			expected = 0
		}
		if h.unsettled(slot) {
			require.LessOrEqual(h, h.seen[slot], 1, "%s at %v", h.id, slot)
		} else {
			require.Equal(h, expected, h.seen[slot], "%s at %v", h.id, slot)
		}
	}
	h.Logf("%s: %d slots, %d skips, %d changes", h.id, len(h.seen), len(skips), len(h.eras)-1)
}
