package simulation

import (
	"context"
	"fmt"

	"github.com/hourbell/hourbell"
)

// click is what a person asked for, and what came of it.
type click struct {
	kind, id, note string
	from, to       int // how long the log of changes was when it began and ended
	ended          bool
	err            error
}

// click lets a person ask for something.
func (w *world) click() {
	kind := oneOf(w.tape, "disable", "enable", "unlock", "run now")
	id := w.someID()
	w.births++
	name := fmt.Sprintf("person%d", w.births)
	w.clicks = append(w.clicks, click{kind: kind, id: id, note: "by " + name})
	n := len(w.clicks) - 1
	w.note(nil, "click", fmt.Sprintf("%s: %s %s", name, kind, id))
	w.begin(name, w.newest, -1, 0, func(a *actor) {
		w.clicks[n].from = len(w.db.Log)
		_, s := w.scheduler(a, 0)
		err := ask(s, kind, id, hourbell.By{Actor: "person", Note: w.clicks[n].note})
		c := &w.clicks[n]
		c.to, c.ended, c.err = len(w.db.Log), true, err
		w.note(a, "answer", fmt.Sprint(kind, " ", id, ": ", err))
	})
}

func ask(s *hourbell.Scheduler, kind, id string, by hourbell.By) error {
	ctx := context.Background()
	switch kind {
	case "disable":
		return s.Disable(ctx, id, by)
	case "enable":
		return s.Enable(ctx, id, by)
	case "unlock":
		return s.Unlock(ctx, id, by)
	}
	_, err := s.RunNow(ctx, id, hourbell.EnqueueOptions{By: by})
	return err
}
