package simulation

import (
	"fmt"
	"strings"
	"time"
)

// line is a line of a history.
type line struct {
	text    string
	routine bool // it went as it always does
	changes int  // how long the log of changes was by then
}

// note writes a line of the history, where it is to be told.
func (w *world) note(a *actor, verb, what string) { w.write(a, verb, what, false) }

func (w *world) write(a *actor, verb, what string, routine bool) {
	if !w.told {
		return
	}
	name := "world"
	if a != nil {
		name = a.name
	}
	text := fmt.Sprintf("%-12s %10v  %-10s %-13s %s", clock(w.db.Now), w.db.Elapsed.Round(time.Millisecond), name, verb, what)
	w.history = append(w.history, line{text, routine, len(w.db.Log)})
}

// lastLines is how much of what went as always is told, before what is told of last.
const lastLines = 50

// tell is the history up to the change at which something was found to be wrong; of what went as always long before, it
// says how many steps it were.
func (w *world) tell(v *Violation) string {
	end := len(w.history)
	for i, l := range w.history {
		if v != nil && v.change > 0 && l.changes >= v.change {
			end = i + 1
			break
		}
	}
	var text strings.Builder
	left := 0
	for i, l := range w.history[:end] {
		if l.routine && i < end-lastLines {
			left++
			continue
		}
		if left > 0 {
			fmt.Fprintf(&text, "%26s… %d steps …\n", "", left)
			left = 0
		}
		text.WriteString(l.text + "\n")
	}
	return text.String()
}
