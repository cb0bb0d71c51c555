package model_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/simulation/model"
	"github.com/hourbell/hourbell/store"
)

// The model answers as the real store does, and leaves the same rows: whatever verbs come, in whatever order, in and out
// of transactions, and on Postgres beside one that is under way.
func TestTheModelAnswersAsTheRealStore(t *testing.T) {
	seeds, length := 12, 250
	if testing.Short() {
		seeds = 3
	}
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		first := rand.Uint64()
		for i := range seeds {
			seed := first + uint64(i)
			t.Logf("seed %d", seed)
			p := newPair(t, db, fmt.Sprintf("n%d", i), seed)
			for range length {
				p.do()
			}
			p.compareHistory()
		}
	})
}

// pair is the real store and the model, with one clock.
type pair struct {
	t         *testing.T
	db        *dbtest.DB
	namespace string
	random    *rand.Rand
	real      hourbell.Store
	model     *model.Database
	session   hourbell.Store
	rows      []hourbell.Schedule // as read at some time
	claims    []hourbell.Claim    // as made at some time
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func newPair(t *testing.T, db *dbtest.DB, namespace string, seed uint64) *pair {
	p := &pair{t: t, db: db, namespace: namespace, random: rand.New(rand.NewPCG(seed, 0)), model: model.New(noon, model.Without{})}
	var err error
	p.real, err = store.New(db.DB).Bind(namespace, func() time.Time { return p.model.Now })
	require.NoError(t, err)
	p.session = p.model.Session(nil)
	return p
}

// verb is a call with what it is given: it is made on either store, and its answers must be alike.
type verb func(st hourbell.Store) (any, error)

// do makes one random call, or a transaction of several, on both.
func (p *pair) do() {
	p.t.Helper()
	if p.random.IntN(3) == 0 {
		p.model.Now = p.model.Now.Add(pick(p, time.Second, 20*time.Second, time.Minute, 3*time.Minute, 10*time.Minute, -30*time.Second, -10*time.Minute))
	}
	if p.random.IntN(4) > 0 {
		p.alike("alone", p.verb(true), p.real, p.session)
	} else {
		p.transaction()
	}
	real, err := p.real.Schedules(p.t.Context())
	require.NoError(p.t, err)
	mine, _ := p.session.Schedules(p.t.Context())
	require.Equal(p.t, real, mine)
	for _, row := range real {
		if p.random.IntN(3) == 0 {
			p.rows = append(p.rows, row)
		}
	}
}

// transaction makes several calls in one, with others beside it where these do not wait, and ends it one way or the other.
func (p *pair) transaction() {
	rolledBack := errors.New("rolled back")
	var inside, beside []verb
	for range 1 + p.random.IntN(3) {
		inside = append(inside, p.verb(false))
		beside = append(beside, pick(p, p.claim(), p.fireOnTime(), p.heartbeat()))
	}
	fails := p.random.IntN(3) == 0
	run := func(st hourbell.Store) (answers []string) {
		err := st.Transaction(p.t.Context(), 10*time.Second, func(tx hourbell.Store, _ hourbell.Tx) error {
			locks := p.db.Dialect == "postgres"
			for i := range inside {
				got := answer(inside[i](tx))
				answers = append(answers, got)
				// Whether a statement that changed nothing has locked the rows it looked at is the planner's choice.
				if locks = locks && got != "[]" && got != "<nil>"; locks {
					answers = append(answers, answer(beside[i](st)))
				}
			}
			if fails {
				return rolledBack
			}
			return nil
		})
		require.Equal(p.t, fails, errors.Is(err, rolledBack))
		return answers
	}
	require.Equal(p.t, run(p.real), run(p.session))
}

// alike makes a call on both and wants the same of it.
func (p *pair) alike(where string, call verb, real, mine hourbell.Store) {
	p.t.Helper()
	require.Equal(p.t, answer(call(real)), answer(call(mine)), where)
}

// answer is what a call answered, in words.
func answer(value any, err error) string {
	if err != nil {
		return fmt.Sprint("error; busy: ", errors.Is(err, hourbell.ErrBusy), ", unavailable: ", errors.Is(err, hourbell.ErrUnavailable))
	}
	return fmt.Sprintf("%+v", value)
}

func pick[Option any](p *pair, options ...Option) Option { return options[p.random.IntN(len(options))] }

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

func (p *pair) claim() verb {
	r := hourbell.ClaimRequest{
		Worker: p.worker(), Limit: 100, LockTTL: 5 * time.Minute, MaxHold: time.Minute, Dead: pick(p, 0, 30*time.Second),
		Except: pick(p, []string{}, []string{p.id() + " h1", p.id() + " h2"}),
	}
	return func(st hourbell.Store) (any, error) {
		claims, err := st.Claim(context.Background(), r)
		if st != p.real { // what the model has claimed the real one has too, or this fails
			p.claims = append(p.claims, claims.Rows...)
		}
		return claims, err
	}
}

func (p *pair) fireOnTime() verb {
	if p.db.Dialect == "sqlite" { // it has no second road
		return p.claim()
	}
	var fires []hourbell.Fire
	for _, id := range []string{"a", "b", "c", "d"} {
		slot := p.model.Now.Truncate(time.Minute)
		fires = append(fires, hourbell.Fire{
			ScheduleID: id, DefinitionHash: pick(p, "h1", "h2"), Slot: pick(p, slot, slot.Add(-time.Minute)), Next: pick(p, slot.Add(time.Minute), slot.Add(2*time.Minute)),
			Jobs: []hourbell.FireJob{{Name: "j1"}, {Name: "j2", Group: "g"}},
		})
	}
	return func(st hourbell.Store) (any, error) {
		fired, err := st.FireOnTime(context.Background(), fires)
		return fired, err
	}
}

// claimed is a claim made of late, which may have been lost since; it says so as well if there is none.
func (p *pair) claimed() (hourbell.Claim, bool) {
	if len(p.claims) == 0 {
		return hourbell.Claim{}, false
	}
	return p.claims[len(p.claims)-1-p.random.IntN(min(len(p.claims), 5))], true
}

func (p *pair) advance() verb {
	c, ok := p.claimed()
	if !ok {
		return p.insert()
	}
	s := hourbell.Settlement{Claim: c, Through: c.NextRunAt, Next: p.model.Now.Truncate(time.Minute).Add(time.Minute), Fired: pick(p, c.NextRunAt, time.Time{})}
	return func(st hourbell.Store) (any, error) {
		ids, err := st.Advance(context.Background(), c.LockedBy, []hourbell.Settlement{s})
		return ids, err
	}
}

func (p *pair) giveBack() verb {
	c, ok := p.claimed()
	if !ok {
		return p.insert()
	}
	return func(st hourbell.Store) (any, error) {
		return nil, st.GiveBack(context.Background(), c.LockedBy, []hourbell.Claim{c})
	}
}

func (p *pair) hold() verb {
	c, ok := p.claimed()
	if !ok {
		return p.insert()
	}
	f := hourbell.Failure{Claim: c, Error: "e", For: pick(p, time.Second, time.Minute), Until: p.around(), Owed: pick(p, time.Time{}, c.At)}
	return func(st hourbell.Store) (any, error) {
		ids, err := st.Hold(context.Background(), c.LockedBy, []hourbell.Failure{f})
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

// compareHistory wants the same runs, events and workers on both sides, whatever their ids.
func (p *pair) compareHistory() {
	var real, mine []string
	runs, err := p.real.Runs(p.t.Context(), hourbell.RunQuery{Limit: 100_000})
	require.NoError(p.t, err)
	for _, r := range runs {
		r.ID = 0
		real = append(real, fmt.Sprintf("%+v", r))
	}
	events, err := p.real.Events(p.t.Context(), hourbell.EventQuery{Limit: 100_000})
	require.NoError(p.t, err)
	for _, e := range events {
		e.ID = 0
		real = append(real, fmt.Sprintf("%+v", e))
	}
	for _, r := range p.model.Runs {
		r.ID, r.Namespace = 0, p.namespace
		mine = append(mine, fmt.Sprintf("%+v", r.JobRun))
	}
	for _, e := range p.model.Events {
		e.ID, e.Namespace = 0, p.namespace
		mine = append(mine, fmt.Sprintf("%+v", e.Event))
	}
	require.NotEmpty(p.t, real)
	require.Equal(p.t, sorted(real), sorted(mine))
	require.Equal(p.t, p.workers(p.real), p.workers(p.session))
}

func (p *pair) workers(st hourbell.Store) []hourbell.Worker {
	list, err := st.Workers(p.t.Context())
	require.NoError(p.t, err)
	for i := range list {
		list[i].Namespace = p.namespace
	}
	return list
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}
