package admin

import (
	"context"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/cron"
)

// recentOutcomes is the number of outcomes in a schedule's JSON.
const recentOutcomes = 20

func (h *handler) listSchedules(c *call) (*response, error) {
	limit, err := c.pageSize()
	if err != nil {
		return nil, err
	}
	page, err := h.readSchedules(c, limit)
	if err != nil {
		return nil, err
	}
	schedules, err := h.viewSchedules(c.r.Context(), page.Schedules, page.At, recentOutcomes)
	if err != nil {
		return nil, err
	}
	return okResponse(struct {
		Schedules []scheduleJSON `json:"schedules"`
		Counts    countsJSON     `json:"counts"`
		Next      string         `json:"next"`
	}{mapSlice(schedules, func(s scheduleView) scheduleJSON { return s.scheduleJSON }), countsJSON(page.Counts), page.Next})
}

// readSchedules reads the page of schedules that the query selects.
func (h *handler) readSchedules(c *call, limit int) (hourbell.SchedulePage, error) {
	return h.scheduler.Schedules(c.r.Context(), hourbell.ScheduleQuery{
		Search: c.query.Get("search"), State: c.query.Get("state"), Sort: c.query.Get("sort"), After: c.query.Get("cursor"), Limit: limit,
	})
}

type countsJSON struct {
	All      int `json:"all"`
	Enabled  int `json:"enabled"`
	Disabled int `json:"disabled"`
	Overdue  int `json:"overdue"`
	Failing  int `json:"failing"`
	Removed  int `json:"removed"`
}

func (h *handler) showSchedule(c *call) (*response, error) {
	s, _, err := h.readSchedule(c, recentOutcomes)
	if err != nil {
		return nil, err
	}
	return okResponse(s.scheduleJSON)
}

// readSchedule reads the schedule in the path.
func (h *handler) readSchedule(c *call, outcomes int) (scheduleView, time.Time, error) {
	ctx := c.r.Context()
	row, err := h.scheduler.Schedule(ctx, c.pathParams["id"])
	if err != nil {
		return scheduleView{}, time.Time{}, err
	}
	at, err := h.scheduler.Now(ctx)
	if err != nil {
		return scheduleView{}, time.Time{}, err
	}
	list, err := h.viewSchedules(ctx, []hourbell.Schedule{row}, at, outcomes)
	if err != nil {
		return scheduleView{}, time.Time{}, err
	}
	return list[0], at, nil
}

// changeFunc changes a schedule.
type changeFunc func(ctx context.Context, id string, options hourbell.By) error

// change applies a change to the schedule in the path.
func (h *handler) change(c *call, apply changeFunc) error {
	options, err := c.changeOptions()
	if err != nil {
		return err
	}
	return apply(c.r.Context(), c.pathParams["id"], options)
}

// changeAndShow applies a change and responds with the changed schedule.
func (h *handler) changeAndShow(c *call, apply changeFunc) (*response, error) {
	if err := h.change(c, apply); err != nil {
		return nil, err
	}
	return h.showSchedule(c)
}

func (h *handler) enable(c *call) (*response, error) { return h.changeAndShow(c, h.scheduler.Enable) }

func (h *handler) disable(c *call) (*response, error) { return h.changeAndShow(c, h.scheduler.Disable) }

func (h *handler) unlock(c *call) (*response, error) { return h.changeAndShow(c, h.scheduler.Unlock) }

// scheduleView is a schedule as the API and the page show it.
type scheduleView struct {
	scheduleJSON
	row      hourbell.Schedule
	outcomes []hourbell.Outcome // newest first
	slots    *cron.Schedule     // nil if this process cannot parse the expression or zone
}

// viewSchedules reads what the API and the page show of some rows. The number
// of statements does not depend on the number of rows.
func (h *handler) viewSchedules(ctx context.Context, rows []hourbell.Schedule, at time.Time, outcomeLimit int) ([]scheduleView, error) {
	ids := make([]string, len(rows))
	locked := false
	for i, row := range rows {
		ids[i] = row.ID
		locked = locked || row.LockedBy != ""
	}
	outcomes, err := h.scheduler.Outcomes(ctx, hourbell.OutcomeQuery{ScheduleIDs: ids, Limit: outcomeLimit})
	if err != nil {
		return nil, err
	}
	var workers []hourbell.Worker
	if locked {
		if workers, err = h.scheduler.Workers(ctx); err != nil {
			return nil, err
		}
	}
	parsed := parseCache{}
	return mapSlice(rows, func(row hourbell.Schedule) scheduleView {
		s := toScheduleJSON(row, at)
		s.DeclaredHere = h.scheduler.Declares(row)
		s.Lock = toLockJSON(row, h.scheduler.LockExpiry(row, workers), at)
		s.LastRun = toLastRunJSON(row, outcomes[row.ID])
		s.Recent = mapSlice(outcomes[row.ID][:min(recentOutcomes, len(outcomes[row.ID]))], toOutcomeJSON)
		jobs, err := h.scheduler.JobsOf(row)
		if err != nil {
			s.Problem = err.Error()
		}
		s.Target.Jobs = mapSlice(jobs, func(j hourbell.Job) string { return j.Name })
		return scheduleView{scheduleJSON: s, row: row, outcomes: outcomes[row.ID], slots: s.describeCron(row, at, parsed)}
	}), nil
}

func toScheduleJSON(row hourbell.Schedule, at time.Time) scheduleJSON {
	s := scheduleJSON{
		ID: row.ID, Name: row.Name, Description: row.Description, Cron: row.Cron, TimeZone: row.TimeZone,
		Target: targetJSON{Kind: row.TargetKind}, GraceSeconds: row.Grace.Seconds(), State: "DISABLED",
		Enabled: row.Enabled, EnabledNote: row.EnabledNote, NextRunAt: timestamp{row.NextRunAt}, Overdue: row.Overdue(at),
		ConsecutiveFailures: row.Failures, LastError: row.LastError, RetryAt: timestamp{row.HeldUntil}, RemovedAt: timestamp{row.RemovedAt},
		CreatedAt: timestamp{row.CreatedAt}, UpdatedAt: timestamp{row.UpdatedAt}, ETag: row.Fingerprint(),
	}
	if row.TargetKind == "GROUP" {
		s.Target.Group = row.Target
	}
	if s.Overdue {
		s.OverdueSeconds = int64(at.Sub(row.NextRunAt).Seconds())
	}
	switch {
	case !row.RemovedAt.IsZero():
		s.State = "REMOVED"
	case row.Enabled:
		s.State = "ENABLED"
	}
	return s
}

// describeCron sets the description of the expression and the slot at which a
// disabled schedule would run next. It returns the parsed expression, or sets
// Problem and returns nil.
func (s *scheduleJSON) describeCron(row hourbell.Schedule, at time.Time, parsed parseCache) *cron.Schedule {
	slots, err := parsed.parse(row.Cron, row.TimeZone)
	if err != nil {
		s.Problem = err.Error()
		return nil
	}
	s.CronDescription, _ = cron.Describe(row.Cron) // it is valid: it was just parsed
	if !row.Enabled && row.RemovedAt.IsZero() {
		if next, err := slots.Next(upcomingAfter(row, at)); err == nil {
			s.WouldRunAt = timestamp{next}
		}
	}
	return &slots
}

// upcomingAfter returns the time after which a schedule's slots are upcoming:
// the later of now and the last settled slot.
func upcomingAfter(row hourbell.Schedule, at time.Time) time.Time {
	if row.SettledUntil.After(at) {
		return row.SettledUntil
	}
	return at
}

// parseCache holds the parsed expressions of one request by expression and
// zone.
type parseCache map[[2]string]cron.Schedule

func (parsed parseCache) parse(expression, zone string) (cron.Schedule, error) {
	key := [2]string{expression, zone}
	if slots, ok := parsed[key]; ok {
		return slots, nil
	}
	slots, err := cron.Parse(expression, zone)
	if err == nil {
		parsed[key] = slots
	}
	return slots, err
}

func toLockJSON(row hourbell.Schedule, expiry, at time.Time) *lockJSON {
	if row.LockedBy == "" {
		return nil
	}
	return &lockJSON{Holder: row.LockedBy, Since: timestamp{row.LockedAt}, ExpiresAt: timestamp{expiry}, Stalled: !expiry.After(at)}
}

// toLastRunJSON returns the newest outcome that has runs. If there is none
// among the outcomes, it returns the last cron fire that the row records.
func toLastRunJSON(row hourbell.Schedule, outcomes []hourbell.Outcome) *lastRunJSON {
	for _, o := range outcomes {
		if o.RunID != 0 {
			last := &lastRunJSON{
				Trigger: o.Trigger, At: timestamp{o.At}, Slot: timestamp{o.SlotFrom}, LatenessMs: lateness(o.SlotFrom, o.At),
				Actor: o.Actor, RunID: &o.RunID,
			}
			if t := o.Tally; t != nil {
				last.Runs = &runsJSON{t.Queued, t.Running, t.Succeeded, t.Failed, t.Total() >= hourbell.TallyLimit}
			}
			return last
		}
	}
	if row.LastRunAt.IsZero() {
		return nil
	}
	return &lastRunJSON{
		Trigger: "CRON", At: timestamp{row.LastRunAt}, Slot: timestamp{row.LastScheduledFor}, LatenessMs: lateness(row.LastScheduledFor, row.LastRunAt),
	}
}
