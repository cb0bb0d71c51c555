package admin

import (
	"encoding/json"
	"time"

	"github.com/hourbell/hourbell"
)

// The types of the API's responses. No field is ever omitted: a missing value
// is null, or "" for a string.

// timestamp is a time in a response.
type timestamp struct{ time.Time }

// MarshalJSON encodes the time as RFC 3339 in UTC, and the zero time as null.
func (t timestamp) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UTC())
}

type scheduleJSON struct {
	ID                  string                 `json:"id"`
	Name                string                 `json:"name"`
	Description         string                 `json:"description"`
	Cron                string                 `json:"cron"`
	CronDescription     string                 `json:"cronDescription"`
	TimeZone            string                 `json:"timeZone"`
	Manual              bool                   `json:"manual"`
	Target              targetJSON             `json:"target"`
	GraceSeconds        float64                `json:"graceSeconds"`
	State               hourbell.ScheduleState `json:"state"`
	Enabled             bool                   `json:"enabled"`
	EnabledNote         string                 `json:"enabledNote"`
	NextRunAt           timestamp              `json:"nextRunAt"`
	WouldRunAt          timestamp              `json:"wouldRunAt"`
	Overdue             bool                   `json:"overdue"`
	OverdueSeconds      int64                  `json:"overdueSeconds"`
	LastRun             *lastRunJSON           `json:"lastRun"`
	Recent              []outcomeJSON          `json:"recent"`
	Lock                *lockJSON              `json:"lock"`
	ConsecutiveFailures int                    `json:"consecutiveFailures"`
	LastError           string                 `json:"lastError"`
	RetryAt             timestamp              `json:"retryAt"`
	DeclaredHere        bool                   `json:"declaredHere"`
	Problem             string                 `json:"problem"`
	RemovedAt           timestamp              `json:"removedAt"`
	CreatedAt           timestamp              `json:"createdAt"`
	UpdatedAt           timestamp              `json:"updatedAt"`
	ETag                string                 `json:"etag"`
}

type targetJSON struct {
	Kind  string   `json:"kind"`
	Group string   `json:"group"`
	Jobs  []string `json:"jobs"`
}

type lastRunJSON struct {
	Trigger    hourbell.Trigger `json:"trigger"`
	At         timestamp        `json:"at"`
	Slot       timestamp        `json:"slot"`
	LatenessMs *int64           `json:"latenessMs"`
	Actor      string           `json:"actor"`
	RunID      *int64           `json:"runId"`
	Runs       *runsJSON        `json:"runs"`
}

type runsJSON struct {
	Queued    int  `json:"queued"`
	Running   int  `json:"running"`
	Succeeded int  `json:"succeeded"`
	Failed    int  `json:"failed"`
	AtLeast   bool `json:"atLeast"`
}

type outcomeJSON struct {
	Kind       hourbell.OutcomeKind `json:"kind"`
	Trigger    hourbell.Trigger     `json:"trigger"`
	At         timestamp            `json:"at"`
	SlotFrom   timestamp            `json:"slotFrom"`
	SlotTo     timestamp            `json:"slotTo"`
	SlotCount  int                  `json:"slotCount"`
	LatenessMs *int64               `json:"latenessMs"`
	Reason     hourbell.SkipReason  `json:"reason"`
	RunID      *int64               `json:"runId"`
	Actor      string               `json:"actor"`
}

type lockJSON struct {
	Holder    string    `json:"holder"`
	Since     timestamp `json:"since"`
	ExpiresAt timestamp `json:"expiresAt"`
	Stalled   bool      `json:"stalled"`
}

type runJSON struct {
	ID             int64              `json:"id"`
	Key            string             `json:"key"`
	Job            string             `json:"job"`
	Group          string             `json:"group"`
	Trigger        hourbell.Trigger   `json:"trigger"`
	ScheduleID     string             `json:"scheduleId"`
	ScheduledFor   timestamp          `json:"scheduledFor"`
	LatenessMs     *int64             `json:"latenessMs"`
	Ordinal        int                `json:"ordinal"`
	Status         hourbell.RunStatus `json:"status"`
	QueuedAt       timestamp          `json:"queuedAt"`
	StartedAt      timestamp          `json:"startedAt"`
	FinishedAt     timestamp          `json:"finishedAt"`
	LeasedBy       string             `json:"leasedBy"`
	LeasedUntil    timestamp          `json:"leasedUntil"`
	Attempt        int                `json:"attempt"`
	Error          string             `json:"error"`
	Actor          string             `json:"actor"`
	IdempotencyKey string             `json:"idempotencyKey"`
}

// runWithArgsJSON is a run with its arguments. Lists omit the arguments because
// they may be large.
type runWithArgsJSON struct {
	runJSON
	Args json.RawMessage `json:"args"`
}

type eventJSON struct {
	ID         int64               `json:"id"`
	ScheduleID string              `json:"scheduleId"`
	Kind       hourbell.EventKind  `json:"kind"`
	Reason     hourbell.SkipReason `json:"reason"`
	At         timestamp           `json:"at"`
	Actor      string              `json:"actor"`
	Note       string              `json:"note"`
	SlotFrom   timestamp           `json:"slotFrom"`
	SlotTo     timestamp           `json:"slotTo"`
	SlotCount  int                 `json:"slotCount"`
	Detail     string              `json:"detail"`
}

type workerJSON struct {
	ID              string    `json:"id"`
	Type            string    `json:"type"`
	State           string    `json:"state"`
	Hostname        string    `json:"hostname"`
	PID             int       `json:"pid"`
	Version         string    `json:"version"`
	BuildTime       timestamp `json:"buildTime"`
	DefinitionsHash string    `json:"definitionsHash"`
	StartedAt       timestamp `json:"startedAt"`
	HeartbeatAt     timestamp `json:"heartbeatAt"`
	LastTickAt      timestamp `json:"lastTickAt"`
	StoppedAt       timestamp `json:"stoppedAt"`
	ClockSkewMs     int64     `json:"clockSkewMs"`
}

func toRunJSON(r hourbell.JobRun) runJSON {
	return runJSON{
		ID: r.ID, Key: r.Key(), Job: r.Job, Group: r.Group, Trigger: r.Trigger, ScheduleID: r.ScheduleID,
		ScheduledFor: timestamp{r.ScheduledFor}, LatenessMs: lateness(r.ScheduledFor, r.QueuedAt), Ordinal: r.Ordinal, Status: r.Status,
		QueuedAt: timestamp{r.QueuedAt}, StartedAt: timestamp{r.StartedAt}, FinishedAt: timestamp{r.FinishedAt}, LeasedBy: r.LeasedBy,
		LeasedUntil: timestamp{r.LeasedUntil}, Attempt: r.Attempt, Error: r.Error, Actor: r.Actor, IdempotencyKey: r.IdempotencyKey,
	}
}

func toEventJSON(e hourbell.Event) eventJSON {
	return eventJSON{
		ID: e.ID, ScheduleID: e.ScheduleID, Kind: e.Kind, Reason: e.Reason, At: timestamp{e.At}, Actor: e.Actor, Note: e.Note,
		SlotFrom: timestamp{e.SlotFrom}, SlotTo: timestamp{e.SlotTo}, SlotCount: e.SlotCount, Detail: e.Detail,
	}
}

func toOutcomeJSON(o hourbell.Outcome) outcomeJSON {
	outcome := outcomeJSON{
		Kind: o.Kind, Trigger: o.Trigger, At: timestamp{o.At}, SlotFrom: timestamp{o.SlotFrom}, SlotTo: timestamp{o.SlotTo},
		SlotCount: o.Count, Reason: o.Reason, RunID: nullIfZero(o.RunID), Actor: o.Actor,
	}
	if o.RunID != 0 {
		outcome.LatenessMs = lateness(o.SlotFrom, o.At)
	}
	return outcome
}

func toWorkerJSON(w hourbell.Worker) workerJSON {
	state := "DEAD"
	switch {
	case !w.StoppedAt.IsZero():
		state = "STOPPED"
	case w.Active:
		state = "ACTIVE"
	}
	return workerJSON{
		ID: w.ID, Type: w.WorkerType, State: state, Hostname: w.Hostname, PID: w.PID, Version: w.Version, BuildTime: timestamp{w.BuildTime},
		DefinitionsHash: w.DefinitionsHash, StartedAt: timestamp{w.StartedAt}, HeartbeatAt: timestamp{w.HeartbeatAt}, LastTickAt: timestamp{w.LastTickAt},
		StoppedAt: timestamp{w.StoppedAt}, ClockSkewMs: w.ClockSkew.Milliseconds(),
	}
}

// lateness returns the time from a slot to the enqueueing of its runs in
// milliseconds, or nil without a slot.
func lateness(slot, at time.Time) *int64 {
	if slot.IsZero() {
		return nil
	}
	late := at.Sub(slot).Milliseconds()
	return &late
}

func nullIfZero(id int64) *int64 {
	if id == 0 {
		return nil
	}
	return &id
}

// mapSlice converts each item of a list. The result is never nil, so its JSON
// is an array.
func mapSlice[From, To any](list []From, convert func(From) To) []To {
	converted := make([]To, len(list))
	for i, item := range list {
		converted[i] = convert(item)
	}
	return converted
}
