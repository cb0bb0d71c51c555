package model_test

import (
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
		seeds, length = 2, 100
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

// claimedBy is a claim and whose it is.
type claimedBy struct {
	hourbell.Claim
	worker string
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
	claims    []claimedBy         // as made at some time
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
