package admin

import (
	"encoding/json"
	"time"

	"github.com/hourbell/hourbell"
)

// What answers are made of. A field is always there: what is none is null, or "" for a text.

type instant struct{ time.Time }

// MarshalJSON writes RFC 3339 in UTC, and null for none.
func (t instant) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UTC())
}

type scheduleJSON struct {
	ID              string        `json:"id"`
	Name            string        `json:"name"`
	Description     string        `json:"description"`
	Cron            string        `json:"cron"`
	CronDescription string        `json:"cronDescription"`
	TimeZone        string        `json:"timeZone"`
	Target          targetJSON    `json:"target"`
	GraceSeconds    float64       `json:"graceSeconds"`
	State           string        `json:"state"`
	Enabled         bool          `json:"enabled"`
	EnabledNote     string        `json:"enabledNote"`
	NextRunAt       instant       `json:"nextRunAt"`
	WouldRunAt      instant       `json:"wouldRunAt"`
	Overdue         bool          `json:"overdue"`
	OverdueSeconds  int64         `json:"overdueSeconds"`
	LastRun         *lastRunJSON  `json:"lastRun"`
	Recent          []outcomeJSON `json:"recent"`
	Lock            *lockJSON     `json:"lock"`
	Failures        int           `json:"failures"`
	LastError       string        `json:"lastError"`
	HeldUntil       instant       `json:"heldUntil"`
	DeclaredHere    bool          `json:"declaredHere"`
	Problem         string        `json:"problem"`
	RemovedAt       instant       `json:"removedAt"`
	CreatedAt       instant       `json:"createdAt"`
	UpdatedAt       instant       `json:"updatedAt"`
	Fingerprint     string        `json:"fingerprint"`
}

type targetJSON struct {
	Kind  string   `json:"kind"`
	Group string   `json:"group"`
	Jobs  []string `json:"jobs"`
}

type lastRunJSON struct {
	Trigger    string    `json:"trigger"`
	At         instant   `json:"at"`
	Slot       instant   `json:"slot"`
	LatenessMs *int64    `json:"latenessMs"`
	Actor      string    `json:"actor"`
	RunID      *int64    `json:"runId"`
	Runs       *runsJSON `json:"runs"`
}

type runsJSON struct {
	Queued    int  `json:"queued"`
	Running   int  `json:"running"`
	Succeeded int  `json:"succeeded"`
	Failed    int  `json:"failed"`
	AtLeast   bool `json:"atLeast"`
}

type outcomeJSON struct {
	Kind       string  `json:"kind"`
	Trigger    string  `json:"trigger"`
	At         instant `json:"at"`
	SlotFrom   instant `json:"slotFrom"`
	SlotTo     instant `json:"slotTo"`
	SlotCount  int     `json:"slotCount"`
	LatenessMs *int64  `json:"latenessMs"`
	Reason     string  `json:"reason"`
	RunID      *int64  `json:"runId"`
	Actor      string  `json:"actor"`
}

type lockJSON struct {
	Holder    string  `json:"holder"`
	Since     instant `json:"since"`
	ExpiresAt instant `json:"expiresAt"`
	Stalled   bool    `json:"stalled"`
}

type runJSON struct {
	ID           int64   `json:"id"`
	Key          string  `json:"key"`
	Job          string  `json:"job"`
	Group        string  `json:"group"`
	Trigger      string  `json:"trigger"`
	ScheduleID   string  `json:"scheduleId"`
	ScheduledFor instant `json:"scheduledFor"`
	LatenessMs   *int64  `json:"latenessMs"`
	Ordinal      int     `json:"ordinal"`
	Status       string  `json:"status"`
	QueuedAt     instant `json:"queuedAt"`
	StartedAt    instant `json:"startedAt"`
	FinishedAt   instant `json:"finishedAt"`
	WorkerID     string  `json:"workerId"`
	LeasedUntil  instant `json:"leasedUntil"`
	Attempt      int     `json:"attempt"`
	Error        string  `json:"error"`
	Actor        string  `json:"actor"`
	RequestKey   string  `json:"requestKey"`
}

// runWithArgsJSON is one run; lists leave the arguments out, which may be large.
type runWithArgsJSON struct {
	runJSON
	Args json.RawMessage `json:"args"`
}

type eventJSON struct {
	ID         int64   `json:"id"`
	ScheduleID string  `json:"scheduleId"`
	Kind       string  `json:"kind"`
	Reason     string  `json:"reason"`
	At         instant `json:"at"`
	Actor      string  `json:"actor"`
	Note       string  `json:"note"`
	SlotFrom   instant `json:"slotFrom"`
	SlotTo     instant `json:"slotTo"`
	SlotCount  int     `json:"slotCount"`
	Detail     string  `json:"detail"`
}

type workerJSON struct {
	ID              string  `json:"id"`
	Type            string  `json:"type"`
	State           string  `json:"state"`
	Hostname        string  `json:"hostname"`
	PID             int     `json:"pid"`
	Version         string  `json:"version"`
	BuildTime       instant `json:"buildTime"`
	DefinitionsHash string  `json:"definitionsHash"`
	StartedAt       instant `json:"startedAt"`
	HeartbeatAt     instant `json:"heartbeatAt"`
	LastTickAt      instant `json:"lastTickAt"`
	StoppedAt       instant `json:"stoppedAt"`
	ClockSkewMs     int64   `json:"clockSkewMs"`
}

func runOf(r hourbell.JobRun) runJSON {
	return runJSON{
		ID: r.ID, Key: r.Key(), Job: r.Job, Group: r.Group, Trigger: r.Trigger, ScheduleID: r.ScheduleID,
		ScheduledFor: instant{r.ScheduledFor}, LatenessMs: lateness(r.ScheduledFor, r.QueuedAt), Ordinal: r.Ordinal, Status: r.Status,
		QueuedAt: instant{r.QueuedAt}, StartedAt: instant{r.StartedAt}, FinishedAt: instant{r.FinishedAt}, WorkerID: r.WorkerID,
		LeasedUntil: instant{r.LeasedUntil}, Attempt: r.Attempt, Error: r.Error, Actor: r.Actor, RequestKey: r.RequestKey,
	}
}

func eventOf(e hourbell.Event) eventJSON {
	return eventJSON{
		ID: e.ID, ScheduleID: e.ScheduleID, Kind: e.Kind, Reason: e.Reason, At: instant{e.At}, Actor: e.Actor, Note: e.Note,
		SlotFrom: instant{e.SlotFrom}, SlotTo: instant{e.SlotTo}, SlotCount: e.SlotCount, Detail: e.Detail,
	}
}

func outcomeOf(o hourbell.Outcome) outcomeJSON {
	wire := outcomeJSON{
		Kind: o.Kind, Trigger: o.Trigger, At: instant{o.At}, SlotFrom: instant{o.SlotFrom}, SlotTo: instant{o.SlotTo},
		SlotCount: o.Count, Reason: o.Reason, RunID: orNull(o.RunID), Actor: o.Actor,
	}
	if o.RunID != 0 {
		wire.LatenessMs = lateness(o.SlotFrom, o.At)
	}
	return wire
}

func workerOf(w hourbell.Worker, at time.Time) workerJSON {
	state := "DEAD"
	switch {
	case !w.StoppedAt.IsZero():
		state = "STOPPED"
	case w.Alive(at):
		state = "ALIVE"
	}
	return workerJSON{
		ID: w.ID, Type: w.WorkerType, State: state, Hostname: w.Hostname, PID: w.PID, Version: w.Version, BuildTime: instant{w.BuildTime},
		DefinitionsHash: w.DefinitionsHash, StartedAt: instant{w.StartedAt}, HeartbeatAt: instant{w.HeartbeatAt}, LastTickAt: instant{w.LastTickAt},
		StoppedAt: instant{w.StoppedAt}, ClockSkewMs: w.ClockSkew.Milliseconds(),
	}
}

// lateness is how long after its slot a run was enqueued; null where there is no slot.
func lateness(slot, at time.Time) *int64 {
	if slot.IsZero() {
		return nil
	}
	late := at.Sub(slot).Milliseconds()
	return &late
}

func orNull(id int64) *int64 {
	if id == 0 {
		return nil
	}
	return &id
}

// each turns a list into what is sent, which is never null.
func each[From, To any](list []From, to func(From) To) []To {
	wire := make([]To, len(list))
	for i, item := range list {
		wire[i] = to(item)
	}
	return wire
}
