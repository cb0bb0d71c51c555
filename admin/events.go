package admin

import (
	"github.com/hourbell/hourbell"
)

// listEvents lists the events of the schedule in the path, newest first.
func (h *handler) listEvents(c *call) (*response, error) {
	schedule, err := h.scheduler.Schedule(c.r.Context(), c.pathParams["id"])
	if err != nil {
		return nil, err
	}
	query := hourbell.EventQuery{ScheduleID: schedule.ID, Kind: hourbell.EventKind(c.query.Get("kind"))}
	return listPage(c, "events", h.eventReader(c, query), keepAll, eventID, toEventJSON)
}

// eventReader returns the read function of a page of events.
func (h *handler) eventReader(c *call, query hourbell.EventQuery) func(before int64, limit int) ([]hourbell.Event, error) {
	return func(before int64, limit int) ([]hourbell.Event, error) {
		query.Before, query.Limit = before, limit
		return h.scheduler.Events(c.r.Context(), query)
	}
}

func eventID(e hourbell.Event) int64 { return e.ID }
