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

// Two builds of one host. The new build keeps one schedule, changes the target
// of one and the expression of another, removes one and adds one.
const (
	oldBuild = "old"
	newBuild = "new"
)

func deployConfig(build string, log *slog.Logger) hourbell.Config {
	cfg := fleetConfig(log)
	cfg.Version, cfg.BuildTime = build, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	define := func(id, cron string, target hourbell.Target) hourbell.Definition {
		return hourbell.Definition{ID: id, Cron: cron, Target: target, EnabledByDefault: true}
	}
	pair := hourbell.Group("pair")
	cfg.Definitions = []hourbell.Definition{
		define("kept", "* * * * * *", pair), define("retargeted", "* * * * * *", pair),
		define("moved", "* * * * * *", pair), define("removed", "* * * * * *", pair),
	}
	if build == newBuild {
		cfg.BuildTime = cfg.BuildTime.Add(time.Hour)
		cfg.Definitions = []hourbell.Definition{
			define("kept", "* * * * * *", pair), define("retargeted", "* * * * * *", hourbell.Jobs("left")),
			define("moved", "*/2 * * * * *", pair), define("added", "* * * * * *", pair),
		}
	}
	return cfg
}

// runBuild is the main function of a process of one of the builds.
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

// D4, D5, D7, D8: old and new builds run at the same time, an old process is
// killed and restarts, the deploy is rolled back and repeated. The stored
// definitions are always those of the newest active build. Every slot fires
// once or is recorded once as skipped.
func TestRollingDeployFiresEverySlotOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	run := func(build string) *process {
		p := start(t, "build", t.TempDir(), f.db.DSN, build)
		p.awaitOutput(t, "hourbell: running")
		return p
	}
	awaitDefinitions := func(build string) {
		t.Helper()
		present, absent := "added", "removed"
		if build == oldBuild {
			present, absent = absent, present
		}
		await(t, "the definitions of the "+build+" build", func() bool {
			return f.queryText("SELECT id FROM hourbell_schedules WHERE id = ? AND removed_at IS NULL", present) != "" &&
				f.queryText("SELECT id FROM hourbell_schedules WHERE id = ? AND removed_at IS NULL", absent) == ""
		})
	}
	awaitFires := func(schedule string) {
		t.Helper()
		before := len(f.fires(schedule))
		await(t, schedule+" fires", func() bool { return len(f.fires(schedule)) > before+1 })
	}

	first, second := run(oldBuild), run(oldBuild)
	awaitDefinitions(oldBuild)
	awaitFires("removed")
	newer := run(newBuild)
	awaitDefinitions(newBuild)
	awaitFires("added")

	second.kill()
	second = run(oldBuild)
	second.awaitOutput(t, "newer build is active")
	awaitFires("added")
	awaitDefinitions(newBuild)

	require.Equal(t, 0, newer.stop(t))
	awaitDefinitions(oldBuild)
	awaitFires("removed")

	newer = run(newBuild)
	awaitDefinitions(newBuild)
	awaitFires("added")
	first.kill()
	require.Equal(t, 0, second.stop(t))
	awaitFires("added")
	awaitDefinitions(newBuild)

	// The kill may have left locks, which are taken over.
	await(t, "the killed process holds no lock", func() bool {
		return f.queryText("SELECT s.id FROM hourbell_schedules s JOIN hourbell_workers w ON w.id = s.locked_by WHERE w.pid = ?", first.Process.Pid) == ""
	})
	require.Equal(t, 0, newer.stop(t))
	for _, id := range []string{"kept", "retargeted", "moved", "removed", "added"} {
		newHistory(f, id).check()
	}
}

// history is what the tables contain about a schedule.
type history struct {
	*fleet
	id   string
	eras []era
	end  time.Time // of the last era
	seen map[time.Time]int
}

// era is a period with one expression; cron is empty while the schedule is
// removed.
type era struct {
	from time.Time
	cron string
}

// tolerance is the largest distance between a change and the time of its event,
// and between a slot and its fire.
const tolerance = 2 * time.Second

func newHistory(f *fleet, id string) *history {
	f.Helper()
	h := &history{fleet: f, id: id, seen: map[time.Time]int{}}
	require.NoError(f, f.db.Raw("SELECT clock_timestamp()").Row().Scan(&h.end))
	var changes []struct {
		At     time.Time
		Kind   hourbell.EventKind
		Detail string
	}
	require.NoError(f, f.db.Raw(`SELECT at, kind, detail FROM hourbell_events
		WHERE schedule_id = ? AND kind IN ('DEFINED', 'CHANGED', 'REMOVED') ORDER BY id`, id).Scan(&changes).Error)
	require.NotEmpty(f, changes, id)
	for _, change := range changes {
		switch {
		case change.Kind == hourbell.EventRemoved:
			h.eras = append(h.eras, era{change.At, ""})
		case strings.HasSuffix(change.Detail, "to */2 * * * * * in UTC"), strings.HasPrefix(change.Detail, "*/2 * * * * * in UTC"):
			h.eras = append(h.eras, era{change.At, "*/2 * * * * *"})
		case change.Kind == hourbell.EventDefined, strings.HasSuffix(change.Detail, "to * * * * * * in UTC"):
			h.eras = append(h.eras, era{change.At, "* * * * * *"})
		}
	}
	return h
}

// cronBefore returns the expression in effect just before t.
func (h *history) cronBefore(t time.Time) string {
	cron := h.eras[0].cron
	for _, e := range h.eras {
		if e.from.Before(t) {
			cron = e.cron
		}
	}
	return cron
}

// nearChange reports whether t is so near to a change that either expression
// may have been in effect.
func (h *history) nearChange(t time.Time) bool {
	for _, e := range h.eras {
		if t.Sub(e.from).Abs() <= tolerance {
			return true
		}
	}
	return t.Add(tolerance).After(h.end)
}

// check checks every second of the history.
func (h *history) check() {
	h.Helper()
	for _, fire := range h.fires(h.id) {
		h.seen[fire.Slot.UTC()]++
		require.Equal(h, fire.Runs, fire.Jobs)
		require.True(h, fire.Runs == 2 || fire.Runs == 1 && h.id == "retargeted", "%s at %v has %d runs", h.id, fire.Slot, fire.Runs)
	}
	skips := h.skips(h.id)
	for _, skip := range skips {
		d := hourbell.Definition{ID: h.id, Cron: h.cronBefore(skip.At), Target: hourbell.AllJobs()}
		slots, err := d.Between(skip.From, skip.Through.Add(time.Second))
		require.NoError(h, err)
		require.Len(h, slots, skip.Count)
		for _, slot := range slots {
			h.seen[slot]++
		}
	}
	for slot := h.eras[0].from.Truncate(time.Second).Add(time.Second).UTC(); slot.Before(h.end); slot = slot.Add(time.Second) {
		want := 1
		if cron := h.cronBefore(slot); cron == "" || strings.HasPrefix(cron, "*/2") && slot.Second()%2 == 1 {
			want = 0
		}
		if h.nearChange(slot) {
			require.LessOrEqual(h, h.seen[slot], 1, "%s at %v", h.id, slot)
		} else {
			require.Equal(h, want, h.seen[slot], "%s at %v", h.id, slot)
		}
	}
	h.Logf("%s: %d slots, %d skips, %d changes", h.id, len(h.seen), len(skips), len(h.eras)-1)
}
