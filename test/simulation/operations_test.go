package simulation

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
)

// drawOperation draws an operation with random arguments. Some are never
// executed in a transaction.
func (p *pair) drawOperation(standalone bool) operation {
	draws := []func() operation{
		p.insertSchedules, p.updateSchedules, p.updateSchedules, p.advance, p.advance, p.release, p.recordFailures, p.unlock, p.insertRuns, p.insertEvents,
		p.stored, p.latestEvents,
	}
	if standalone {
		draws = append(draws, p.claim, p.claim, p.claim, p.fireOnTime, p.fireOnTime, p.heartbeat, p.stopWorker)
	} else {
		draws = append(draws, p.runsByIdempotencyKey)
	}
	return pick(p, draws...)()
}

func (p *pair) id() string     { return pick(p, "a", "b", "c", "d") }
func (p *pair) worker() string { return p.namespace + pick(p, "w1", "w2", "w3") }

// minuteNearNow returns a full minute near now, or the zero time.
func (p *pair) minuteNearNow() time.Time {
	if p.random.IntN(5) == 0 {
		return time.Time{}
	}
	return p.model.Now.Truncate(time.Minute).Add(time.Duration(p.random.IntN(10)-5) * time.Minute)
}

func (p *pair) insertSchedules() operation {
	var updates []storage.ScheduleUpdate
	for _, id := range []string{"a", "b", "c", "d"}[:1+p.random.IntN(4)] {
		updates = append(updates, storage.ScheduleUpdate{Until: p.minuteNearNow(), Schedule: storage.Schedule{
			Namespace: p.namespace, ID: id, Name: id, Cron: "* * * * *", TimeZone: "UTC", ZoneRules: pick(p, "", "r1"), TargetKind: "ALL_JOBS", Grace: 2 * time.Minute,
			DefinitionHash: pick(p, "h1", "h2"), Enabled: p.random.IntN(4) > 0, NextRunAt: p.minuteNearNow(),
			EnabledNote: pick(p, "", "note"), FormerID: pick(p, "", "former"), SettledThrough: p.minuteNearNow(), UnfinishedSince: p.minuteNearNow(), UpdatedAt: p.minuteNearNow(),
		}})
	}
	return func(st hourbell.Store) (any, error) {
		ids, err := st.InsertSchedules(context.Background(), updates)
		return sorted(ids), err
	}
}

// updateSchedules updates a row as it was read in one of the last steps.
func (p *pair) updateSchedules() operation {
	if len(p.rows) == 0 {
		return p.insertSchedules()
	}
	row := p.rows[len(p.rows)-1-p.random.IntN(min(len(p.rows), 6))]
	u := storage.ScheduleUpdate{Schedule: row, ReadHash: row.DefinitionHash, Settles: p.random.IntN(2) == 0, Until: p.minuteNearNow()}
	u.DefinitionHash, u.Name = pick(p, row.DefinitionHash, "h1", "h2"), pick(p, row.Name, "renamed")
	u.Enabled, u.EnabledNote, u.NextRunAt, u.SettledThrough = p.random.IntN(4) > 0, "note", p.minuteNearNow(), p.minuteNearNow()
	u.ZoneRules, u.Manual = pick(p, row.ZoneRules, "r1", "r2"), p.random.IntN(4) == 0
	u.RemovedAt = pick(p, time.Time{}, time.Time{}, p.model.Now)
	return func(st hourbell.Store) (any, error) {
		ids, err := st.UpdateSchedules(context.Background(), []storage.ScheduleUpdate{u})
		return ids, err
	}
}

func (p *pair) claimRequest() storage.ClaimRequest {
	return storage.ClaimRequest{
		Worker: p.worker(), Limit: 100, LockTTL: 5 * time.Minute, MaxBackoff: time.Minute, DeadAfter: pick(p, 0, 30*time.Second),
		Exclude:         pick(p, []string{}, []string{p.id() + " h1", p.id() + " h2"}),
		ExcludeOwnSince: pick(p, time.Time{}, p.model.Now, p.model.Now.Add(-time.Minute)),
	}
}

func (p *pair) claim() operation {
	r := p.claimRequest()
	return func(st hourbell.Store) (any, error) {
		result, err := st.Claim(context.Background(), r)
		if st != p.real { // equal results are required, so the model's claims are also the real store's
			for _, c := range result.Claims {
				p.claims = append(p.claims, workerClaim{c, r.Worker})
			}
		}
		return result, err
	}
}

func (p *pair) fireOnTime() operation {
	if p.db.Dialect == "sqlite" { // it has no fast path
		return p.claim()
	}
	var fires []storage.SlotFire
	rows, _ := p.session.Schedules(context.Background())
	for _, row := range rows { // the arguments often match the row
		slot := pick(p, row.NextRunAt, row.NextRunAt, row.NextRunAt, p.model.Now.Truncate(time.Minute))
		fires = append(fires, storage.SlotFire{
			ScheduleID: row.ID, DefinitionHash: pick(p, row.DefinitionHash, row.DefinitionHash, "h1"), Slot: slot,
			Next: pick(p, slot.Add(time.Minute), slot.Add(5*time.Minute)), Jobs: []storage.JobSpec{{Name: "j1"}, {Name: "j2", Group: "g"}},
		})
	}
	if len(fires) == 0 || fires[0].Slot.IsZero() { // the core never asks for an empty slot
		return p.claim()
	}
	request := storage.FireRequest{Fires: fires, FindNext: pick(p, true, false), Exclude: p.claimRequest().Exclude}
	return func(st hourbell.Store) (any, error) {
		result, err := st.FireOnTime(context.Background(), request)
		result.Names = sorted(result.Names)
		return result, err
	}
}

// recentClaim returns a claim from one of the last steps, which may be lost by
// now. It returns false if there is none.
func (p *pair) recentClaim() (workerClaim, bool) {
	if len(p.claims) == 0 {
		return workerClaim{}, false
	}
	return p.claims[len(p.claims)-1-p.random.IntN(min(len(p.claims), 5))], true
}

func (p *pair) advance() operation {
	c, ok := p.recentClaim()
	if !ok {
		return p.insertSchedules()
	}
	a := storage.Advance{
		Claim: c.Claim, Through: c.NextRunAt, Next: p.model.Now.Truncate(time.Minute).Add(time.Minute), Fired: pick(p, c.NextRunAt, time.Time{}),
	}
	return func(st hourbell.Store) (any, error) {
		ids, err := st.Advance(context.Background(), c.worker, []storage.Advance{a})
		return ids, err
	}
}

func (p *pair) release() operation {
	c, ok := p.recentClaim()
	if !ok {
		return p.insertSchedules()
	}
	return func(st hourbell.Store) (any, error) {
		return nil, st.Release(context.Background(), c.worker, []storage.Claim{c.Claim})
	}
}

func (p *pair) recordFailures() operation {
	c, ok := p.recentClaim()
	if !ok {
		return p.insertSchedules()
	}
	f := storage.Failure{
		Claim: c.Claim, Error: "e", Backoff: pick(p, time.Second, time.Minute), Until: p.minuteNearNow(), UnfinishedSince: pick(p, time.Time{}, c.At),
	}
	return func(st hourbell.Store) (any, error) {
		ids, err := st.RecordFailures(context.Background(), c.worker, []storage.Failure{f})
		return ids, err
	}
}

func (p *pair) unlock() operation {
	id := p.id()
	return func(st hourbell.Store) (any, error) {
		holder, err := st.Unlock(context.Background(), id)
		return holder, err
	}
}

func (p *pair) heartbeat() operation {
	w := hourbell.Worker{ID: p.worker(), WorkerType: "schedule_daemon", Hostname: "h", DefinitionsHash: pick(p, "d1", "d2"), StartedAt: pick(p, time.Time{}, noon)}
	return func(st hourbell.Store) (any, error) {
		result, err := st.Heartbeat(context.Background(), w, 30*time.Second)
		return result, err
	}
}

func (p *pair) stopWorker() operation {
	id := p.worker()
	return func(st hourbell.Store) (any, error) { return nil, st.StopWorker(context.Background(), id) }
}

func (p *pair) insertRuns() operation {
	slot := p.model.Now.Truncate(time.Minute)
	run := hourbell.JobRun{Namespace: p.namespace, Job: "j1", Trigger: hourbell.TriggerCron, ScheduleID: p.id(), ScheduledFor: slot, Status: hourbell.RunQueued}
	if p.random.IntN(3) == 0 {
		run.Trigger, run.ScheduledFor, run.IdempotencyKey = hourbell.TriggerManual, time.Time{}, pick(p, "", "k1", "k2")
	}
	requestHash := pick(p, "r1", "r2")
	return func(st hourbell.Store) (any, error) {
		inserted, err := st.InsertRuns(context.Background(), []hourbell.JobRun{run}, requestHash)
		return withoutIDs(inserted), err
	}
}

// runsByIdempotencyKey is executed only in transactions, which it locks.
func (p *pair) runsByIdempotencyKey() operation {
	key := pick(p, "k1", "k2")
	return func(st hourbell.Store) (any, error) {
		runs, requestHash, err := st.RunsByIdempotencyKey(context.Background(), key)
		return fmt.Sprintf("%+v of %s", withoutIDs(runs), requestHash), err
	}
}

// withoutIDs clears the ids of runs, which differ between the stores.
func withoutIDs(runs []hourbell.JobRun) []hourbell.JobRun {
	for i := range runs {
		runs[i].ID = 0
	}
	return runs
}

func (p *pair) insertEvents() operation {
	kind := pick(p, hourbell.EventSkipped, hourbell.EventEnabled, hourbell.EventDisabled)
	e := hourbell.Event{ScheduleID: p.id(), Kind: kind, Note: pick(p, "", "first", "second"), Reason: hourbell.SkipLate, SlotFrom: p.model.Now, SlotTo: p.model.Now, SlotCount: 1}
	return func(st hourbell.Store) (any, error) {
		return nil, st.InsertEvents(context.Background(), []hourbell.Event{e})
	}
}

// stored compares the digest that the database computes with that of the model.
func (p *pair) stored() operation {
	return func(st hourbell.Store) (any, error) { return st.Stored(context.Background()) }
}

func (p *pair) latestEvents() operation {
	ids := []string{p.id(), p.id(), "unknown"}
	return func(st hourbell.Store) (any, error) {
		events, err := st.LatestEvents(context.Background(), ids, []hourbell.EventKind{hourbell.EventEnabled, hourbell.EventDisabled})
		for i := range events {
			events[i].ID, events[i].Namespace = 0, ""
		}
		slices.SortFunc(events, func(a, b hourbell.Event) int {
			return cmp.Or(cmp.Compare(a.ScheduleID, b.ScheduleID), cmp.Compare(a.Kind, b.Kind))
		})
		return slices.Clip(append([]hourbell.Event{}, events...)), err
	}
}
