package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
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

// health reports whether slots fire. Its status serves readiness probes: 503
// until the first sync of a process that calls Run, while its loop is stalled,
// and after its Run has failed. A problem of the fleet does not change the
// status, because a restart of this process would not fix it.
//
// With fleet=1, for alerts, the status is 503 for every problem. With live=1,
// for liveness probes, the handler does not access the database, and the status
// is 503 only for what a restart may fix: a stalled loop or a failed Run.
func (h *handler) health(c *call) (*response, error) {
	fleet, err := c.boolParam("fleet")
	if err != nil {
		return nil, err
	}
	live, err := c.boolParam("live")
	switch {
	case err != nil:
		return nil, err
	case fleet && live:
		return nil, badValue("live", "excludes fleet: with live, the database is not read")
	}
	timeout := probeTimeout
	if fleet {
		timeout = fleetTimeout
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), timeout)
	defer cancel()
	if live {
		cancel() // Health returns the state of the process and sends no statement
	}
	state, err := h.scheduler.Health(ctx)

	body := healthJSON{
		Healthy:  !state.Stalled && state.RunError == "" && (live || !isStarting(state)),
		Process:  processJSON{state.Running, state.Stalled, timestamp{state.LastTickAt}},
		Problems: processProblems(state),
	}
	switch {
	case live:
	case err != nil:
		body.Problems = append(body.Problems, databaseProblem(err))
	default:
		mayProbe := func(id string) bool {
			_, err := h.authorize(c.r, Action{Verb: Probe, ScheduleID: id})
			return err == nil
		}
		body.Fleet = toFleetJSON(state, mayProbe)
		body.Problems = append(body.Problems, fleetProblems(state, mayProbe)...)
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

// isStarting reports whether Run was called and has not yet synced.
func isStarting(state hourbell.Health) bool { return state.Running && !state.Synced }

// toFleetJSON converts the health of the fleet. Its lists have only schedules
// that mayShow allows.
func toFleetJSON(state hourbell.Health, mayShow func(id string) bool) *fleetJSON {
	isHidden := func(id string) bool { return !mayShow(id) }
	state.Late = slices.DeleteFunc(slices.Clone(state.Late), func(s hourbell.Schedule) bool { return isHidden(s.ID) })
	state.Mismatched = slices.DeleteFunc(slices.Clone(state.Mismatched), isHidden)
	return &fleetJSON{
		At: timestamp{state.At}, Workers: state.Workers, NewestTickAt: timestamp{state.NewestTick}, Overdue: state.Overdue, OldestDueAt: timestamp{state.OldestDue},
		Late: mapSlice(state.Late, func(s hourbell.Schedule) lateJSON {
			return lateJSON{s.ID, timestamp{s.NextRunAt}, int64(state.At.Sub(s.NextRunAt).Seconds())}
		}),
		Mismatched:     append([]string{}, state.Mismatched...),
		MaxClockSkewMs: state.MaxSkew.Milliseconds(), ClockBehindMs: state.ClockBehind.Milliseconds(),
	}
}

// problemList is a list of health problems under construction.
type problemList []healthProblemJSON

func (l *problemList) addIf(condition bool, code, format string, args ...any) {
	if condition {
		*l = append(*l, healthProblemJSON{code, fmt.Sprintf(format, args...)})
	}
}

// processProblems lists the problems of this process.
func processProblems(state hourbell.Health) problemList {
	problems := problemList{}
	problems.addIf(state.RunError != "", "RUN_FAILED", "this process's loop does not run, because Run has failed: %s", strings.TrimPrefix(state.RunError, "hourbell: "))
	problems.addIf(isStarting(state), "NOT_SYNCED", "this process has not synced its definitions yet: Run is starting, or waits for what its log says")
	problems.addIf(state.Stalled, "NOT_TICKING", "this process's loop has not ticked for two poll intervals")
	return problems
}

// databaseProblem returns the problem of an error of reading the health.
func databaseProblem(err error) healthProblemJSON {
	if errors.Is(err, hourbell.ErrNotMigrated) {
		return healthProblemJSON{"NOT_MIGRATED", hourbell.ErrNotMigrated.Error()}
	}
	return healthProblemJSON{"DATABASE_UNAVAILABLE", "the database did not respond, so the state of the fleet is unknown"}
}

// fleetProblems lists the problems of the fleet. It names only schedules that
// mayShow allows.
func fleetProblems(state hourbell.Health, mayShow func(id string) bool) problemList {
	var problems problemList
	problems.addIf(state.Workers == 0, "NO_WORKER", "no worker is active: nothing fires until one runs")
	problems.addIf(state.Overdue > 0, "OVERDUE", "%s overdue; the oldest slot was due at %s", plural(state.Overdue, "schedule"), state.OldestDue.UTC().Format(time.RFC3339))
	problems.addIf(len(state.Mismatched) > 0, "MISMATCHED", "%d overdue: the stored definition differs from this process's; unless another build runs, they wait for a deploy", len(state.Mismatched))
	problems.addIf(len(state.Missing) > 0, "MISSING", "%s", missingText(state, mayShow))
	problems.addIf(state.MaxSkew > maxSkew, "CLOCK_SKEW", "a worker's clock is off by %v; slots fire on time all the same, because the database clock decides", state.MaxSkew)
	problems.addIf(state.ClockBehind > 0, "CLOCK_BEHIND", "the database clock was stepped back: slots that fired do not repeat, and firing resumes in %v", state.ClockBehind)
	return problems
}

// maxNames is how many schedules a problem names.
const maxNames = 10

// missingText describes the declared schedules that were missing from the
// table. It names only those that mayShow allows. If one of the first is not
// among them, it leaves out the error, which may name it.
func missingText(state hourbell.Health, mayShow func(id string) bool) string {
	first := state.Missing[:min(maxNames, len(state.Missing))]
	var names []string
	for _, id := range first {
		if mayShow(id) {
			names = append(names, id)
		}
	}
	text := plural(len(state.Missing), "declared schedule") + " missing from the table"
	if len(names) > 0 {
		text += " (" + strings.Join(names, ", ")
		if more := len(state.Missing) - len(names); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		text += ")"
	}
	switch {
	case state.MissingError == "":
		return text + "; restored"
	case len(names) < len(first):
		return text + "; restoring failed: the log of the process has the cause"
	}
	return text + "; restoring failed: " + state.MissingError
}
