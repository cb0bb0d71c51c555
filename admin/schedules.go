package admin

import (
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/cron"
)

// recent is how many outcomes a schedule is shown with.
const recent = 20

func (h *handler) listSchedules(c *call) (*reply, error) {
	limit, err := c.page()
	if err != nil {
		return nil, err
	}
	page, err := h.find(c, limit)
	if err != nil {
		return nil, err
	}
	schedules, err := h.shown(c, page.Schedules, page.At, recent)
	if err != nil {
		return nil, err
	}
	return ok(struct {
		Schedules []scheduleJSON `json:"schedules"`
		Counts    countsJSON     `json:"counts"`
		Next      string         `json:"next"`
	}{each(schedules, func(s shown) scheduleJSON { return s.scheduleJSON }), countsJSON(page.Counts), page.Next})
}

// find reads the page of schedules that the query asks for.
func (h *handler) find(c *call, limit int) (hourbell.SchedulePage, error) {
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

func (h *handler) showSchedule(c *call) (*reply, error) {
	s, _, err := h.one(c, recent)
	if err != nil {
		return nil, err
	}
	return ok(s.scheduleJSON)
}

// one is the schedule that the path names, as it is now.
func (h *handler) one(c *call, outcomes int) (shown, time.Time, error) {
	row, err := h.scheduler.Schedule(c.r.Context(), c.parameters["id"])
	if err != nil {
		return shown{}, time.Time{}, err
	}
	at, err := h.scheduler.Now(c.r.Context())
	if err != nil {
		return shown{}, time.Time{}, err
	}
	list, err := h.shown(c, []hourbell.Schedule{row}, at, outcomes)
	if err != nil {
		return shown{}, time.Time{}, err
	}
	return list[0], at, nil
}

// change answers a write with the schedule as it is afterwards.
func (h *handler) change(c *call, change func(id string, by hourbell.By) error) (*reply, error) {
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	if err := change(c.parameters["id"], by); err != nil {
		return nil, err
	}
	return h.showSchedule(c)
}

func (h *handler) enable(c *call) (*reply, error) {
	return h.change(c, func(id string, by hourbell.By) error { return h.scheduler.Enable(c.r.Context(), id, by) })
}

func (h *handler) disable(c *call) (*reply, error) {
	return h.change(c, func(id string, by hourbell.By) error { return h.scheduler.Disable(c.r.Context(), id, by) })
}

func (h *handler) unlock(c *call) (*reply, error) {
	return h.change(c, func(id string, by hourbell.By) error { return h.scheduler.Unlock(c.r.Context(), id, by) })
}

// shown is a schedule with all that is shown of it.
type shown struct {
	scheduleJSON
	row      hourbell.Schedule
	outcomes []hourbell.Outcome // newest first
	slots    *cron.Schedule     // nil where its expression or zone cannot be read
}

// shown are schedules with all that is shown of them, in a number of statements that does not grow with them.
func (h *handler) shown(c *call, rows []hourbell.Schedule, at time.Time, outcomesOfEach int) ([]shown, error) {
	ids := make([]string, len(rows))
	locked := false
	for i, row := range rows {
		ids[i] = row.ID
		locked = locked || row.LockedBy != ""
	}
	outcomes, err := h.scheduler.Outcomes(c.r.Context(), hourbell.OutcomeQuery{ScheduleIDs: ids, Limit: outcomesOfEach})
	if err != nil {
		return nil, err
	}
	var workers []hourbell.Worker
	if locked {
		if workers, err = h.scheduler.Workers(c.r.Context()); err != nil {
			return nil, err
		}
	}
	calendars := calendars{}
	return each(rows, func(row hourbell.Schedule) shown {
		wire := scheduleOf(row, at)
		wire.DeclaredHere = h.scheduler.Declares(row)
		wire.Lock = lockOf(row, h.scheduler.LockExpiry(row, workers), at)
		wire.LastRun = lastRunOf(row, outcomes[row.ID])
		wire.Recent = each(outcomes[row.ID][:min(recent, len(outcomes[row.ID]))], outcomeOf)
		jobs, err := h.scheduler.JobsOf(row)
		if err != nil {
			wire.Problem = err.Error()
		}
		wire.Target.Jobs = each(jobs, func(j hourbell.Job) string { return j.Name })
		return shown{scheduleJSON: wire, row: row, outcomes: outcomes[row.ID], slots: wire.tell(row, at, calendars)}
	}), nil
}

func scheduleOf(row hourbell.Schedule, at time.Time) scheduleJSON {
	wire := scheduleJSON{
		ID: row.ID, Name: row.Name, Description: row.Description, Cron: row.Cron, TimeZone: row.TimeZone,
		Target: targetJSON{Kind: row.TargetKind}, GraceSeconds: row.Grace.Seconds(), State: "DISABLED",
		Enabled: row.Enabled, EnabledNote: row.EnabledNote, NextRunAt: instant{row.NextRunAt}, Overdue: row.Overdue(at),
		Failures: row.Failures, LastError: row.LastError, HeldUntil: instant{row.HeldUntil}, RemovedAt: instant{row.RemovedAt},
		CreatedAt: instant{row.CreatedAt}, UpdatedAt: instant{row.UpdatedAt}, Fingerprint: row.Fingerprint(),
	}
	if row.TargetKind == "GROUP" {
		wire.Target.Group = row.Target
	}
	if wire.Overdue {
		wire.OverdueSeconds = int64(at.Sub(row.NextRunAt).Seconds())
	}
	switch {
	case !row.RemovedAt.IsZero():
		wire.State = "REMOVED"
	case row.Enabled:
		wire.State = "ENABLED"
	}
	return wire
}

// tell says the expression in words, and when a disabled schedule would run. It returns the slots.
func (wire *scheduleJSON) tell(row hourbell.Schedule, at time.Time, known calendars) *cron.Schedule {
	slots, err := known.of(row.Cron, row.TimeZone)
	if err != nil {
		wire.Problem = err.Error()
		return nil
	}
	wire.CronDescription, _ = cron.Describe(row.Cron) // it was parsed just now
	if !row.Enabled && row.RemovedAt.IsZero() {
		if next, err := slots.Next(unsettled(row, at)); err == nil {
			wire.WouldRunAt = instant{next}
		}
	}
	return &slots
}

// unsettled is the instant after which a schedule's slots are still to come.
func unsettled(row hourbell.Schedule, at time.Time) time.Time {
	if row.SettledUntil.After(at) {
		return row.SettledUntil
	}
	return at
}

// calendars are expressions in zones, parsed once a request.
type calendars map[[2]string]cron.Schedule

func (known calendars) of(expression, zone string) (cron.Schedule, error) {
	key := [2]string{expression, zone}
	if slots, ok := known[key]; ok {
		return slots, nil
	}
	slots, err := cron.Parse(expression, zone)
	if err == nil {
		known[key] = slots
	}
	return slots, err
}

func lockOf(row hourbell.Schedule, expiry, at time.Time) *lockJSON {
	if row.LockedBy == "" {
		return nil
	}
	return &lockJSON{Holder: row.LockedBy, Since: instant{row.LockedAt}, ExpiresAt: instant{expiry}, Stalled: !expiry.After(at)}
}

// lastRunOf is the newest outcome that is no skip. Where the newest are all skips, the row knows when it fired.
func lastRunOf(row hourbell.Schedule, outcomes []hourbell.Outcome) *lastRunJSON {
	for _, o := range outcomes {
		if o.RunID != 0 {
			last := &lastRunJSON{
				Trigger: o.Trigger, At: instant{o.At}, Slot: instant{o.SlotFrom}, LatenessMs: lateness(o.SlotFrom, o.At),
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
		Trigger: "CRON", At: instant{row.LastRunAt}, Slot: instant{row.LastScheduledFor}, LatenessMs: lateness(row.LastScheduledFor, row.LastRunAt),
	}
}
