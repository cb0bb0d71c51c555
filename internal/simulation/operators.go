package simulation

import (
	"context"
	"fmt"

	"github.com/hourbell/hourbell"
)

// operatorAction is a call that an operator makes, with its result.
type operatorAction struct {
	kind, id, note string
	logStart       int // length of Database.Log when the call began
	logEnd         int // and when it returned
	ended          bool
	err            error
}

// startOperatorAction draws an action and starts an actor that performs it.
func (sim *simulator) startOperatorAction() {
	kind := oneOf(sim.choices, "disable", "enable", "unlock", "run now")
	id := sim.drawScheduleID()
	sim.created++
	name := fmt.Sprintf("operator%d", sim.created)
	sim.actions = append(sim.actions, operatorAction{kind: kind, id: id, note: "note of " + name})
	i := len(sim.actions) - 1
	sim.note(nil, "operator", fmt.Sprintf("%s: %s %s", name, kind, id))
	sim.startActor(name, sim.newest, -1, 0, func(a *actor) {
		sim.actions[i].logStart = len(sim.db.Log)
		_, scheduler := sim.newScheduler(a, 0)
		err := perform(scheduler, kind, id, hourbell.ChangeOptions{Actor: "operator", Note: sim.actions[i].note})
		action := &sim.actions[i]
		action.logEnd, action.ended, action.err = len(sim.db.Log), true, err
		sim.note(a, "response", fmt.Sprint(kind, " ", id, ": ", err))
	})
}

func perform(scheduler *hourbell.Scheduler, kind, id string, opts hourbell.ChangeOptions) error {
	ctx := context.Background()
	switch kind {
	case "disable":
		return scheduler.Disable(ctx, id, opts)
	case "enable":
		return scheduler.Enable(ctx, id, opts)
	case "unlock":
		return scheduler.Unlock(ctx, id, opts)
	}
	_, err := scheduler.RunNow(ctx, id, hourbell.EnqueueOptions{Actor: opts.Actor, Note: opts.Note})
	return err
}
