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

// request is a run that somebody asked for.
type request struct {
	id    int64
	of    name
	job   string
	actor string
}

func (r *result) readRequests(ctx context.Context, db queryer) error {
	r.requests = map[string][]request{}
	return each(ctx, db, func(rows *sql.Rows) error {
		var q request
		var key string
		err := rows.Scan(&q.id, &q.of.Namespace, &q.of.ID, &q.job, &q.actor, &key)
		r.requests[key] = append(r.requests[key], q)
		return err
	}, `SELECT id, namespace, COALESCE(schedule_id, ''), job, COALESCE(actor, ''), COALESCE(request_key, '') FROM hourbell_job_runs
		WHERE trigger = 'MANUAL' ORDER BY request_key, ordinal`)
}

// kindOf is the event that an action leaves.
var kindOf = map[string]string{"enable": "ENABLED", "disable": "DISABLED", "unlock": "UNLOCKED", "run": "RUN_NOW"}

// checkClicks holds what people did against the events and the runs.
func (r *result) checkClicks(list []click, declared map[name]hourbell.Definition) {
	events := map[string][]event{} // by note, those that people leave
	for _, e := range r.events {
		if slices.Contains([]string{"ENABLED", "DISABLED", "UNLOCKED", "RUN_NOW"}, e.kind) {
			events[e.note] = append(events[e.note], e)
		}
	}
	byKey := map[string][]click{}
	for _, c := range list {
		r.count(c)
		if c.Key != "" {
			byKey[c.Key] = append(byKey[c.Key], c)
			continue
		}
		r.checkClick(c, events[c.Note])
		delete(events, c.Note)
	}
	for key, same := range byKey {
		r.checkRequest(key, same, events[same[0].Note], declared)
		delete(events, same[0].Note)
		delete(r.requests, key)
	}
	for note, left := range events {
		r.wrong("%v: event %d says %s by %s with the note %q, and nobody did that", left[0].of, left[0].id, left[0].kind, left[0].actor, note)
	}
	for key, runs := range r.requests {
		r.wrong("%v: run %d has the request key %q, and nobody asked for it", runs[0].of, runs[0].id, key)
	}
}

// count counts a click by its answer. Some answers are never right.
func (r *result) count(c click) {
	switch {
	case c.Status == 0:
		r.clicks["answer lost"]++
	case c.Status/100 == 2:
		r.clicks[c.Action+", done"]++
	case c.Status == 409, c.Status == 503:
		r.clicks[fmt.Sprintf("refused for now (%d)", c.Status)]++
	case c.Status == 500 && c.Action == "run" && c.Namespace == string(engineHost):
		r.clicks["refused, the Enqueuer was too late (500)"]++ // it is the host's, and was waiting for the database
	default:
		r.wrong("an answer that was not called for: %v", c)
	}
}

// checkClick checks what one request has left. If it was answered, then an event, unless there was nothing to do.
func (r *result) checkClick(c click, events []event) {
	r.checkTrace(c, events)
	if c.Action == "unlock" && len(events) > 0 {
		r.clicks["unlock, there was a lock"]++
	}
	switch {
	case len(events) > 0 || c.Status/100 != 2 || c.Action == "unlock": // there may have been no lock
	case !r.wasSo(c):
		r.wrong("%v, and no event has its note although the schedule was not so before", c)
	default:
		r.clicks[c.Action+", nothing to do"]++
	}
}

// checkTrace checks that there is one event at most, and that it is the request's own.
func (r *result) checkTrace(c click, events []event) {
	if len(events) > 1 {
		r.wrong("%v has left %d events", c, len(events))
	}
	for _, e := range events {
		if e.actor != c.Actor || e.kind != kindOf[c.Action] || e.of != (name{c.Namespace, c.Schedule}) {
			r.wrong("%v has left event %d: %s of %v by %s", c, e.id, e.kind, e.of, e.actor)
		}
	}
}

// unseen is how long a change may have been made and not yet be committed, so that others did not see it.
const unseen = 10 * time.Second

// wasSo says whether the schedule was as the click wants it, at any time while it was under way.
func (r *result) wasSo(c click) bool {
	want := c.Action == "enable"
	so := false
	for _, s := range r.switches[name{c.Namespace, c.Schedule}] {
		if s.at.After(c.Answered) {
			break
		}
		if s.at.Before(c.Sent.Add(-unseen)) {
			so = false
		}
		so = so || s.enabled == want
	}
	return so
}

// checkRequest checks what the requests with one key have left: all runs of the target once, and one event; or
// nothing, if none of them was told that it was done.
func (r *result) checkRequest(key string, same []click, events []event, declared map[name]hourbell.Definition) {
	c, runs := same[0], r.requests[key]
	r.checkTrace(c, events)
	if len(events) != min(len(runs), 1) {
		r.wrong("%v has left %d runs and %d events", c, len(runs), len(events))
	}
	if len(runs) > 0 && !slices.ContainsFunc(same, func(c click) bool { return c.Status != 500 }) {
		r.wrong("%v has left %d runs; the answer says that nothing was changed", c, len(runs))
	}
	var ids []int64
	var jobs []string
	for _, run := range runs {
		ids, jobs = append(ids, run.id), append(jobs, run.job)
		if run.actor != c.Actor || run.of != (name{c.Namespace, c.Schedule}) {
			r.wrong("%v has left run %d of %v by %s", c, run.id, run.of, run.actor)
		}
	}
	target := jobsOf(declared[name{c.Namespace, c.Schedule}].Target)
	if len(runs) > 0 && !slices.Equal(jobs, target) {
		r.wrong("%v has left runs of %s; the target is %s", c, strings.Join(jobs, " "), strings.Join(target, " "))
	}
	for _, c := range same {
		if c.Status/100 == 2 && !slices.Equal(c.Runs, ids) {
			r.wrong("%v was answered with the runs %v; there are %v", c, c.Runs, ids)
		}
	}
}
