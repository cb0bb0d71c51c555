package model_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/simulation/model"
	"github.com/hourbell/hourbell/store"
)

// Who waits for another's row looks at it again when it is free, in the model as on Postgres: it finds what was committed
// meanwhile, or all as it was.
func TestWhoHasWaitedLooksAgain(t *testing.T) {
	db := dbtest.Postgres(t)
	for name, waits := range map[string]func(c hourbell.Claim) verb{
		"advance": func(c hourbell.Claim) verb {
			return func(st hourbell.Store) (any, error) { return st.Advance(context.Background(), "w1", settlements(c)) }
		},
		"hold": func(c hourbell.Claim) verb {
			f := []hourbell.Failure{{Claim: c, Error: "e", For: time.Second}}
			return func(st hourbell.Store) (any, error) { return st.Hold(context.Background(), "w1", f) }
		},
		"revise": func(c hourbell.Claim) verb {
			r := []hourbell.Revision{{Schedule: toClaim, ReadHash: c.DefinitionHash, Settles: true}}
			r[0].LockToken = c.LockToken
			return func(st hourbell.Store) (any, error) { return st.Revise(context.Background(), r) }
		},
		"unlock": func(c hourbell.Claim) verb {
			return func(st hourbell.Store) (any, error) { return st.Unlock(context.Background(), c.ID) }
		},
		"insert-runs": func(c hourbell.Claim) verb {
			return func(st hourbell.Store) (any, error) { return insertOne(st, c) }
		},
	} {
		for _, commits := range []bool{true, false} {
			p := newPair(t, db, "wait-"+name, 0)
			p.namespace = "wait-" + name + map[bool]string{true: "-commit", false: "-rollback"}[commits]
			real := p.waitOnPostgres(waits, commits)
			require.Equal(t, real, p.waitInModel(waits, commits), "%s; commits: %v", name, commits)
		}
	}
}

func settlements(c hourbell.Claim) []hourbell.Settlement {
	return []hourbell.Settlement{{Claim: c, Fired: noon, Through: noon, Next: noon.Add(time.Minute)}}
}

func insertOne(st hourbell.Store, c hourbell.Claim) (any, error) {
	run := hourbell.JobRun{Job: "j", Trigger: "CRON", ScheduleID: c.ID, ScheduledFor: noon, Status: "QUEUED"}
	inserted, err := st.InsertRuns(context.Background(), []hourbell.JobRun{run})
	return len(inserted), err
}

// toClaim is a schedule that is due.
var toClaim = hourbell.Schedule{
	ID: "s", Name: "s", Cron: "* * * * *", TimeZone: "UTC", TargetKind: "ALL_JOBS", Grace: time.Minute, DefinitionHash: "h",
	Enabled: true, NextRunAt: noon,
}

// claimOne adds a schedule that is due, and claims it.
func (p *pair) claimOne(st hourbell.Store) hourbell.Claim {
	_, err := st.Insert(context.Background(), []hourbell.Revision{{Schedule: toClaim}})
	require.NoError(p.t, err)
	claims, err := st.Claim(context.Background(), hourbell.ClaimRequest{Worker: "w1", Limit: 1, LockTTL: time.Minute, Except: []string{}})
	require.NoError(p.t, err)
	require.Len(p.t, claims.Rows, 1)
	return claims.Rows[0]
}

// inTheWay settles the claim, which locks its row until the transaction ends.
func inTheWay(t *testing.T, tx hourbell.Store, c hourbell.Claim) {
	ids, err := tx.Advance(context.Background(), "w1", settlements(c))
	require.NoError(t, err)
	require.Len(t, ids, 1)
	n, err := insertOne(tx, c)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func (p *pair) waitOnPostgres(waits func(hourbell.Claim) verb, commits bool) (got string) {
	st, err := store.New(p.db.DB).Bind(p.namespace, func() time.Time { return noon })
	require.NoError(p.t, err)
	c := p.claimOne(st)
	var waiting sync.WaitGroup
	err = st.Transaction(p.t.Context(), 30*time.Second, func(tx hourbell.Store, _ hourbell.Tx) error {
		inTheWay(p.t, tx, c)
		waiting.Go(func() { got = answer(waits(c)(st)) })
		require.Eventually(p.t, func() bool {
			var n int
			err := p.db.Raw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n).Error
			return err == nil && n > 0
		}, 30*time.Second, 2*time.Millisecond)
		return ending(commits)
	})
	require.Equal(p.t, commits, err == nil)
	waiting.Wait()
	return got
}

func (p *pair) waitInModel(waits func(hourbell.Claim) verb, commits bool) string {
	db := model.New(noon, model.Without{})
	var tx *model.Session
	st := db.Session(func(blocked func() bool, _ time.Duration) bool {
		require.True(p.t, blocked())
		if commits {
			require.NoError(p.t, tx.Commit())
		}
		tx.Rollback()
		return !blocked()
	})
	c := p.claimOne(st)
	tx = st.Begin(30 * time.Second)
	inTheWay(p.t, tx, c)
	return answer(waits(c)(st))
}

func ending(commits bool) error {
	if commits {
		return nil
	}
	return context.Canceled
}

// Who claims or fires on time passes by a row that another transaction is at, in the model as on Postgres, and finds it
// when that is over.
func TestWhoDoesNotWaitPassesTheRowBy(t *testing.T) {
	db := dbtest.Postgres(t)
	real, err := store.New(db.DB).Bind("passes", func() time.Time { return noon })
	require.NoError(t, err)
	for name, st := range map[string]hourbell.Store{"postgres": real, "model": model.New(noon, model.Without{}).Session(nil)} {
		row := hourbell.Schedule{
			Namespace: "passes", ID: "s", Name: "s", Cron: "* * * * *", TimeZone: "UTC", TargetKind: "ALL_JOBS", Grace: time.Minute,
			DefinitionHash: "h", Enabled: true, NextRunAt: noon,
		}
		_, err := st.Insert(t.Context(), []hourbell.Revision{{Schedule: row}})
		require.NoError(t, err, name)
		fires := []hourbell.Fire{{ScheduleID: "s", DefinitionHash: "h", Slot: noon, Next: noon.Add(time.Minute), Jobs: []hourbell.FireJob{{Name: "j"}}}}
		err = st.Transaction(t.Context(), 30*time.Second, func(tx hourbell.Store, _ hourbell.Tx) error {
			ids, err := tx.Revise(t.Context(), []hourbell.Revision{{Schedule: row, ReadHash: "h"}})
			require.NoError(t, err, name)
			require.Len(t, ids, 1, name)
			fired, err := st.FireOnTime(t.Context(), hourbell.FireRequest{Fires: fires})
			require.NoError(t, err, name)
			require.Zero(t, fired.Slots, name)
			claims, err := st.Claim(t.Context(), hourbell.ClaimRequest{Worker: "w1", Limit: 1, LockTTL: time.Minute, Except: []string{}})
			require.NoError(t, err, name)
			require.Empty(t, claims.Rows, name)
			return nil
		})
		require.NoError(t, err, name)
		fired, err := st.FireOnTime(t.Context(), hourbell.FireRequest{Fires: fires})
		require.NoError(t, err, name)
		require.Equal(t, 1, fired.Slots, name)
	}
}
