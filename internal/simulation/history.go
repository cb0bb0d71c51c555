package simulation

import (
	"fmt"
	"strings"
	"time"
)

// line is one line of a recorded history.
type line struct {
	text    string
	routine bool // may be left out
	changes int  // length of Database.Log when it was written
}

// note records a line that is never left out. a may be nil.
func (sim *simulator) note(a *actor, operation, details string) {
	sim.write(a, operation, details, false)
}

func (sim *simulator) write(a *actor, operation, details string, routine bool) {
	if !sim.recording {
		return
	}
	name := "simulator"
	if a != nil {
		name = a.name
	}
	text := fmt.Sprintf("%-12s %10v  %-12s %-16s %s", formatTime(sim.db.Now), sim.db.Elapsed.Round(time.Millisecond), name, operation, details)
	sim.history = append(sim.history, line{text, routine, len(sim.db.Log)})
}

// fullLines is the number of lines at the end of a history that include
// routine.
const fullLines = 50

// historyText returns the history up to the change that caused the violation.
// Of earlier routine steps it gives only the number.
func (sim *simulator) historyText(v *Violation) string {
	end := len(sim.history)
	for i, l := range sim.history {
		if v != nil && v.change > 0 && l.changes >= v.change {
			end = i + 1
			break
		}
	}
	var text strings.Builder
	omitted := 0
	for i, l := range sim.history[:end] {
		if l.routine && i < end-fullLines {
			omitted++
			continue
		}
		if omitted > 0 {
			fmt.Fprintf(&text, "%26s… %d steps …\n", "", omitted)
			omitted = 0
		}
		text.WriteString(l.text + "\n")
	}
	return text.String()
}
