package admin

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hourbell/hourbell"
)

// The timeline has a lane for each schedule: what became of the slots of the last hours, and those of the hours to come.
const (
	reach   = 12 * time.Hour // to either side of now
	cell    = 15 * time.Minute
	tickGap = 3 * time.Hour
	crowded = 16 // more marks than that, on either side, are drawn as bands
)

type timeline struct {
	Ticks []tick
	Lanes []lane
}

// tick is a full hour on the scale.
type tick struct {
	moment
	X, Label string
	Near     bool // to now: in a narrow window there is no room for both
}

// lane is a schedule's.
type lane struct {
	ID, Name, Text string
	Dim            bool // it does not fire
	Marks          []mark
	Bands          []band
}

// mark is a slot, or a request to run the schedule now.
type mark struct{ X, Kind, Text string }

// band is a stretch of time.
type band struct{ X, Width, Kind, Text string }

func timelineOf(list []shown, at time.Time) timeline {
	t := timeline{Lanes: each(list, func(s shown) lane { return laneOf(s, at) })}
	for hour := at.Add(-reach).Truncate(tickGap).Add(tickGap); hour.Before(at.Add(reach)); hour = hour.Add(tickGap) {
		if hour.Sub(at).Abs() > time.Hour { // not over "now"
			t.Ticks = append(t.Ticks, tick{moment{hour, at}, share(hour, at), hour.UTC().Format("15:04"), hour.Sub(at).Abs() < tickGap})
		}
	}
	return t
}

// share is where an instant is, as a share of the width.
func share(t, at time.Time) string { return percent(t.Sub(at.Add(-reach))) }

func percent(d time.Duration) string {
	return strconv.FormatFloat(min(100, max(0, 100*d.Hours()/(2*reach).Hours())), 'f', 2, 64) + "%"
}

func laneOf(s shown, at time.Time) lane {
	zone := time.UTC
	if s.slots != nil {
		zone = s.slots.Location()
	}
	l := lane{ID: s.ID, Name: s.Name, Dim: s.State != "ENABLED"}
	past := inReach(s.outcomes, at)
	coming, more := comingSlots(s, at)

	if len(past) > crowded {
		l.Bands = pastBands(past, at, zone)
	} else {
		for _, o := range past {
			if o.Kind == "SKIPPED" && o.SlotTo.Sub(o.SlotFrom) > cell {
				l.Bands = append(l.Bands, bandOf(o.SlotFrom, o.SlotTo, at, "skipped", outcomeWords(o, zone, at)))
				continue
			}
			l.Marks = append(l.Marks, mark{share(momentOf(o), at), kindOf(o), outcomeWords(o, zone, at)})
		}
	}
	if len(past) == drawn || len(s.outcomes) == drawn && len(past) == len(s.outcomes) {
		oldest := momentOf(past[0])
		l.Bands = append(l.Bands, bandOf(at.Add(-reach), oldest, at, "untold", "before "+clockFace(oldest, zone, at)+": not shown here, there is more than fits"))
	}
	if s.Enabled && s.State == "ENABLED" && !s.NextRunAt.IsZero() && !s.NextRunAt.After(at) {
		l.Marks = append(l.Marks, mark{share(s.NextRunAt.Time, at), "due", clockFace(s.NextRunAt.Time, zone, at) + ": due, not fired yet"})
	}
	if more {
		l.Bands = append(l.Bands, comingBands(s, at, zone)...)
	} else {
		for _, slot := range coming {
			text := clockFace(slot, zone, at) + ": to come"
			if change := changeOf(s.slots.Change(slot)); change != nil {
				text += ", " + change.Detail
			}
			l.Marks = append(l.Marks, mark{share(slot, at), "coming", text})
		}
	}
	l.Text = laneText(s, past, coming, more, zone, at)
	return l
}

// kindOf is how an outcome looks.
func kindOf(o hourbell.Outcome) string {
	switch {
	case o.Kind == "SKIPPED":
		return "skipped"
	case o.Kind == "FAILED":
		return "failed"
	case o.Trigger != "CRON":
		return "manual"
	}
	return "fired"
}

// momentOf is where an outcome is in time: at its slot, if it is of one.
func momentOf(o hourbell.Outcome) time.Time {
	if o.SlotTo.IsZero() {
		return o.At
	}
	return o.SlotTo
}

// inReach are the outcomes that the timeline reaches back to, oldest first.
func inReach(outcomes []hourbell.Outcome, at time.Time) []hourbell.Outcome {
	var past []hourbell.Outcome
	for _, o := range slices.Backward(outcomes) {
		if !momentOf(o).Before(at.Add(-reach)) {
			past = append(past, o)
		}
	}
	return past
}

// comingSlots are the slots in reach of a schedule that fires, as many as can be told apart, and whether there are more.
func comingSlots(s shown, at time.Time) (slots []time.Time, more bool) {
	if s.State != "ENABLED" || s.slots == nil {
		return nil, false
	}
	for from := unsettled(s.row, at); ; {
		next, err := s.slots.Next(from)
		switch {
		case err != nil || next.After(at.Add(reach)):
			return slots, false
		case len(slots) == crowded:
			return slots, true
		}
		slots, from = append(slots, next), next
	}
}

// ranks are the kinds in a cell of a crowded lane, the one that it shows last.
var ranks = []string{"", "fired", "manual", "skipped", "failed"}

// pastBands joins many outcomes to stretches that went the same way. The worst of a cell is what it shows.
func pastBands(past []hourbell.Outcome, at time.Time, zone *time.Location) []band {
	type stretch struct {
		rank                   int
		fired, failed, skipped int
	}
	first := at.Add(-reach)
	cells := make([]stretch, int(reach/cell)+1)
	for _, o := range past {
		from := momentOf(o)
		if o.Kind == "SKIPPED" && o.SlotFrom.Before(from) {
			from = o.SlotFrom
		}
		rank := slices.Index(ranks, kindOf(o))
		for i := max(0, int(from.Sub(first)/cell)); i <= int(momentOf(o).Sub(first)/cell) && i < len(cells); i++ {
			cells[i].rank = max(cells[i].rank, rank)
		}
		count := &cells[min(len(cells)-1, int(momentOf(o).Sub(first)/cell))]
		switch o.Kind {
		case "FAILED":
			count.failed++
		case "SKIPPED":
			count.skipped += o.Count
		default:
			count.fired++
		}
	}
	var bands []band
	for i := 0; i < len(cells); {
		begin, sum := i, cells[i]
		for i++; i < len(cells) && cells[i].rank == sum.rank; i++ {
			sum.fired, sum.failed, sum.skipped = sum.fired+cells[i].fired, sum.failed+cells[i].failed, sum.skipped+cells[i].skipped
		}
		if sum.rank == 0 {
			continue
		}
		from, to := first.Add(time.Duration(begin)*cell), first.Add(time.Duration(i)*cell)
		if to.After(at) {
			to = at
		}
		bands = append(bands, bandOf(from, to, at, ranks[sum.rank], fmt.Sprintf("%s to %s: %d fired, %d failed, %d skipped",
			clockFace(from, zone, at), clockFace(to, zone, at), sum.fired+sum.failed, sum.failed, sum.skipped)))
	}
	return bands
}

// comingBands are the stretches in which a crowded lane has slots.
func comingBands(s shown, at time.Time, zone *time.Location) []band {
	var bands []band
	var from time.Time
	settled := unsettled(s.row, at)
	for begin := at; ; begin = begin.Add(cell) {
		after := begin.Add(-1)
		if after.Before(settled) {
			after = settled
		}
		next, err := s.slots.Next(after)
		some := err == nil && next.Before(begin.Add(cell)) && begin.Before(at.Add(reach))
		switch {
		case some && from.IsZero():
			from = begin
		case !some && !from.IsZero():
			text := fmt.Sprintf("%s to %s: to come, %s", clockFace(from, zone, at), clockFace(begin, zone, at), s.CronDescription)
			bands, from = append(bands, bandOf(from, begin, at, "coming", text)), time.Time{}
		}
		if !begin.Before(at.Add(reach)) {
			return bands
		}
	}
}

// bandOf is a stretch, wide enough to be seen.
func bandOf(from, to, at time.Time, kind, text string) band {
	if from.Before(at.Add(-reach)) {
		from = at.Add(-reach)
	}
	return band{X: share(from, at), Width: percent(max(to.Sub(from), cell)), Kind: kind, Text: text}
}

// laneText says a lane in a sentence.
func laneText(s shown, past []hourbell.Outcome, coming []time.Time, more bool, zone *time.Location, at time.Time) string {
	fired, failed, skipped := 0, 0, 0
	for _, o := range past {
		switch {
		case o.Kind == "SKIPPED":
			skipped += o.Count
		case o.Kind == "FAILED":
			fired, failed = fired+1, failed+1
		default:
			fired++
		}
	}
	text := fmt.Sprintf("last 12 hours: %d fired, %d of them failed, %s skipped", fired, failed, plural(skipped, "slot"))
	switch {
	case s.State == "REMOVED":
		return text + "; removed from code"
	case s.State == "DISABLED":
		return text + "; disabled"
	case len(coming) == 0:
		return text + "; none in the next 12 hours"
	case more:
		return fmt.Sprintf("%s; next %s, and more than %d in the next 12 hours", text, clockFace(coming[0], zone, at), crowded)
	}
	return fmt.Sprintf("%s; next %s, %d in the next 12 hours", text, clockFace(coming[0], zone, at), len(coming))
}
