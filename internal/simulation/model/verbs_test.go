package model_test

import (
	"context"
	"time"

	"github.com/hourbell/hourbell"
)

// verb draws a call. Some are never made in a transaction.
func (p *pair) verb(alone bool) verb {
	calls := []func() verb{p.insert, p.revise, p.revise, p.advance, p.advance, p.giveBack, p.hold, p.unlock, p.insertRuns, p.insertEvents}
	if alone {
		calls = append(calls, p.claim, p.claim, p.claim, p.fireOnTime, p.fireOnTime, p.heartbeat, p.stopWorker)
	}
	return pick(p, calls...)()
}

func (p *pair) id() string     { return pick(p, "a", "b", "c", "d") }
func (p *pair) worker() string { return p.namespace + pick(p, "w1", "w2", "w3") }

// around is an instant near now, or none.
func (p *pair) around() time.Time {
	if p.random.IntN(5) == 0 {
		return time.Time{}
	}
	return p.model.Now.Truncate(time.Minute).Add(time.Duration(p.random.IntN(10)-5) * time.Minute)
}

func (p *pair) insert() verb {
	var rows []hourbell.Revision
	for _, id := range []string{"a", "b", "c", "d"}[:1+p.random.IntN(4)] {
		rows = append(rows, hourbell.Revision{Until: p.around(), Schedule: hourbell.Schedule{
			Namespace: p.namespace, ID: id, Name: id, Cron: "* * * * *", TimeZone: "UTC", TargetKind: "ALL_JOBS", Grace: 2 * time.Minute,
			DefinitionHash: pick(p, "h1", "h2"), Enabled: p.random.IntN(4) > 0, NextRunAt: p.around(),
		}})
	}
	return func(st hourbell.Store) (any, error) {
		ids, err := st.Insert(context.Background(), rows)
		return sorted(ids), err
	}
}

func (p *pair) revise() verb {
	if len(p.rows) == 0 {
		return p.insert()
	}
	row := p.rows[len(p.rows)-1-p.random.IntN(min(len(p.rows), 6))]
	r := hourbell.Revision{Schedule: row, ReadHash: row.DefinitionHash, Settles: p.random.IntN(2) == 0, Until: p.around()}
	r.DefinitionHash, r.Name = pick(p, row.DefinitionHash, "h1", "h2"), pick(p, row.Name, "renamed")
	r.Enabled, r.EnabledNote, r.NextRunAt, r.SettledUntil = p.random.IntN(4) > 0, "note", p.around(), p.around()
	r.RemovedAt = pick(p, time.Time{}, time.Time{}, p.model.Now)
	return func(st hourbell.Store) (any, error) {
		ids, err := st.Revise(context.Background(), []hourbell.Revision{r})
		return ids, err
	}
}

func (p *pair) request() hourbell.ClaimRequest {
	return hourbell.ClaimRequest{
		Worker: p.worker(), Limit: 100, LockTTL: 5 * time.Minute, MaxHold: time.Minute, Dead: pick(p, 0, 30*time.Second),
		Except:   pick(p, []string{}, []string{p.id() + " h1", p.id() + " h2"}),
		Underway: pick(p, time.Time{}, p.model.Now, p.model.Now.Add(-time.Minute)),
	}
}

func (p *pair) claim() verb {
	r := p.request()
	return func(st hourbell.Store) (any, error) {
		claims, err := st.Claim(context.Background(), r)
		if st != p.real { // what the model has claimed the real one has too, or this fails
			for _, c := range claims.Rows {
				p.claims = append(p.claims, claimedBy{c, r.Worker})
			}
		}
		return claims, err
	}
}

func (p *pair) fireOnTime() verb {
	if p.db.Dialect == "sqlite" { // it has no second road
		return p.claim()
	}
	var fires []hourbell.Fire
	list, _ := p.session.Schedules(context.Background())
	for _, row := range list { // often just right
		slot := pick(p, row.NextRunAt, row.NextRunAt, row.NextRunAt, p.model.Now.Truncate(time.Minute))
		fires = append(fires, hourbell.Fire{
			ScheduleID: row.ID, DefinitionHash: pick(p, row.DefinitionHash, row.DefinitionHash, "h1"), Slot: slot,
			Next: pick(p, slot.Add(time.Minute), slot.Add(5*time.Minute)), Jobs: []hourbell.FireJob{{Name: "j1"}, {Name: "j2", Group: "g"}},
		})
	}
	if len(fires) == 0 || fires[0].Slot.IsZero() { // nothing is proposed where nothing comes
		return p.claim()
	}
	request := hourbell.FireRequest{Fires: fires, Lane: pick(p, 0, 1), Ask: pick(p, true, false), Except: p.request().Except}
	return func(st hourbell.Store) (any, error) {
		fired, err := st.FireOnTime(context.Background(), request)
		return fired, err
	}
}

// claimed is a claim made of late, which may have been lost since; it says so as well if there is none.
func (p *pair) claimed() (claimedBy, bool) {
	if len(p.claims) == 0 {
		return claimedBy{}, false
	}
	return p.claims[len(p.claims)-1-p.random.IntN(min(len(p.claims), 5))], true
}

func (p *pair) advance() verb {
	c, ok := p.claimed()
	if !ok {
		return p.insert()
	}
	s := hourbell.Settlement{Claim: c.Claim, Through: c.NextRunAt, Next: p.model.Now.Truncate(time.Minute).Add(time.Minute), Fired: pick(p, c.NextRunAt, time.Time{})}
	return func(st hourbell.Store) (any, error) {
		ids, err := st.Advance(context.Background(), c.worker, []hourbell.Settlement{s})
		return ids, err
	}
}

func (p *pair) giveBack() verb {
	c, ok := p.claimed()
	if !ok {
		return p.insert()
	}
	return func(st hourbell.Store) (any, error) {
		return nil, st.GiveBack(context.Background(), c.worker, []hourbell.Claim{c.Claim})
	}
}

func (p *pair) hold() verb {
	c, ok := p.claimed()
	if !ok {
		return p.insert()
	}
	f := hourbell.Failure{Claim: c.Claim, Error: "e", For: pick(p, time.Second, time.Minute), Until: p.around(), Owed: pick(p, time.Time{}, c.At)}
	return func(st hourbell.Store) (any, error) {
		ids, err := st.Hold(context.Background(), c.worker, []hourbell.Failure{f})
		return ids, err
	}
}

func (p *pair) unlock() verb {
	id := p.id()
	return func(st hourbell.Store) (any, error) {
		holder, err := st.Unlock(context.Background(), id)
		return holder, err
	}
}

func (p *pair) heartbeat() verb {
	w := hourbell.Worker{ID: p.worker(), WorkerType: "schedule_daemon", Hostname: "h", DefinitionsHash: pick(p, "d1", "d2")}
	return func(st hourbell.Store) (any, error) {
		beat, err := st.Heartbeat(context.Background(), w, 30*time.Second)
		return beat, err
	}
}

func (p *pair) stopWorker() verb {
	id := p.worker()
	return func(st hourbell.Store) (any, error) { return nil, st.StopWorker(context.Background(), id) }
}

func (p *pair) insertRuns() verb {
	slot := p.model.Now.Truncate(time.Minute)
	run := hourbell.JobRun{Namespace: p.namespace, Job: "j1", Trigger: "CRON", ScheduleID: p.id(), ScheduledFor: slot, Status: "QUEUED"}
	if p.random.IntN(3) == 0 {
		run.Trigger, run.ScheduledFor = "MANUAL", time.Time{}
	}
	return func(st hourbell.Store) (any, error) {
		inserted, err := st.InsertRuns(context.Background(), []hourbell.JobRun{run})
		for i := range inserted {
			inserted[i].ID = 0
		}
		return inserted, err
	}
}

func (p *pair) insertEvents() verb {
	e := hourbell.Event{ScheduleID: p.id(), Kind: "SKIPPED", Reason: "LATE", SlotFrom: p.model.Now, SlotTo: p.model.Now, SlotCount: 1}
	return func(st hourbell.Store) (any, error) {
		return nil, st.InsertEvents(context.Background(), []hourbell.Event{e})
	}
}
