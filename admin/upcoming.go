package admin

import (
	"errors"
	"strings"
	"time"

	"github.com/hourbell/hourbell/cron"
)

// The number of coming slots that are shown.
const (
	someSlots = 10
	mostSlots = 100
)

type upcomingJSON struct {
	Cron        string     `json:"cron"`
	TimeZone    string     `json:"timeZone"`
	Description string     `json:"description"`
	Slots       []slotJSON `json:"slots"`
	Problem     string     `json:"problem"`
}

type slotJSON struct {
	At     instant     `json:"at"`
	Local  string      `json:"local"`
	Change *changeJSON `json:"change"`
}

type changeJSON struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
}

// upcoming lists the next slots of a schedule, enabled or not.
func (h *handler) upcoming(c *call) (*reply, error) {
	n, err := c.number("n", 1, mostSlots, someSlots)
	if err != nil {
		return nil, err
	}
	row, err := h.scheduler.Schedule(c.r.Context(), c.parameters["id"])
	if err != nil {
		return nil, err
	}
	slots, err := cron.Parse(row.Cron, row.TimeZone)
	if err != nil {
		return ok(upcomingJSON{Cron: row.Cron, TimeZone: row.TimeZone, Slots: []slotJSON{}, Problem: err.Error()})
	}
	next, err := h.scheduler.Upcoming(c.r.Context(), row.ID, n)
	if err != nil && !errors.Is(err, cron.ErrNever) {
		return nil, err
	}
	return ok(upcomingOf(row.Cron, slots, next))
}

// preview lists the next slots of any expression in any zone.
func (h *handler) preview(c *call) (*reply, error) {
	n, err := c.number("n", 1, mostSlots, someSlots)
	if err != nil {
		return nil, err
	}
	expression, zone := c.query.Get("cron"), c.query.Get("timeZone")
	if expression == "" {
		return nil, wrong("cron", "is missing: give an expression such as */15 * * * *")
	}
	slots, err := cron.Parse(expression, zone)
	switch {
	case errors.Is(err, cron.ErrZone):
		return nil, wrong("timeZone", "%q: %v", zone, err)
	case err != nil:
		return nil, wrong("cron", "%q: %v", expression, err)
	}
	at, err := h.scheduler.Now(c.r.Context())
	if err != nil {
		return nil, err
	}
	next := make([]time.Time, 0, n)
	for len(next) < n {
		if at, err = slots.Next(at); err != nil {
			break // there are no more
		}
		next = append(next, at)
	}
	return ok(upcomingOf(expression, slots, next))
}

func upcomingOf(expression string, slots cron.Schedule, next []time.Time) upcomingJSON {
	description, _ := cron.Describe(expression) // it was parsed before
	return upcomingJSON{
		Cron: expression, TimeZone: slots.Location().String(), Description: description,
		Slots: each(next, func(at time.Time) slotJSON {
			return slotJSON{At: instant{at}, Local: at.In(slots.Location()).Format(time.RFC3339), Change: changeOf(slots.Change(at))}
		}),
	}
}

// changeOf says in words what a clock change does to a slot.
func changeOf(c cron.Change) *changeJSON {
	if c.Kind == "" {
		return nil
	}
	reading := strings.Replace(c.Reading, "T", " ", 1)
	wire := changeJSON{Kind: c.Kind, Detail: "the clock is put back and shows " + reading + " twice"}
	switch {
	case c.Kind == "MOVED":
		wire.Detail = "the clock is put forward past " + reading + ": it runs right afterwards"
	case c.Once:
		wire.Detail += ": it runs the first time only"
	case c.Occurrence == 1:
		wire.Detail += ": it runs both times, this is the first"
	default:
		wire.Detail += ": it runs both times, this is the second"
	}
	return &wire
}
