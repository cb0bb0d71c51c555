package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
)

// manualRun is a run with the trigger MANUAL.
type manualRun struct {
	id       int64
	schedule scheduleName
	job      string
	actor    string
}

func (r *result) readManualRuns(ctx context.Context, db queryer) error {
	r.manualRuns = map[string][]manualRun{}
	return queryEach(ctx, db, func(rows *sql.Rows) error {
		var run manualRun
		var key string
		err := rows.Scan(&run.id, &run.schedule.Namespace, &run.schedule.ID, &run.job, &run.actor, &key)
		r.manualRuns[key] = append(r.manualRuns[key], run)
		return err
	}, `SELECT id, namespace, COALESCE(schedule_id, ''), job, COALESCE(actor, ''), COALESCE(idempotency_key, '') FROM hourbell_job_runs
		WHERE trigger = 'MANUAL' ORDER BY idempotency_key, ordinal`)
}

// eventKinds maps the verb of an operator action to the kind of its event.
var eventKinds = map[string]hourbell.EventKind{
	"enable": hourbell.EventEnabled, "disable": hourbell.EventDisabled, "unlock": hourbell.EventUnlocked, "run": hourbell.EventRunNow,
}

// checkActions compares the operators' actions with the events and runs.
func (r *result) checkActions(list []operatorAction, definitions map[scheduleName]hourbell.Definition) {
	events := map[string][]event{} // of operators, by note
	for _, e := range r.events {
		switch e.kind {
		case hourbell.EventEnabled, hourbell.EventDisabled, hourbell.EventUnlocked, hourbell.EventRunNow:
			events[e.note] = append(events[e.note], e)
		}
	}
	byKey := map[string][]operatorAction{}
	for _, a := range list {
		r.countAction(a)
		if a.Key != "" {
			byKey[a.Key] = append(byKey[a.Key], a)
			continue
		}
		r.checkAction(a, events[a.Note])
		delete(events, a.Note)
	}
	for key, repeats := range byKey {
		r.checkKey(key, repeats, events[repeats[0].Note], definitions)
		delete(events, repeats[0].Note)
		delete(r.manualRuns, key)
	}
	for note, rest := range events {
		e := rest[0]
		r.violation("%v: event %d (%s by %s, note %q) belongs to no action", e.schedule, e.id, e.kind, e.actor, note)
	}
	for key, runs := range r.manualRuns {
		r.violation("%v: run %d with the idempotency key %q belongs to no action", runs[0].schedule, runs[0].id, key)
	}
}

// countAction counts an action by its response, and reports a response that is
// never right.
func (r *result) countAction(a operatorAction) {
	switch {
	case a.Status == 0:
		r.actions["response lost"]++
	case a.succeeded():
		r.actions[a.Verb+", done"]++
	case a.Status == 409, a.Status == 503:
		r.actions[fmt.Sprintf("refused for now (%d)", a.Status)]++
	case a.Status == 500 && a.Verb == "run" && a.Namespace == string(engineHost):
		r.actions["refused, the Enqueuer exceeded its deadline (500)"]++ // the host's Enqueuer waits for the database
	default:
		r.violation("unexpected response: %v", a)
	}
}

// checkAction checks the event of an action without a key. An action that
// succeeded must have one, unless it changed nothing.
func (r *result) checkAction(a operatorAction, events []event) {
	r.checkEvent(a, events)
	if a.Verb == "unlock" && len(events) > 0 {
		r.actions["unlock, there was a lock"]++
	}
	switch {
	case len(events) > 0 || !a.succeeded() || a.Verb == "unlock": // unlock without an event: there may have been no lock
	case !r.changedNothing(a):
		r.violation("%v has no event, although it changed the schedule", a)
	default:
		r.actions[a.Verb+", changed nothing"]++
	}
}

// checkEvent checks that an action has at most one event, and that its kind,
// schedule and actor are right.
func (r *result) checkEvent(a operatorAction, events []event) {
	if len(events) > 1 {
		r.violation("%v has %d events", a, len(events))
	}
	for _, e := range events {
		if e.actor != a.Actor || e.kind != eventKinds[a.Verb] || e.schedule != (scheduleName{a.Namespace, a.Schedule}) {
			r.violation("%v has event %d: %s of %v by %s", a, e.id, e.kind, e.schedule, e.actor)
		}
	}
}

// commitDelay limits the time from a change's timestamp to its commit. Until
// then other transactions still see the old state.
const commitDelay = 10 * time.Second

// changedNothing reports whether the schedule may have been in the wanted state
// already at some time during the action.
func (r *result) changedNothing(a operatorAction) bool {
	want := a.Verb == "enable"
	found := false
	for _, change := range r.enableChanges[scheduleName{a.Namespace, a.Schedule}] {
		if change.at.After(a.Done) {
			break
		}
		if change.at.Before(a.Sent.Add(-commitDelay)) {
			found = false
		}
		found = found || change.enabled == want
	}
	return found
}

// checkKey checks the runs and the event of all actions with one idempotency
// key: every run of the target once and one event, or nothing if none of the
// actions succeeded.
func (r *result) checkKey(key string, repeats []operatorAction, events []event, definitions map[scheduleName]hourbell.Definition) {
	a, runs := repeats[0], r.manualRuns[key]
	name := scheduleName{a.Namespace, a.Schedule}
	r.checkEvent(a, events)
	if len(events) != min(len(runs), 1) {
		r.violation("%v has %d runs and %d events", a, len(runs), len(events))
	}
	if len(runs) > 0 && !slices.ContainsFunc(repeats, func(a operatorAction) bool { return a.Status != 500 }) {
		r.violation("%v has %d runs, although every response reports that nothing changed", a, len(runs))
	}
	var ids []int64
	var jobs []string
	for _, run := range runs {
		ids, jobs = append(ids, run.id), append(jobs, run.job)
		if run.actor != a.Actor || run.schedule != name {
			r.violation("%v has run %d of %v by %s", a, run.id, run.schedule, run.actor)
		}
	}
	target := jobsOf(definitions[name].Target)
	if len(runs) > 0 && !slices.Equal(jobs, target) {
		r.violation("%v has runs of %s; the target is %s", a, strings.Join(jobs, " "), strings.Join(target, " "))
	}
	for _, a := range repeats {
		if a.succeeded() && !slices.Equal(a.Runs, ids) {
			r.violation("%v has the runs %v in its response, and %v in the table", a, a.Runs, ids)
		}
	}
}
