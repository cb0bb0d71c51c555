package main

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/testclock"
	"github.com/hourbell/hourbell/store"
)

// small is a small history, made with a clock that is set by hand: a few schedules of both kinds, fires, skips, clicks,
// and all of it executed.
type small struct {
	*testing.T
	db    *dbtest.DB
	facts facts
	clock *testclock.Clock
}

func newSmall(t *testing.T) *small {
	t.Helper()
	s := &small{T: t, db: dbtest.EmptyPostgres(t), clock: testclock.New(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))}
	s.facts.Definitions = map[kind][]hourbell.Definition{}
	require.NoError(t, prepare(t.Context(), s.db.DB))
	for _, k := range kinds {
		s.facts.Definitions[k] = schedulesOf(k, 15)
		s.history(k)
	}
	return s
}

func (s *small) history(k kind) {
	ctx := s.Context()
	cfg := hostConfig(k, 15, slog.New(slog.DiscardHandler))
	cfg.Now = s.clock.Now
	scheduler, err := hourbell.New(store.New(s.db.DB), cfg)
	require.NoError(s, err)
	require.NoError(s, scheduler.Sync(ctx))
	tick := func(after time.Duration) {
		s.clock.Advance(after)
		_, err := scheduler.Tick(ctx)
		require.NoError(s, err)
	}
	tick(time.Second)
	s.click(scheduler, k, "enable", "s003")
	tick(time.Second)
	s.click(scheduler, k, "run", "s001")
	tick(3 * time.Second)  // two slots too many: SUPERSEDED
	tick(64 * time.Second) // and those of each minute: LATE
	s.clock.Advance(2 * time.Second)
	for _, d := range s.facts.Definitions[k] {
		s.click(scheduler, k, "disable", d.ID) // DISABLED
	}
	e := executor{scheduler, s.db.SQL(), "worker"}
	work := e.executeRuns
	if k == engineHost {
		work = e.executeEngine
	}
	for n := 1; n > 0; {
		n, err = work(ctx)
		require.NoError(s, err)
	}
}

// click does what a person would, and notes it as the driver does.
func (s *small) click(scheduler *hourbell.Scheduler, k kind, action, id string) {
	c := click{Namespace: string(k), Schedule: id, Action: action, Actor: "ann", Note: string(k) + " " + action + " " + id, Sent: s.clock.Now(), Answered: s.clock.Now(), Status: 200}
	by := hourbell.By{Actor: c.Actor, Note: c.Note}
	var err error
	switch action {
	case "enable":
		err = scheduler.Enable(s.Context(), id, by)
	case "disable":
		err = scheduler.Disable(s.Context(), id, by)
	case "run":
		c.Key = "key of " + c.Note
		var runs []hourbell.JobRun
		runs, err = scheduler.RunNow(s.Context(), id, hourbell.EnqueueOptions{By: by, Key: c.Key})
		for _, run := range runs {
			c.Runs = append(c.Runs, run.ID)
		}
	}
	require.NoError(s, err)
	s.facts.Clicks = append(s.facts.Clicks, c)
}

func TestTheCheckerFindsNothingWhereNothingIsWrong(t *testing.T) {
	s := newSmall(t)
	r, err := check(t.Context(), s.db.SQL(), s.facts)
	require.NoError(t, err)
	require.Empty(t, r.violations)
	require.Positive(t, r.fired)
	for _, reason := range []string{"LATE", "SUPERSEDED", "DISABLED"} {
		require.Positive(t, r.skipped[reason], reason)
	}
	total := r.fired
	for _, n := range r.skipped {
		total += n
	}
	require.Equal(t, r.slots, total)
}

// Each way in which a history can be wrong is done to one by hand, and taken back.
func TestTheCheckerSeesWhatIsWrong(t *testing.T) {
	s := newSmall(t)
	const aFire = `(SELECT min(id) FROM hourbell_job_runs WHERE namespace = 'table' AND schedule_id = 's000' AND trigger = 'CRON')`
	const copyRun = `INSERT INTO hourbell_job_runs (namespace, job, job_group, trigger, schedule_id, scheduled_for, ordinal, status, queued_at, finished_at,
		worker_id, attempt, actor, request_key) SELECT namespace, job, job_group, trigger, schedule_id, scheduled_for, ordinal, status, queued_at, finished_at,
		worker_id, attempt, actor, request_key FROM hourbell_job_runs WHERE `
	for what, c := range map[string]struct{ do, says string }{
		"a run is gone":                  {`DELETE FROM hourbell_job_runs WHERE id = ` + aFire, `table/s000: the slot .* is lost`},
		"one run of several is gone":     {`DELETE FROM hourbell_job_runs WHERE id = (SELECT max(id) FROM hourbell_job_runs WHERE schedule_id = 's004' AND trigger = 'CRON')`, `has runs of import with ordinals 0; its target is import publish`},
		"a fire came twice":              {`DROP INDEX hourbell_job_runs_fire; ` + copyRun + ` id = ` + aFire, `has runs of report report`},
		"a skipped slot fired":           {`UPDATE hourbell_events SET slot_from = slot_from - interval '1 second', slot_count = slot_count + 1 WHERE kind = 'SKIPPED' AND schedule_id = 's000' AND namespace = 'table' AND reason = 'SUPERSEDED'`, `is accounted for 2 times: fired and skipped by event`},
		"a skip is gone":                 {`DELETE FROM hourbell_events WHERE id = (SELECT min(id) FROM hourbell_events WHERE kind = 'SKIPPED')`, `is lost`},
		"a skip miscounts":               {`UPDATE hourbell_events SET slot_count = slot_count + 1 WHERE id = (SELECT min(id) FROM hourbell_events WHERE kind = 'SKIPPED')`, `slots from .* were skipped; there are`},
		"a reason is untrue":             {`UPDATE hourbell_events SET reason = 'LATE' WHERE reason = 'SUPERSEDED'`, `says LATE .* its last slot was within grace`},
		"a debt that lapsed too soon":    {`UPDATE hourbell_events SET reason = 'LAPSED' WHERE reason = 'SUPERSEDED'`, `says LAPSED .* no debt could have lapsed`},
		"something was changed":          {`UPDATE hourbell_events SET reason = 'CHANGED' WHERE reason = 'SUPERSEDED'`, `nothing was changed or removed`},
		"a fire was early":               {`UPDATE hourbell_job_runs SET queued_at = scheduled_for - interval '1 millisecond' WHERE id = ` + aFire, `fired early`},
		"what is no slot fired":          {`UPDATE hourbell_job_runs SET scheduled_for = scheduled_for - interval '1 hour' WHERE id = ` + aFire, `was not enabled or has no such slot`},
		"a lock is left":                 {`UPDATE hourbell_schedules SET locked_by = 'somebody', locked_at = now() WHERE namespace = 'table' AND id = 's002'`, `a lock, .* is left: table/s002: locked_by somebody`},
		"a debt is left":                 {`UPDATE hourbell_schedules SET owed_since = now() WHERE namespace = 'engine' AND id = 's002'`, `engine/s002: .* owed_since 2`},
		"a run was not executed":         {`DELETE FROM chaos_executed WHERE run_id = ` + aFire, `not executed to its end`},
		"a run is still running":         {`UPDATE hourbell_job_runs SET status = 'RUNNING' WHERE id = ` + aFire, `not executed to its end: run \d+ is RUNNING`},
		"two had one attempt":            {`INSERT INTO chaos_executed SELECT run_id, attempt, 'another' FROM chaos_executed LIMIT 1`, `two workers had the same attempt`},
		"the engine lacks a run":         {`DELETE FROM chaos_engine WHERE seq = (SELECT min(seq) FROM chaos_engine)`, `the engine has not each run once`},
		"the engine has a run twice":     {`INSERT INTO chaos_engine (run_id, key, done_at) SELECT run_id, key, done_at FROM chaos_engine LIMIT 1`, `or a run twice`},
		"the engine has what never was":  {`INSERT INTO chaos_engine (run_id, key) VALUES (987654, 'engine/s000@x/report')`, `the engine has what is no run`},
		"a person's event is gone":       {`DELETE FROM hourbell_events WHERE kind = 'ENABLED' AND schedule_id = 's003' AND namespace = 'table'`, `was switched at .*, and|event \d+ says DISABLED`},
		"an event has another actor":     {`UPDATE hourbell_events SET actor = 'bob' WHERE kind = 'RUN_NOW'`, `has left event \d+: RUN_NOW of .* by bob`},
		"an event of nobody's":           {`INSERT INTO hourbell_events (namespace, schedule_id, kind, at, actor, note) VALUES ('table', 's000', 'UNLOCKED', now(), 'eve', 'who was that')`, `nobody did that`},
		"a request left its event alone": {`DELETE FROM hourbell_job_runs WHERE trigger = 'MANUAL'`, `has left 0 runs and 1 events`},
		"a request enqueued twice":       {`DROP INDEX hourbell_job_runs_request; ` + copyRun + ` trigger = 'MANUAL' AND namespace = 'table'`, `has left runs of report report; the target is report`},
	} {
		t.Run(what, func(t *testing.T) {
			tx, err := s.db.SQL().BeginTx(t.Context(), nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, tx.Rollback()) }()
			for statement := range strings.SplitSeq(c.do, ";") {
				done, err := tx.ExecContext(t.Context(), statement)
				require.NoError(t, err)
				changed, err := done.RowsAffected()
				require.NoError(t, err)
				require.True(t, changed > 0 || strings.HasPrefix(statement, "DROP"), "changed nothing: %s", statement)
			}
			r, err := check(t.Context(), tx, s.facts)
			require.NoError(t, err)
			require.NotEmpty(t, r.violations)
			require.Regexp(t, c.says, strings.Join(r.violations, "\n"))
		})
	}
}

// What people were told, and is not so.
func TestTheCheckerSeesWhatWasNotDone(t *testing.T) {
	s := newSmall(t)
	for want, told := range map[string]click{
		"no event has its note although the schedule was not so": {Action: "enable", Note: "new", Status: 200},
		"has left 0 runs and 0 events|answered with the runs":    {Action: "run", Note: "new", Key: "new", Status: 201, Runs: []int64{12345}},
		"an answer that was not called for":                      {Action: "enable", Note: "new", Status: 500},
	} {
		told.Namespace, told.Schedule, told.Actor, told.Sent, told.Answered = "table", "s003", "ann", s.clock.Now().Add(time.Minute), s.clock.Now().Add(time.Minute)
		with := facts{s.facts.Definitions, append(slices.Clone(s.facts.Clicks), told)}
		r, err := check(t.Context(), s.db.SQL(), with)
		require.NoError(t, err)
		require.Regexp(t, want, strings.Join(r.violations, "\n"))
	}
}

// An answer that nothing was changed, where something was.
func TestTheCheckerSeesWhatWasDoneAllTheSame(t *testing.T) {
	s := newSmall(t)
	for i := range s.facts.Clicks {
		if c := &s.facts.Clicks[i]; c.Action == "run" && c.Namespace == "engine" {
			c.Status = 500
		}
	}
	r, err := check(t.Context(), s.db.SQL(), s.facts)
	require.NoError(t, err)
	require.Regexp(t, "the answer says that nothing was changed", strings.Join(r.violations, "\n"))
}
