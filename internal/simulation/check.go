package simulation

import (
	"maps"
	"slices"
	"time"

	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/simulation/model"
)

// Violation is a promise that a history has broken.
type Violation struct {
	Kind string // one of those below
	What string
	// change is the place in the log of the change that broke it, from 1; 0 for none.
	change int
}

// What can be wrong with a history.
const (
	FiredTwice   = "a slot fired twice"
	CountedTwice = "a slot is in the account twice"
	Lost         = "a slot is lost"
	Early        = "a slot fired early"
	NotEnabled   = "a slot fired that was stopped or changed"
	NoSlot       = "something fired or was skipped that is no slot of the schedule"
	NotLatest    = "a slot fired that was not the latest"
	Late         = "a slot fired late and was not owed"
	Tardy        = "a slot did not fire at its instant though all was well"
	Owed         = "a slot that was owed did not fire"
	WrongJobs    = "the wrong jobs were enqueued"
	WrongReason  = "a skip gives the wrong reason"
	WrongCount   = "a skip counts wrongly"
	NoEvent      = "something a person or a deploy did left no event"
	NoEffect     = "a call returned without effect"
	KeptForEver  = "a row was kept for ever"
	LeftOver     = "a lock, a debt or a back-off is left over"
	NoEnd        = "the history did not end well"
	Unsynced     = "the newest definitions are not those stored"
)

func (v *Violation) String() string { return v.Kind + ": " + v.What }

// check finds the first promise that a history has broken, or nil.
func (w *world) check() *Violation {
	runs, events := map[string]map[int][]model.Run{}, map[string]map[int][]model.Event{}
	for _, r := range w.db.Runs {
		if r.Trigger == "CRON" {
			put(runs, r.ScheduleID, r.Tx, r)
		}
	}
	for _, e := range w.db.Events {
		put(events, e.ScheduleID, e.Tx, e)
	}
	accounts, calendars := map[string]*account{}, map[[2]string]cron.Schedule{}
	for i, c := range w.db.Log {
		id := c.After.ID
		if accounts[id] == nil {
			accounts[id] = &account{world: w, id: id, runs: runs[id], events: events[id], taken: map[time.Time]string{}, calendars: calendars}
		}
		a := accounts[id]
		a.row = c.Before
		a.look(c)
		if a.found != nil {
			a.found.change = i + 1
			return a.found
		}
	}
	for _, id := range slices.Sorted(maps.Keys(accounts)) {
		if accounts[id].end(); accounts[id].found != nil {
			return accounts[id].found
		}
	}
	return w.checkClicks()
}

func put[Row any](rows map[string]map[int][]Row, id string, tx int, row Row) {
	if rows[id] == nil {
		rows[id] = map[int][]Row{}
	}
	rows[id][tx] = append(rows[id][tx], row)
}
