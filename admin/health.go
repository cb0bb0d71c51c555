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

// Probes have little patience, and must not be kept waiting by a database that is slow for everybody.
const (
	probePatience = 700 * time.Millisecond
	fleetPatience = 5 * time.Second
)

// skewTolerated is how far a worker's clock may be off before it is called a problem.
const skewTolerated = 2 * time.Second

type healthJSON struct {
	Healthy  bool         `json:"healthy"`
	Process  processJSON  `json:"process"`
	Fleet    *fleetJSON   `json:"fleet"`
	Problems []healthNote `json:"problems"`
}

// healthNote is something that is wrong. Code does not change; Detail says it in words.
type healthNote struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

type processJSON struct {
	Running    bool    `json:"running"`
	Stalled    bool    `json:"stalled"`
	LastTickAt instant `json:"lastTickAt"`
}

type fleetJSON struct {
	At             instant    `json:"at"`
	Workers        int        `json:"workers"`
	NewestTickAt   instant    `json:"newestTickAt"`
	Overdue        int        `json:"overdue"`
	OldestDueAt    instant    `json:"oldestDueAt"`
	Late           []lateJSON `json:"late"`
	Unfireable     []string   `json:"unfireable"`
	MaxClockSkewMs int64      `json:"maxClockSkewMs"`
	ClockBehindMs  int64      `json:"clockBehindMs"`
}

type lateJSON struct {
	ID             string  `json:"id"`
	DueAt          instant `json:"dueAt"`
	OverdueSeconds int64   `json:"overdueSeconds"`
}

// health says whether slots fire. The status is that of this process alone: 503 when it should run the loop and the loop
// stands still, for restarting other processes would not mend what is wrong with the fleet. With fleet=1 it is 503
// for whatever is wrong, as an alert wants it.
func (h *handler) health(c *call) (*reply, error) {
	fleet := false
	if c.query.Has("fleet") {
		var err error
		if fleet, err = strconv.ParseBool(c.query.Get("fleet")); err != nil {
			return nil, wrong("fleet", "%q is neither 1 nor 0", c.query.Get("fleet"))
		}
	}
	patience := probePatience
	if fleet {
		patience = fleetPatience
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), patience)
	defer cancel()
	state, err := h.scheduler.Health(ctx)

	wire := healthJSON{
		Healthy:  !state.Stalled,
		Process:  processJSON{state.Running, state.Stalled, instant{state.LastTickAt}},
		Problems: problemsOf(state, err),
	}
	if err == nil {
		wire.Fleet = fleetOf(state)
	}
	if fleet {
		wire.Healthy = len(wire.Problems) == 0
	}
	status := http.StatusOK
	if !wire.Healthy {
		status = http.StatusServiceUnavailable
	}
	return &reply{status: status, body: wire}, nil
}

func fleetOf(state hourbell.Health) *fleetJSON {
	return &fleetJSON{
		At: instant{state.At}, Workers: state.Workers, NewestTickAt: instant{state.NewestTick}, Overdue: state.Overdue, OldestDueAt: instant{state.OldestDue},
		Late: each(state.Late, func(row hourbell.Schedule) lateJSON {
			return lateJSON{row.ID, instant{row.NextRunAt}, int64(state.At.Sub(row.NextRunAt).Seconds())}
		}),
		Unfireable:     append([]string{}, state.Unfireable...),
		MaxClockSkewMs: state.MaxSkew.Milliseconds(), ClockBehindMs: state.ClockBehind.Milliseconds(),
	}
}

// problemsOf says what is wrong, with this process first.
func problemsOf(state hourbell.Health, err error) []healthNote {
	notes := []healthNote{}
	note := func(wrong bool, code, format string, args ...any) {
		if wrong {
			notes = append(notes, healthNote{code, fmt.Sprintf(format, args...)})
		}
	}
	note(state.Stalled, "NOT_TICKING", "this process's loop has not ticked for two poll intervals")
	if err != nil {
		unmigrated := errors.Is(err, hourbell.ErrNotMigrated)
		note(unmigrated, "NOT_MIGRATED", "%v", hourbell.ErrNotMigrated)
		note(!unmigrated, "DATABASE_UNAVAILABLE", "the database did not answer: nothing is known of the fleet")
		return notes
	}
	note(state.Workers == 0, "NO_WORKER", "no worker is alive: nothing fires until one runs")
	note(state.Overdue > 0, "OVERDUE", "%s overdue, the oldest slot since %s", plural(state.Overdue, "schedule"), state.OldestDue.UTC().Format(time.RFC3339))
	note(len(state.Unfireable) > 0, "UNFIREABLE", "%d of them are not as this process declares them; unless another build runs, they wait for a deploy", len(state.Unfireable))
	note(state.MaxSkew > skewTolerated, "CLOCK_SKEW", "a worker's clock is off by %v; the database's is used, and slots fire on time", state.MaxSkew)
	note(state.ClockBehind > 0, "CLOCK_BEHIND", "the database's clock was stepped back: what has fired already is not repeated, and fires again in %v", state.ClockBehind)
	return notes
}

func (h *handler) listWorkers(c *call) (*reply, error) {
	at, err := h.scheduler.Now(c.r.Context())
	if err != nil {
		return nil, err
	}
	workers, err := h.scheduler.Workers(c.r.Context())
	if err != nil {
		return nil, err
	}
	return ok(struct {
		Workers []workerJSON `json:"workers"`
	}{each(workers, func(w hourbell.Worker) workerJSON { return workerOf(w, at) })})
}
