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

// history is a short run made with a test clock: a few schedules of both kinds
// of host, fires, skips and operator actions, and all runs executed.
type history struct {
	*testing.T
	db    *dbtest.DB
	want  expected
	clock *testclock.Clock
}

func newHistory(t *testing.T) *history {
	t.Helper()
	h := &history{T: t, db: dbtest.EmptyPostgres(t), clock: testclock.New(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))}
	h.want.Definitions = map[hostKind][]hourbell.Definition{}
	require.NoError(t, prepare(t.Context(), h.db.DB))
	for _, k := range hostKinds {
		h.want.Definitions[k] = definitionsOf(k, 15)
		h.record(k)
	}
	return h
}

func (h *history) record(k hostKind) {
	ctx := h.Context()
	cfg := hostConfig(k, 15, slog.New(slog.DiscardHandler))
	cfg.Now = h.clock.Now
	scheduler, err := hourbell.New(store.New(h.db.DB), cfg)
	require.NoError(h, err)
	require.NoError(h, scheduler.Sync(ctx))
	tickAfter := func(d time.Duration) {
		h.clock.Advance(d)
		_, err := scheduler.Tick(ctx)
		require.NoError(h, err)
	}
	tickAfter(time.Second)
	h.act(scheduler, k, "enable", "s003")
	tickAfter(time.Second)
	h.act(scheduler, k, "run", "s001")
	tickAfter(3 * time.Second)  // skips the slots of two seconds as SUPERSEDED
	tickAfter(64 * time.Second) // and those of every minute as LATE
	h.clock.Advance(2 * time.Second)
	for _, d := range h.want.Definitions[k] {
		h.act(scheduler, k, "disable", d.ID) // skips as DISABLED
	}
	e := executor{scheduler, h.db.SQL(), "worker"}
	executeBatch := e.executeRuns
	if k == engineHost {
		executeBatch = e.executeEngine
	}
	for n := 1; n > 0; {
		n, err = executeBatch(ctx)
		require.NoError(h, err)
	}
}

// act performs an operator action and records it as the driver does.
func (h *history) act(scheduler *hourbell.Scheduler, k hostKind, verb, id string) {
	a := operatorAction{
		Namespace: string(k), Schedule: id, Verb: verb, Actor: "ann", Note: string(k) + " " + verb + " " + id,
		Sent: h.clock.Now(), Done: h.clock.Now(), Status: 200,
	}
	change := hourbell.ChangeOptions{Actor: a.Actor, Note: a.Note}
	var err error
	switch verb {
	case "enable":
		err = scheduler.Enable(h.Context(), id, change)
	case "disable":
		err = scheduler.Disable(h.Context(), id, change)
	case "run":
		a.Key = "key of " + a.Note
		var runs []hourbell.JobRun
		runs, err = scheduler.RunNow(h.Context(), id, hourbell.EnqueueOptions{Actor: a.Actor, Note: a.Note, IdempotencyKey: a.Key})
		for _, run := range runs {
			a.Runs = append(a.Runs, run.ID)
		}
	}
	require.NoError(h, err)
	h.want.Actions = append(h.want.Actions, a)
}

func TestCheckerAcceptsValidHistory(t *testing.T) {
	h := newHistory(t)
	r, err := check(t.Context(), h.db.SQL(), h.want)
	require.NoError(t, err)
	require.Empty(t, r.violations)
	require.Positive(t, r.fired)
	for _, reason := range []hourbell.SkipReason{hourbell.SkipLate, hourbell.SkipSuperseded, hourbell.SkipDisabled} {
		require.Positive(t, r.skipped[reason], reason)
	}
	total := r.fired
	for _, n := range r.skipped {
		total += n
	}
	require.Equal(t, r.slots, total)
}

// Each case breaks a valid history in one way, and rolls the change back.
func TestCheckerReportsEachViolation(t *testing.T) {
	h := newHistory(t)
	const firstRun = `(SELECT min(id) FROM hourbell_job_runs WHERE namespace = 'table' AND schedule_id = 's000' AND trigger = 'CRON')`
	const copyRun = `INSERT INTO hourbell_job_runs (namespace, job, job_group, trigger, schedule_id, scheduled_for, ordinal, status, queued_at, finished_at,
		leased_by, attempt, actor, idempotency_key) SELECT namespace, job, job_group, trigger, schedule_id, scheduled_for, ordinal, status, queued_at, finished_at,
		leased_by, attempt, actor, idempotency_key FROM hourbell_job_runs WHERE `
	for name, c := range map[string]struct{ change, want string }{
		"run missing":                 {`DELETE FROM hourbell_job_runs WHERE id = ` + firstRun, `table/s000: the slot .* is lost`},
		"one of several runs missing": {`DELETE FROM hourbell_job_runs WHERE id = (SELECT max(id) FROM hourbell_job_runs WHERE schedule_id = 's004' AND trigger = 'CRON')`, `has runs of import with ordinals 0; its target is import publish`},
		"slot fired twice":            {`DROP INDEX hourbell_job_runs_fire; ` + copyRun + ` id = ` + firstRun, `has runs of report report`},
		"skipped slot fired":          {`UPDATE hourbell_events SET slot_from = slot_from - interval '1 second', slot_count = slot_count + 1 WHERE kind = 'SKIPPED' AND schedule_id = 's000' AND namespace = 'table' AND reason = 'SUPERSEDED'`, `has 2 outcomes: fired and skipped by event`},
		"skip missing":                {`DELETE FROM hourbell_events WHERE id = (SELECT min(id) FROM hourbell_events WHERE kind = 'SKIPPED')`, `is lost`},
		"wrong count of a skip":       {`UPDATE hourbell_events SET slot_count = slot_count + 1 WHERE id = (SELECT min(id) FROM hourbell_events WHERE kind = 'SKIPPED')`, `skipped slots from .* there are`},
		"wrong reason of a skip":      {`UPDATE hourbell_events SET reason = 'LATE' WHERE reason = 'SUPERSEDED'`, `reason LATE .* its last slot was within grace`},
		"claim abandoned too early":   {`UPDATE hourbell_events SET reason = 'ABANDONED' WHERE reason = 'SUPERSEDED'`, `reason ABANDONED .* too early to abandon a claim`},
		"schedule not changed":        {`UPDATE hourbell_events SET reason = 'CHANGED' WHERE reason = 'SUPERSEDED'`, `no schedule was changed or removed`},
		"early fire":                  {`UPDATE hourbell_job_runs SET queued_at = scheduled_for - interval '1 millisecond' WHERE id = ` + firstRun, `fired early`},
		"fire without a slot":         {`UPDATE hourbell_job_runs SET scheduled_for = scheduled_for - interval '1 hour' WHERE id = ` + firstRun, `was disabled or has no such slot`},
		"lock left":                   {`UPDATE hourbell_schedules SET locked_by = 'worker-x', locked_at = now() WHERE namespace = 'table' AND id = 's002'`, `a lock, .* is left: table/s002: locked_by worker-x`},
		"unfinished claim left":       {`UPDATE hourbell_schedules SET unfinished_since = now() WHERE namespace = 'engine' AND id = 's002'`, `engine/s002: .* unfinished_since 2`},
		"run not executed":            {`DELETE FROM chaos_executed WHERE run_id = ` + firstRun, `not executed to its end`},
		"run still running":           {`UPDATE hourbell_job_runs SET status = 'RUNNING' WHERE id = ` + firstRun, `not executed to its end: run \d+ is RUNNING`},
		"attempt of two workers":      {`INSERT INTO chaos_executed SELECT run_id, attempt, 'another' FROM chaos_executed LIMIT 1`, `two workers had the same attempt`},
		"run missing in the engine":   {`DELETE FROM chaos_engine WHERE seq = (SELECT min(seq) FROM chaos_engine)`, `the engine does not have a run exactly once`},
		"run twice in the engine":     {`INSERT INTO chaos_engine (run_id, key, done_at) SELECT run_id, key, done_at FROM chaos_engine LIMIT 1`, `the engine has a run twice`},
		"unknown run in the engine":   {`INSERT INTO chaos_engine (run_id, key) VALUES (987654, 'engine/s000@x/report')`, `or one that does not exist`},
		"operator's event missing":    {`DELETE FROM hourbell_events WHERE kind = 'ENABLED' AND schedule_id = 's003' AND namespace = 'table'`, `the change at .* has no event|event \d+ is DISABLED`},
		"wrong actor of an event":     {`UPDATE hourbell_events SET actor = 'bob' WHERE kind = 'RUN_NOW'`, `has event \d+: RUN_NOW of .* by bob`},
		"event without an action":     {`INSERT INTO hourbell_events (namespace, schedule_id, kind, at, actor, note) VALUES ('table', 's000', 'UNLOCKED', now(), 'eve', 'unknown')`, `belongs to no action`},
		"event without its runs":      {`DELETE FROM hourbell_job_runs WHERE trigger = 'MANUAL'`, `has 0 runs and 1 events`},
		"request enqueued twice":      {`DROP INDEX hourbell_job_runs_request; ` + copyRun + ` trigger = 'MANUAL' AND namespace = 'table'`, `has runs of report report; the target is report`},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := h.db.SQL().BeginTx(t.Context(), nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, tx.Rollback()) }()
			for statement := range strings.SplitSeq(c.change, ";") {
				done, err := tx.ExecContext(t.Context(), statement)
				require.NoError(t, err)
				changed, err := done.RowsAffected()
				require.NoError(t, err)
				require.True(t, changed > 0 || strings.HasPrefix(statement, "DROP"), "changed nothing: %s", statement)
			}
			r, err := check(t.Context(), tx, h.want)
			require.NoError(t, err)
			require.NotEmpty(t, r.violations)
			require.Regexp(t, c.want, strings.Join(r.violations, "\n"))
		})
	}
}

// The responses report more than the tables show.
func TestCheckerReportsFalseResponses(t *testing.T) {
	h := newHistory(t)
	for want, a := range map[string]operatorAction{
		"has no event, although it changed the schedule":         {Verb: "enable", Note: "new", Status: 200},
		`has 0 runs and 0 events|runs \[12345\] in its response`: {Verb: "run", Note: "new", Key: "new", Status: 201, Runs: []int64{12345}},
		"unexpected response":                                    {Verb: "enable", Note: "new", Status: 500},
	} {
		a.Namespace, a.Schedule, a.Actor, a.Sent, a.Done = "table", "s003", "ann", h.clock.Now().Add(time.Minute), h.clock.Now().Add(time.Minute)
		with := expected{h.want.Definitions, append(slices.Clone(h.want.Actions), a)}
		r, err := check(t.Context(), h.db.SQL(), with)
		require.NoError(t, err)
		require.Regexp(t, want, strings.Join(r.violations, "\n"))
	}
}

// The response reports that nothing changed, but there are runs.
func TestCheckerReportsRunsOfFailedRequest(t *testing.T) {
	h := newHistory(t)
	for i := range h.want.Actions {
		if a := &h.want.Actions[i]; a.Verb == "run" && a.Namespace == "engine" {
			a.Status = 500
		}
	}
	r, err := check(t.Context(), h.db.SQL(), h.want)
	require.NoError(t, err)
	require.Regexp(t, "every response reports that nothing changed", strings.Join(r.violations, "\n"))
}
