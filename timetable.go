package hourbell

import (
	"slices"
	"sort"
	"time"

	"github.com/hourbell/hourbell/cron"
)

// timetable knows the coming slots of what is declared here, worked out while nothing is due: at the instant itself
// there is no time for it. It judges nothing. It is not safe for concurrent use.
type timetable []*line

// line is one expression in one zone, with the definitions that share it.
type line struct {
	slots        cron.Schedule
	definitions  []*definition
	coming, then time.Time // the next two slots after the instant that the line was moved to; zero before it ever was
}

// never is a slot that does not come.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func newTimetable(definitions map[string]*definition) timetable {
	var table timetable
	known := map[[2]string]*line{}
	for _, d := range definitions {
		key := [2]string{d.Cron, d.TimeZone}
		if known[key] == nil {
			known[key] = &line{slots: d.slots}
			table = append(table, known[key])
		}
		known[key].definitions = append(known[key].definitions, d)
	}
	for _, l := range table {
		sort.Slice(l.definitions, func(i, j int) bool { return l.definitions[i].ID < l.definitions[j].ID })
	}
	// The same order in every process and at every start, so that batches are the same too.
	sort.Slice(table, func(i, j int) bool { return table[i].definitions[0].ID < table[j].definitions[0].ID })
	return table
}

// arrival is a definition whose coming slot has come.
type arrival struct {
	*definition
	at *line
}

// due are the definitions whose coming slot is the latest at an instant, those of a line together.
func (t timetable) due(at time.Time) (due []arrival) {
	for _, l := range t {
		if l.coming.IsZero() || l.coming.After(at) || !l.then.After(at) {
			continue
		}
		due = slices.Grow(due, len(l.definitions))
		for _, d := range l.definitions {
			due = append(due, arrival{d, l})
		}
	}
	return due
}

// moveTo brings the table to an instant up to which everything has been dealt with.
func (t timetable) moveTo(at time.Time) {
	for _, l := range t {
		switch {
		case l.coming.After(at):
			continue
		case l.then.After(at):
			l.coming = l.then
		default:
			l.coming = l.after(at)
		}
		l.then = l.after(l.coming)
	}
}

func (l *line) after(t time.Time) time.Time {
	next, err := l.slots.Next(t)
	if err != nil {
		return never
	}
	return next
}
