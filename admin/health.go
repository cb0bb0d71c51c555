package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/hourbell/hourbell"
)

// The time that the health check waits for the database. A probe must get its
// response before its own timeout, even if the database is slow.
const (
	probeTimeout = 700 * time.Millisecond
	fleetTimeout = 5 * time.Second
)

// maxSkew is the clock skew of a worker above which health reports a problem.
const maxSkew = 2 * time.Second

type healthJSON struct {
	Healthy  bool                `json:"healthy"`
	Process  processJSON         `json:"process"`
	Fleet    *fleetJSON          `json:"fleet"`
	Problems []healthProblemJSON `json:"problems"`
}

// healthProblemJSON is a problem that health reports. Code is stable; Detail is
// for operators.
type healthProblemJSON struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

type processJSON struct {
	Running    bool      `json:"running"`
	Stalled    bool      `json:"stalled"`
	LastTickAt timestamp `json:"lastTickAt"`
}

type fleetJSON struct {
	At             timestamp  `json:"at"`
	Workers        int        `json:"workers"`
	NewestTickAt   timestamp  `json:"newestTickAt"`
	Overdue        int        `json:"overdue"`
	OldestDueAt    timestamp  `json:"oldestDueAt"`
	Late           []lateJSON `json:"late"`
	Mismatched     []string   `json:"mismatched"`
	MaxClockSkewMs int64      `json:"maxClockSkewMs"`
	ClockBehindMs  int64      `json:"clockBehindMs"`
}

type lateJSON struct {
	ID             string    `json:"id"`
	DueAt          timestamp `json:"dueAt"`
	OverdueSeconds int64     `json:"overdueSeconds"`
}

// health reports whether slots fire. The status is 503 only if this process
// runs the loop and the loop is stalled. A problem of the fleet does not change
// the status, because a restart of this process would not fix it. With fleet=1,
// for alerts, the status is 503 for every problem.
func (h *handler) health(c *call) (*response, error) {
	fleet := false
	if c.query.Has("fleet") {
		var err error
		if fleet, err = strconv.ParseBool(c.query.Get("fleet")); err != nil {
			return nil, badValue("fleet", "%q is neither 1 nor 0", c.query.Get("fleet"))
		}
	}
	timeout := probeTimeout
	if fleet {
		timeout = fleetTimeout
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), timeout)
	defer cancel()
	state, err := h.scheduler.Health(ctx)

	body := healthJSON{
		Healthy:  !state.Stalled,
		Process:  processJSON{state.Running, state.Stalled, timestamp{state.LastTickAt}},
		Problems: healthProblems(state, err),
	}
	if err == nil {
		body.Fleet = toFleetJSON(state)
	}
	if fleet {
		body.Healthy = len(body.Problems) == 0
	}
	status := http.StatusOK
	if !body.Healthy {
		status = http.StatusServiceUnavailable
	}
	return &response{status: status, body: body}, nil
}

func toFleetJSON(state hourbell.Health) *fleetJSON {
	return &fleetJSON{
		At: timestamp{state.At}, Workers: state.Workers, NewestTickAt: timestamp{state.NewestTick}, Overdue: state.Overdue, OldestDueAt: timestamp{state.OldestDue},
		Late: mapSlice(state.Late, func(s hourbell.Schedule) lateJSON {
			return lateJSON{s.ID, timestamp{s.NextRunAt}, int64(state.At.Sub(s.NextRunAt).Seconds())}
		}),
		Mismatched:     append([]string{}, state.Mismatched...),
		MaxClockSkewMs: state.MaxSkew.Milliseconds(), ClockBehindMs: state.ClockBehind.Milliseconds(),
	}
}

// healthProblems lists the problems that the health shows, those of this
// process first. err is the error of reading the health.
func healthProblems(state hourbell.Health, err error) []healthProblemJSON {
	problems := []healthProblemJSON{}
	addIf := func(condition bool, code, format string, args ...any) {
		if condition {
			problems = append(problems, healthProblemJSON{code, fmt.Sprintf(format, args...)})
		}
	}
	addIf(state.Stalled, "NOT_TICKING", "this process's loop has not ticked for two poll intervals")
	if err != nil {
		unmigrated := errors.Is(err, hourbell.ErrNotMigrated)
		addIf(unmigrated, "NOT_MIGRATED", "%v", hourbell.ErrNotMigrated)
		addIf(!unmigrated, "DATABASE_UNAVAILABLE", "the database did not respond, so the state of the fleet is unknown")
		return problems
	}
	addIf(state.Workers == 0, "NO_WORKER", "no worker is active: nothing fires until one runs")
	addIf(state.Overdue > 0, "OVERDUE", "%s overdue; the oldest slot was due at %s", plural(state.Overdue, "schedule"), state.OldestDue.UTC().Format(time.RFC3339))
	addIf(len(state.Mismatched) > 0, "MISMATCHED", "%d overdue: the stored definition differs from this process's; unless another build runs, they wait for a deploy", len(state.Mismatched))
	addIf(state.MaxSkew > maxSkew, "CLOCK_SKEW", "a worker's clock is off by %v; slots fire on time all the same, because the database clock decides", state.MaxSkew)
	addIf(state.ClockBehind > 0, "CLOCK_BEHIND", "the database clock was stepped back: slots that fired do not repeat, and firing resumes in %v", state.ClockBehind)
	return problems
}

func (h *handler) listWorkers(c *call) (*response, error) {
	workers, err := h.scheduler.Workers(c.r.Context())
	if err != nil {
		return nil, err
	}
	return okResponse(struct {
		Workers []workerJSON `json:"workers"`
	}{mapSlice(workers, toWorkerJSON)})
}
