package hourbell

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"
)

// Change is what a sync would do to one schedule.
type Change struct {
	ScheduleID string
	Kind       string // DEFINED, CHANGED or REMOVED, as the event will say
	Detail     string // in words, as the event will say
	// OldNextRunAt and NewNextRunAt are the schedule's next slot before and after. They are equal where it does not move;
	// zero is none.
	OldNextRunAt, NewNextRunAt time.Time
}

// Plan says what [Scheduler.Sync] would write at this instant, by schedule, and writes nothing: a dry run, for a check
// before a deploy. It does not ask whether a newer build would keep Sync from writing. It fails where Sync would refuse.
func (s *Scheduler) Plan(ctx context.Context) ([]Change, error) {
	if err := s.store.Ready(ctx); err != nil {
		return nil, fmt.Errorf("hourbell: plan: %w", err)
	}
	plan, err := s.plan(ctx)
	if err != nil {
		return nil, fmt.Errorf("hourbell: plan: %w", err)
	}
	if err := s.refuseToRemoveAll(plan); err != nil {
		return nil, fmt.Errorf("hourbell: plan: %w", err)
	}
	return plan.changes(), nil
}

// changes lists what a plan writes, by schedule.
func (p *syncPlan) changes() []Change {
	list := make([]Change, 0, len(p.added)+len(p.revised))
	for _, row := range slices.Concat(p.added, p.revised) {
		events := p.events[row.ID]
		says := events[len(events)-1] // before it come the slots passed over
		list = append(list, Change{row.ID, says.Kind, says.Detail, p.before[row.ID], row.NextRunAt})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ScheduleID < list[j].ScheduleID })
	return list
}
