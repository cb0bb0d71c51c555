package admin

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hourbell/hourbell"
)

// The timeline has a strip for each schedule with the outcomes of the last 12
// hours and the slots of the next 12.
const (
	timelineReach = 12 * time.Hour // on either side of now
	cellLength    = 15 * time.Minute
	tickInterval  = 3 * time.Hour
	maxMarks      = 16 // if either side of now has more marks, it is drawn as bands
)

type timeline struct {
	Ticks  []tick
	Strips []strip
}

// tick is a full hour on the scale.
type tick struct {
	relTime
	X, Label string
	NearNow  bool // hidden in a narrow window, where it would overlap "now"
}

// strip is the timeline of one schedule.
type strip struct {
	ID, Name, Text string
	Dim            bool // the schedule is disabled or removed
	Marks          []mark
	Bands          []band
}

// mark is a slot or a manual run.
type mark struct{ X, Class, Text string }

// band is a range of time.
type band struct{ X, Width, Class, Text string }

func newTimeline(schedules []scheduleView, at time.Time) timeline {
	t := timeline{Strips: mapSlice(schedules, func(s scheduleView) strip { return newStrip(s, at) })}
	for hour := at.Add(-timelineReach).Truncate(tickInterval).Add(tickInterval); hour.Before(at.Add(timelineReach)); hour = hour.Add(tickInterval) {
		if hour.Sub(at).Abs() > time.Hour { // else it would overlap "now"
			t.Ticks = append(t.Ticks, tick{relTime{hour, at}, position(hour, at), hour.UTC().Format("15:04"), hour.Sub(at).Abs() < tickInterval})
		}
	}
	return t
}

// position returns the horizontal position of a time.
func position(t, at time.Time) string { return percent(t.Sub(at.Add(-timelineReach))) }

// percent returns a duration as a percentage of the timeline's width.
func percent(d time.Duration) string {
	return strconv.FormatFloat(min(100, max(0, 100*d.Hours()/(2*timelineReach).Hours())), 'f', 2, 64) + "%"
}

func newStrip(s scheduleView, at time.Time) strip {
	zone := time.UTC
	if s.slots != nil {
		zone = s.slots.Location()
	}
	result := strip{ID: s.ID, Name: s.Name, Dim: !s.Active()}
	past := outcomesInReach(s.schedule.Outcomes, at)
	upcoming, more := upcomingSlots(s, at)

	if len(past) > maxMarks {
		result.Bands = outcomeBands(past, at, zone)
	} else {
		for _, o := range past {
			if o.Kind == hourbell.OutcomeSkipped && o.SlotTo.Sub(o.SlotFrom) > cellLength {
				result.Bands = append(result.Bands, newBand(o.SlotFrom, o.SlotTo, at, "skipped", outcomeText(o, zone, at)))
				continue
			}
			result.Marks = append(result.Marks, mark{position(outcomeTime(o), at), outcomeClass(o), outcomeText(o, zone, at)})
		}
	}
	// If the read was cut off at its limit, older outcomes may exist.
	if len(past) == timelineOutcomes || len(s.schedule.Outcomes) == timelineOutcomes && len(past) == len(s.schedule.Outcomes) {
		oldest := outcomeTime(past[0])
		result.Bands = append(result.Bands, newBand(at.Add(-timelineReach), oldest, at, "omitted", "before "+localTime(oldest, zone, at)+": too many outcomes to show"))
	}
	if s.Active() && !s.NextRunAt.IsZero() && !s.NextRunAt.After(at) {
		result.Marks = append(result.Marks, mark{position(s.NextRunAt.Time, at), "due", localTime(s.NextRunAt.Time, zone, at) + ": due, not fired yet"})
	}
	if more {
		result.Bands = append(result.Bands, upcomingBands(s, at, zone)...)
	} else {
		for _, slot := range upcoming {
			text := localTime(slot, zone, at) + ": upcoming"
			if change := toChangeJSON(s.slots.Change(slot)); change != nil {
				text += ", " + change.Detail
			}
			result.Marks = append(result.Marks, mark{position(slot, at), "upcoming", text})
		}
	}
	result.Text = stripText(s, past, upcoming, more, zone, at)
	return result
}

// outcomeClass returns the CSS class of an outcome.
func outcomeClass(o hourbell.Outcome) string {
	switch {
	case o.Kind == hourbell.OutcomeSkipped:
		return "skipped"
	case o.Kind == hourbell.OutcomeFailed:
		return "failed"
	case o.Trigger != hourbell.TriggerCron:
		return "manual"
	}
	return "fired"
}

// outcomeTime returns the time at which the timeline shows an outcome: its
// last slot, or the time of a manual run.
func outcomeTime(o hourbell.Outcome) time.Time {
	if o.SlotTo.IsZero() {
		return o.At
	}
	return o.SlotTo
}

// outcomesInReach returns the outcomes on the timeline, oldest first.
func outcomesInReach(outcomes []hourbell.Outcome, at time.Time) []hourbell.Outcome {
	var past []hourbell.Outcome
	for _, o := range slices.Backward(outcomes) {
		if !outcomeTime(o).Before(at.Add(-timelineReach)) {
			past = append(past, o)
		}
	}
	return past
}

// upcomingSlots returns up to maxMarks upcoming slots of an enabled schedule,
// and whether there are more within reach.
func upcomingSlots(s scheduleView, at time.Time) (slots []time.Time, more bool) {
	if !s.Active() || s.slots == nil {
		return nil, false
	}
	for slot := range upcomingOf(s.schedule, *s.slots) {
		switch {
		case slot.After(at.Add(timelineReach)):
			return slots, false
		case len(slots) == maxMarks:
			return slots, true
		}
		slots = append(slots, slot)
	}
	return slots, false
}

// classRanks orders the classes of a cell. A cell shows the last that occurs in
// it.
var classRanks = []string{"", "fired", "manual", "skipped", "failed"}

// outcomeBands merges outcomes into bands. The past is divided into cells;
// adjacent cells with the same highest-ranked class form a band.
func outcomeBands(past []hourbell.Outcome, at time.Time, zone *time.Location) []band {
	type cell struct {
		rank                   int
		fired, failed, skipped int
	}
	start := at.Add(-timelineReach)
	cells := make([]cell, int(timelineReach/cellLength)+1)
	for _, o := range past {
		from := outcomeTime(o)
		if o.Kind == hourbell.OutcomeSkipped && o.SlotFrom.Before(from) {
			from = o.SlotFrom
		}
		rank := slices.Index(classRanks, outcomeClass(o))
		for i := max(0, int(from.Sub(start)/cellLength)); i <= int(outcomeTime(o).Sub(start)/cellLength) && i < len(cells); i++ {
			cells[i].rank = max(cells[i].rank, rank)
		}
		last := &cells[min(len(cells)-1, int(outcomeTime(o).Sub(start)/cellLength))]
		switch o.Kind {
		case hourbell.OutcomeFailed:
			last.failed++
		case hourbell.OutcomeSkipped:
			last.skipped += o.Count
		default:
			last.fired++
		}
	}
	var bands []band
	for i := 0; i < len(cells); {
		first, sum := i, cells[i]
		for i++; i < len(cells) && cells[i].rank == sum.rank; i++ {
			sum.fired, sum.failed, sum.skipped = sum.fired+cells[i].fired, sum.failed+cells[i].failed, sum.skipped+cells[i].skipped
		}
		if sum.rank == 0 {
			continue
		}
		from, to := start.Add(time.Duration(first)*cellLength), start.Add(time.Duration(i)*cellLength)
		if to.After(at) {
			to = at
		}
		bands = append(bands, newBand(from, to, at, classRanks[sum.rank], fmt.Sprintf("%s to %s: %d fired, %d failed, %d skipped",
			localTime(from, zone, at), localTime(to, zone, at), sum.fired+sum.failed, sum.failed, sum.skipped)))
	}
	return bands
}

// upcomingBands returns the ranges of cells that contain upcoming slots.
func upcomingBands(s scheduleView, at time.Time, zone *time.Location) []band {
	var bands []band
	var start time.Time // of the current band; zero outside a band
	firstAfter := upcomingAfter(s.schedule)
	for cell := at; ; cell = cell.Add(cellLength) {
		after := cell.Add(-1)
		if after.Before(firstAfter) {
			after = firstAfter
		}
		next, err := nextSlot(s.schedule, *s.slots, after)
		hasSlot := err == nil && next.Before(cell.Add(cellLength)) && cell.Before(at.Add(timelineReach))
		switch {
		case hasSlot && start.IsZero():
			start = cell
		case !hasSlot && !start.IsZero():
			text := fmt.Sprintf("%s to %s: upcoming, %s", localTime(start, zone, at), localTime(cell, zone, at), s.CronDescription)
			bands, start = append(bands, newBand(start, cell, at, "upcoming", text)), time.Time{}
		}
		if !cell.Before(at.Add(timelineReach)) {
			return bands
		}
	}
}

// newBand returns a band that is at least one cell wide, so that it is visible.
func newBand(from, to, at time.Time, class, text string) band {
	if from.Before(at.Add(-timelineReach)) {
		from = at.Add(-timelineReach)
	}
	return band{X: position(from, at), Width: percent(max(to.Sub(from), cellLength)), Class: class, Text: text}
}

// stripText summarizes a strip for screen readers.
func stripText(s scheduleView, past []hourbell.Outcome, upcoming []time.Time, more bool, zone *time.Location, at time.Time) string {
	fired, failed, skipped := 0, 0, 0
	for _, o := range past {
		switch {
		case o.Kind == hourbell.OutcomeSkipped:
			skipped += o.Count
		case o.Kind == hourbell.OutcomeFailed:
			fired, failed = fired+1, failed+1
		default:
			fired++
		}
	}
	text := fmt.Sprintf("last 12 hours: %d fired, %d of them failed, %s skipped", fired, failed, plural(skipped, "slot"))
	switch {
	case s.State == hourbell.StateRemoved:
		return text + "; removed from code"
	case s.State == hourbell.StateManual:
		return text + "; manual"
	case s.State == hourbell.StateDisabled:
		return text + "; disabled"
	case len(upcoming) == 0:
		return text + "; none in the next 12 hours"
	case more:
		return fmt.Sprintf("%s; next %s, and more than %d in the next 12 hours", text, localTime(upcoming[0], zone, at), maxMarks)
	}
	return fmt.Sprintf("%s; next %s, %d in the next 12 hours", text, localTime(upcoming[0], zone, at), len(upcoming))
}
