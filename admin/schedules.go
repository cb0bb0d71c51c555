package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
	page, _, err := h.querySchedules(c, limit, recentOutcomes)
	if err != nil {
		return nil, err
	}
	return okResponse(struct {
		Schedules []scheduleJSON `json:"schedules"`
		Counts    map[string]int `json:"counts"`
		Next      string         `json:"next"`
	}{
		mapSlice(newScheduleViews(page.Schedules), func(s scheduleView) scheduleJSON { return s.scheduleJSON }),
		countsByName(page), page.Next,
	})
}

// querySchedules reads the page of schedules that the query selects and the
// request may view. The counts leave out the others, and hides reports whether
// there are any.
func (h *handler) querySchedules(c *call, limit, outcomes int) (page hourbell.SchedulePage, hides bool, err error) {
	query := hourbell.ScheduleQuery{
		Search: c.query.Get("search"), State: hourbell.ScheduleState(c.query.Get("state")), Sort: c.query.Get("sort"),
		After: c.query.Get("cursor"), Limit: limit, Outcomes: outcomes,
	}
	page, err = h.scheduler.Schedules(c.r.Context(), query)
	if err != nil {
		return page, false, err
	}
	if !slices.ContainsFunc(page.Schedules, func(s hourbell.Schedule) bool { return !h.canView(c, s.ID) }) {
		// Small sets are checked as a whole. Large ones are only if Authorize
		// is known to restrict what users may view.
		isWhole := len(page.Schedules) == page.Total
		if isWhole || page.Total > maxPage && !h.restricts.Load() {
			return page, false, nil
		}
	}
	visible, err := h.visibleSchedules(c, query.Search, page.Counts)
	if err != nil || visible.hidden == 0 {
		return page, false, err
	}
	h.restricts.Store(true)
	page, err = h.queryVisible(c, query, visible)
	return page, true, err
}

// visibleSet is the set of schedules that a request may view.
type visibleSet struct {
	ids    []string
	counts map[hourbell.ScheduleState]int
	hidden int // the number of the others
}

// visibleSchedules returns which of the schedules that a search selects the
// request may view. It counts them by the states of all.
func (h *handler) visibleSchedules(c *call, search string, all map[hourbell.ScheduleState]int) (visibleSet, error) {
	visible := visibleSet{counts: make(map[hourbell.ScheduleState]int, len(all))}
	for state := range all {
		visible.counts[state] = 0
	}
	query := hourbell.ScheduleQuery{Search: search, Limit: readSize}
	for {
		page, err := h.scheduler.Schedules(c.r.Context(), query)
		if err != nil {
			return visible, err
		}
		for _, s := range page.Schedules {
			if !h.canView(c, s.ID) {
				visible.hidden++
				continue
			}
			visible.ids = append(visible.ids, s.ID)
			for _, state := range statesOf(s) {
				visible.counts[state]++
			}
		}
		if page.Next == "" {
			return visible, nil
		}
		query.After = page.Next
	}
}

// statesOf returns the states whose conditions a schedule meets, as described
// at [hourbell.ScheduleQuery].
func statesOf(s hourbell.Schedule) []hourbell.ScheduleState {
	switch {
	case !s.RemovedAt.IsZero():
		return []hourbell.ScheduleState{hourbell.StateRemoved}
	case s.Manual:
		return []hourbell.ScheduleState{hourbell.StateManual}
	}
	states := []hourbell.ScheduleState{hourbell.StateDisabled}
	if s.Enabled {
		states[0] = hourbell.StateEnabled
	}
	if s.Overdue {
		states = append(states, hourbell.StateOverdue)
	}
	if s.ConsecutiveFailures > 0 {
		states = append(states, hourbell.StateFailing)
	}
	return states
}

// queryVisible reads a page of the visible schedules. If they are too many for
// one query, it leaves out the others while it reads. Such a page may be short
// before the end.
func (h *handler) queryVisible(c *call, query hourbell.ScheduleQuery, visible visibleSet) (result hourbell.SchedulePage, err error) {
	switch n := len(visible.ids); {
	case n == 0:
		query.IDs = []string{""} // no schedule has this id
	case n <= readSize:
		query.IDs = visible.ids
	}
	limit := query.Limit
	for range maxReads {
		page, err := h.scheduler.Schedules(c.r.Context(), query)
		if err != nil {
			return result, err
		}
		for _, s := range page.Schedules {
			if h.canView(c, s.ID) {
				result.Schedules = append(result.Schedules, s)
			}
		}
		result.At, result.Next = page.At, page.Next
		query.After, query.Limit = page.Next, limit-len(result.Schedules)
		if query.After == "" || query.Limit == 0 {
			break
		}
	}
	result.Total, result.Counts = len(visible.ids), visible.counts
	return result, nil
}

// countsByName returns the counts of a page by state in lower case, and their
// total as "all".
func countsByName(page hourbell.SchedulePage) map[string]int {
	counts := map[string]int{"all": page.Total}
	for state, n := range page.Counts {
		counts[strings.ToLower(string(state))] = n
	}
	return counts
}

func (h *handler) showSchedule(c *call) (*response, error) {
	s, err := h.readSchedule(c, recentOutcomes)
	if err != nil {
		return nil, err
	}
	return okResponse(s.scheduleJSON)
}

// readSchedule reads the schedule in the path with up to outcomes outcomes.
func (h *handler) readSchedule(c *call, outcomes int) (scheduleView, error) {
	schedules, err := h.readByID(c.r.Context(), []string{c.pathParams["id"]}, outcomes)
	if err != nil {
		return scheduleView{}, err
	}
	return newScheduleViews(schedules)[0], nil
}

// readByID reads up to maxPage schedules. The result is in the order of ids.
func (h *handler) readByID(ctx context.Context, ids []string, outcomes int) ([]hourbell.Schedule, error) {
	page, err := h.scheduler.Schedules(ctx, hourbell.ScheduleQuery{IDs: ids, Limit: maxPage, Outcomes: outcomes})
	if err != nil {
		return nil, err
	}
	byID := make(map[string]hourbell.Schedule, len(page.Schedules))
	for _, s := range page.Schedules {
		byID[s.ID] = s
	}
	schedules := make([]hourbell.Schedule, len(ids))
	for i, id := range ids {
		s, ok := byID[id]
		if !ok {
			return nil, fmt.Errorf("%w: %q", hourbell.ErrUnknownSchedule, id)
		}
		schedules[i] = s
	}
	return schedules, nil
}

// changeFunc changes a schedule.
type changeFunc func(ctx context.Context, id string, options hourbell.ChangeOptions) error

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
	schedule hourbell.Schedule
	slots    *cron.Schedule // nil if manual, or if this process cannot parse the expression or zone
}

// Active reports whether the schedule is enabled and declared. A manual
// schedule can be active, and never fires.
func (s scheduleView) Active() bool { return s.Enabled && s.RemovedAt.IsZero() }

// newScheduleViews converts schedules. It parses equal expressions only once.
func newScheduleViews(schedules []hourbell.Schedule) []scheduleView {
	parsed := parseCache{}
	return mapSlice(schedules, func(s hourbell.Schedule) scheduleView {
		view := scheduleView{scheduleJSON: toScheduleJSON(s), schedule: s}
		view.slots = view.describeCron(s, parsed)
		return view
	})
}

func toScheduleJSON(s hourbell.Schedule) scheduleJSON {
	result := scheduleJSON{
		ID: s.ID, Name: s.Name, Description: s.Description, Cron: s.Cron, TimeZone: s.TimeZone, Manual: s.Manual, Target: targetJSON{Kind: s.TargetKind},
		GraceSeconds: s.Grace.Seconds(), State: s.State, Enabled: s.Enabled, EnabledNote: s.EnabledNote,
		NextRunAt: timestamp{s.NextRunAt}, Overdue: s.Overdue, LastRun: toLastRunJSON(s),
		Recent:              mapSlice(s.Outcomes[:min(recentOutcomes, len(s.Outcomes))], toOutcomeJSON),
		ConsecutiveFailures: s.ConsecutiveFailures, LastError: s.LastError, RetryAt: timestamp{s.RetryAt}, DeclaredHere: s.DeclaredHere,
		RemovedAt: timestamp{s.RemovedAt}, CreatedAt: timestamp{s.CreatedAt}, UpdatedAt: timestamp{s.UpdatedAt}, ETag: s.ETag,
	}
	if s.TargetKind == "GROUP" {
		result.Target.Group = s.Target
	}
	result.Target.Jobs = mapSlice(s.Jobs, func(j hourbell.Job) string { return j.Name })
	if s.Jobs == nil {
		result.Problem = strings.TrimSpace("this process does not declare the target " + s.TargetKind + " " + s.Target)
	}
	if s.Overdue {
		result.OverdueSeconds = int64(s.ReadAt.Sub(s.NextRunAt).Seconds())
	}
	if s.LockedBy != "" {
		result.Lock = &lockJSON{
			Holder: s.LockedBy, Since: timestamp{s.LockedAt}, ExpiresAt: timestamp{s.LockExpiresAt}, Stalled: !s.LockExpiresAt.After(s.ReadAt),
		}
	}
	return result
}

// toLastRunJSON returns the newest outcome that has runs. If there is none
// among the outcomes, it returns the last cron fire that the row records.
func toLastRunJSON(s hourbell.Schedule) *lastRunJSON {
	for _, o := range s.Outcomes {
		if o.RunID != 0 {
			last := &lastRunJSON{
				Trigger: o.Trigger, At: timestamp{o.At}, Slot: timestamp{o.SlotFrom}, LatenessMs: lateness(o.SlotFrom, o.At),
				Actor: o.Actor, RunID: &o.RunID,
			}
			if t := o.Tally; t != nil {
				total := t.Queued + t.Running + t.Succeeded + t.Failed
				last.Runs = &runsJSON{t.Queued, t.Running, t.Succeeded, t.Failed, total >= maxCount}
			}
			return last
		}
	}
	if s.LastRunAt.IsZero() {
		return nil
	}
	return &lastRunJSON{
		Trigger: hourbell.TriggerCron, At: timestamp{s.LastRunAt}, Slot: timestamp{s.LastScheduledFor}, LatenessMs: lateness(s.LastScheduledFor, s.LastRunAt),
	}
}

// maxCount is the number up to which the scheduler counts runs and skipped
// slots.
const maxCount = 1000

// describeCron sets the description of the expression and the slot at which a
// disabled schedule would run next. It returns the parsed expression. If this
// process cannot parse it, describeCron sets Problem and returns nil. For a
// manual schedule, which has none, it returns nil.
func (s *scheduleJSON) describeCron(schedule hourbell.Schedule, parsed parseCache) *cron.Schedule {
	if schedule.Manual {
		return nil
	}
	slots, err := parsed.parse(schedule.Cron, schedule.TimeZone)
	if err != nil {
		s.Problem = err.Error()
		return nil
	}
	s.CronDescription, _ = cron.Describe(schedule.Cron) // it is valid: it was just parsed
	if schedule.State == hourbell.StateDisabled {
		if next, err := slots.Next(upcomingAfter(schedule)); err == nil {
			s.WouldRunAt = timestamp{next}
		}
	}
	return &slots
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
