package simulation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/simulation/model"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

// TestModelMatchesStore executes random operations on the model and on a real
// store, and requires equal results and equal rows. Some operations are in
// transactions; on Postgres, others run beside an open transaction.
func TestModelMatchesStore(t *testing.T) {
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
				p.step()
			}
			p.compareHistory()
		}
	})
}

// workerClaim is a claim with the worker that made it.
type workerClaim struct {
	storage.Claim
	worker string
}

// pair is a real store and a model that share one clock.
type pair struct {
	t         *testing.T
	db        *dbtest.DB
	namespace string
	random    *rand.Rand
	real      hourbell.Store
	model     *model.Database
	session   hourbell.Store     // of the model
	rows      []storage.Schedule // read in earlier steps
	claims    []workerClaim      // made in earlier steps
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func newPair(t *testing.T, db *dbtest.DB, namespace string, seed uint64) *pair {
	p := &pair{t: t, db: db, namespace: namespace, random: rand.New(rand.NewPCG(seed, 0)), model: model.New(noon, model.Omissions{})}
	var err error
	p.real, err = store.New(db.DB).Bind(namespace, func() time.Time { return p.model.Now })
	require.NoError(t, err)
	p.session = p.model.Session(nil)
	return p
}

// operation is a call of a Store with its arguments.
type operation func(st hourbell.Store) (any, error)

// step executes one operation or one transaction on both sides, and compares
// all schedules.
func (p *pair) step() {
	p.t.Helper()
	if p.random.IntN(3) == 0 {
		p.model.Now = p.model.Now.Add(pick(p, time.Second, 20*time.Second, time.Minute, 3*time.Minute, 10*time.Minute, -30*time.Second, -10*time.Minute))
	}
	if p.random.IntN(4) > 0 {
		op := p.drawOperation(true)
		require.Equal(p.t, resultText(op(p.real)), resultText(op(p.session)))
	} else {
		p.transaction()
	}
	rows, err := p.real.Schedules(p.t.Context())
	require.NoError(p.t, err)
	modelRows, _ := p.session.Schedules(p.t.Context())
	require.Equal(p.t, rows, modelRows)
	for _, row := range rows {
		if p.random.IntN(3) == 0 {
			p.rows = append(p.rows, row)
		}
	}
}

// transaction executes several operations in one transaction, which commits or
// rolls back. On Postgres, operations that do not wait for locks run beside it.
func (p *pair) transaction() {
	rolledBack := errors.New("rolled back")
	var inside, beside []operation
	for range 1 + p.random.IntN(3) {
		inside = append(inside, p.drawOperation(false))
		beside = append(beside, pick(p, p.claim(), p.fireOnTime(), p.heartbeat()))
	}
	fails := p.random.IntN(3) == 0
	run := func(st hourbell.Store) (results []string) {
		err := st.Transaction(p.t.Context(), 10*time.Second, func(tx hourbell.Store, _ *gorm.DB) error {
			compareBeside := p.db.Dialect == "postgres"
			for i := range inside {
				result := resultText(inside[i](tx))
				results = append(results, result)
				// If a statement changed nothing, the query plan decides
				// whether it has locked rows. From then on the sides may
				// differ.
				compareBeside = compareBeside && result != "[]" && result != "<nil>"
				if compareBeside {
					results = append(results, resultText(beside[i](st)))
				}
			}
			if fails {
				return rolledBack
			}
			return nil
		})
		require.Equal(p.t, fails, errors.Is(err, rolledBack))
		return results
	}
	require.Equal(p.t, run(p.real), run(p.session))
}

// resultText formats a result for comparison. Of errors it compares the kind.
func resultText(value any, err error) string {
	if err != nil {
		return fmt.Sprint("error; busy: ", errors.Is(err, hourbell.ErrBusy), ", unavailable: ", errors.Is(err, hourbell.ErrUnavailable))
	}
	return fmt.Sprintf("%+v", value)
}

func pick[Option any](p *pair, options ...Option) Option { return options[p.random.IntN(len(options))] }

// compareHistory compares runs, events and workers. Ids may differ.
func (p *pair) compareHistory() {
	var rows, modelRows []string
	runs, err := p.real.Runs(p.t.Context(), hourbell.RunQuery{Limit: 100_000})
	require.NoError(p.t, err)
	for _, r := range runs {
		r.ID = 0
		rows = append(rows, fmt.Sprintf("%+v", r))
	}
	events, err := p.real.Events(p.t.Context(), hourbell.EventQuery{Limit: 100_000})
	require.NoError(p.t, err)
	for _, e := range events {
		e.ID = 0
		rows = append(rows, fmt.Sprintf("%+v", e))
	}
	for _, r := range p.model.Runs {
		r.ID, r.Namespace = 0, p.namespace
		modelRows = append(modelRows, fmt.Sprintf("%+v", r.JobRun))
	}
	for _, e := range p.model.Events {
		e.ID, e.Namespace = 0, p.namespace
		modelRows = append(modelRows, fmt.Sprintf("%+v", e.Event))
	}
	require.NotEmpty(p.t, rows)
	require.Equal(p.t, sorted(rows), sorted(modelRows))
	require.Equal(p.t, p.workers(p.real), p.workers(p.session))
}

func (p *pair) workers(st hourbell.Store) []hourbell.Worker {
	workers, err := st.Workers(p.t.Context(), 30*time.Second)
	require.NoError(p.t, err)
	for i := range workers {
		workers[i].Namespace = p.namespace
	}
	return workers
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}
