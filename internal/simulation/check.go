package simulation

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/simulation/model"
)

// Violation is a guarantee that a history violates.
type Violation struct {
	Kind    ViolationKind
	Details string

	change int // position in Database.Log of the change that caused it, from 1; 0 if none
}

// ViolationKind describes a kind of violation.
type ViolationKind string

// The kinds of violations.
const (
	FiredTwice    ViolationKind = "a slot fired twice"
	RecordedTwice ViolationKind = "a slot has two outcomes"
	Lost          ViolationKind = "a slot has no outcome"
	Early         ViolationKind = "a slot fired or was skipped early"
	Inactive      ViolationKind = "a slot fired or was skipped after its schedule was stopped or changed"
	NotASlot      ViolationKind = "a time fired or was skipped that is not a slot of the schedule"
	NotLatest     ViolationKind = "a slot fired that was not the latest"
	Late          ViolationKind = "a slot fired out of grace without an unfinished claim"
	Delayed       ViolationKind = "a slot fired late although there were no faults"
	NotFired      ViolationKind = "the slot of an unfinished claim was skipped"
	WrongJobs     ViolationKind = "a slot enqueued the wrong jobs"
	WrongReason   ViolationKind = "a skip has the wrong reason"
	WrongCount    ViolationKind = "a skip has the wrong count"
	MissingEvent  ViolationKind = "an operator's or a deploy's change has no event"
	NoEffect      ViolationKind = "a call succeeded without effect"
	Stuck         ViolationKind = "a row is stuck"
	LeftOver      ViolationKind = "a lock, an unfinished claim or a backoff remains"
	NotCompleted  ViolationKind = "the history did not complete"
	NotSynced     ViolationKind = "the stored definitions are not the newest"
)

func (v *Violation) String() string { return string(v.Kind) + ": " + v.Details }

// check returns the first violation in the history, or nil.
func (sim *simulator) check() *Violation {
	runs, events := map[string]map[int][]model.Run{}, map[string]map[int][]model.Event{}
	for _, r := range sim.db.Runs {
		if r.Trigger == hourbell.TriggerCron {
			group(runs, r.ScheduleID, r.Tx, r)
		}
	}
	for _, e := range sim.db.Events {
		group(events, e.ScheduleID, e.Tx, e)
	}
	ledgers, expressions, records := map[string]*ledger{}, map[expression]cron.Schedule{}, map[string]*slotRecord{}
	for i, c := range sim.db.Log {
		id := c.After.ID
		l := ledgers[id]
		if l == nil {
			original := strings.TrimPrefix(id, renamedPrefix)
			if records[original] == nil {
				records[original] = &slotRecord{outcomes: map[time.Time]string{}}
			}
			l = &ledger{simulator: sim, id: id, runs: runs[id], events: events[id], slotRecord: records[original], expressions: expressions}
			ledgers[id] = l
		}
		l.row = c.Before
		if former := ledgers[c.After.FormerID]; c.Operation == "insert-schedules" && former != nil {
			l.takeOver(former, c.After)
		}
		l.apply(c)
		if l.violation != nil {
			l.violation.change = i + 1
			return l.violation
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ledgers)) {
		l := ledgers[id]
		if l.finish(); l.violation != nil {
			return l.violation
		}
	}
	return sim.checkActions()
}

// group adds a row to those of a schedule and a transaction.
func group[Row any](rows map[string]map[int][]Row, id string, tx int, row Row) {
	if rows[id] == nil {
		rows[id] = map[int][]Row{}
	}
	rows[id][tx] = append(rows[id][tx], row)
}
