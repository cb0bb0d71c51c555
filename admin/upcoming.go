package admin

import (
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/cron"
)

// The number of upcoming slots in a response.
const (
	defaultSlots = 10
	maxSlots     = 100
)

type upcomingJSON struct {
	Cron        string     `json:"cron"`
	TimeZone    string     `json:"timeZone"`
	Description string     `json:"description"`
	Slots       []slotJSON `json:"slots"`
	Problem     string     `json:"problem"`
}

type slotJSON struct {
	At     timestamp   `json:"at"`
	Local  string      `json:"local"`
	Change *changeJSON `json:"change"`
}

type changeJSON struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
}

// upcoming lists the next slots of a schedule, enabled or not.
func (h *handler) upcoming(c *call) (*response, error) {
	n, err := c.intParam("n", 1, maxSlots, defaultSlots)
	if err != nil {
		return nil, err
	}
	schedule, err := h.scheduler.Schedule(c.r.Context(), c.pathParams["id"])
	if err != nil {
		return nil, err
	}
	if schedule.Manual {
		return okResponse(upcomingJSON{TimeZone: schedule.TimeZone, Slots: []slotJSON{}})
	}
	slots, err := cron.Parse(schedule.Cron, schedule.TimeZone)
	if err != nil {
		return okResponse(upcomingJSON{Cron: schedule.Cron, TimeZone: schedule.TimeZone, Slots: []slotJSON{}, Problem: err.Error()})
	}
	return okResponse(toUpcomingJSON(schedule.Cron, slots, take(n, upcomingOf(schedule, slots))))
}

// preview lists the next slots of any expression in any zone.
func (h *handler) preview(c *call) (*response, error) {
	n, err := c.intParam("n", 1, maxSlots, defaultSlots)
	if err != nil {
		return nil, err
	}
	expression, zone := c.query.Get("cron"), c.query.Get("timeZone")
	if expression == "" {
		return nil, badValue("cron", "is missing: pass an expression such as */15 * * * *")
	}
	slots, err := cron.Parse(expression, zone)
	switch {
	case errors.Is(err, cron.ErrZone):
		return nil, badValue("timeZone", "%q: %v", zone, err)
	case err != nil:
		return nil, badValue("cron", "%q: %v", expression, err)
	}
	state, err := h.scheduler.Health(c.r.Context()) // for the database's time
	if err != nil {
		return nil, err
	}
	return okResponse(toUpcomingJSON(expression, slots, take(n, slotsAfter(state.At, slots.Next))))
}

// upcomingAfter returns the time after which a schedule's slots are upcoming:
// the later of now and the last settled slot.
func upcomingAfter(s hourbell.Schedule) time.Time {
	if s.SettledThrough.After(s.ReadAt) {
		return s.SettledThrough
	}
	return s.ReadAt
}

// upcomingOf yields the upcoming slots of a schedule.
func upcomingOf(s hourbell.Schedule, slots cron.Schedule) iter.Seq[time.Time] {
	return slotsAfter(upcomingAfter(s), func(after time.Time) (time.Time, error) { return nextSlot(s, slots, after) })
}

// nextSlot returns the first slot after a time. The stored next run is a slot,
// even if it is none by the rules of this process, and no other precedes it.
// [hourbell.Scheduler.Upcoming] does the same.
func nextSlot(s hourbell.Schedule, slots cron.Schedule, after time.Time) (time.Time, error) {
	if s.NextRunAt.After(after) {
		return s.NextRunAt, nil
	}
	return slots.Next(after)
}

// slotsAfter yields the slots after a time, until next returns an error.
func slotsAfter(after time.Time, next func(time.Time) (time.Time, error)) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for at := after; ; {
			slot, err := next(at)
			if err != nil || !yield(slot) {
				return
			}
			at = slot
		}
	}
}

// take returns the first n times, or fewer if no more follow.
func take(n int, times iter.Seq[time.Time]) []time.Time {
	list := make([]time.Time, 0, n)
	if n == 0 {
		return list
	}
	for at := range times {
		if list = append(list, at); len(list) == n {
			break
		}
	}
	return list
}

func toUpcomingJSON(expression string, slots cron.Schedule, next []time.Time) upcomingJSON {
	description, _ := cron.Describe(expression) // the caller has parsed it
	return upcomingJSON{
		Cron: expression, TimeZone: slots.Location().String(), Description: description,
		Slots: mapSlice(next, func(at time.Time) slotJSON {
			return slotJSON{At: timestamp{at}, Local: at.In(slots.Location()).Format(time.RFC3339), Change: toChangeJSON(slots.Change(at))}
		}),
	}
}

// toChangeJSON describes the effect of a clock change on a slot, or returns nil
// if there is none.
func toChangeJSON(c cron.Change) *changeJSON {
	if c.Kind == "" {
		return nil
	}
	local := strings.Replace(c.LocalTime, "T", " ", 1)
	change := changeJSON{Kind: c.Kind, Detail: "clocks go back and " + local + " occurs twice: "}
	switch {
	case c.Kind == "MOVED":
		change.Detail = "clocks go forward and " + local + " does not occur: the slot runs right after the gap"
	case c.Once:
		change.Detail += "the slot runs only the first time"
	case c.Occurrence == 1:
		change.Detail += "the slot runs both times, this is the first"
	default:
		change.Detail += "the slot runs both times, this is the second"
	}
	return &change
}
