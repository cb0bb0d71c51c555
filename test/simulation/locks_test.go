package simulation

import (
	"context"
	"sync"
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

// TestWaitingOperationRereadsRow checks that an operation which waited for a
// row lock applies its conditions to the row as it then is, in the model as on
// Postgres. The transaction that held the lock has either committed a change or
// rolled it back.
func TestWaitingOperationRereadsRow(t *testing.T) {
	db := dbtest.Postgres(t)
	for name, waiting := range map[string]func(c storage.Claim) operation{
		"advance": func(c storage.Claim) operation {
			return func(st hourbell.Store) (any, error) { return st.Advance(context.Background(), "w1", advances(c)) }
		},
		"record-failures": func(c storage.Claim) operation {
			failures := []storage.Failure{{Claim: c, Error: "e", Backoff: time.Second}}
			return func(st hourbell.Store) (any, error) { return st.RecordFailures(context.Background(), "w1", failures) }
		},
		"update-schedules": func(c storage.Claim) operation {
			updates := []storage.ScheduleUpdate{{Schedule: dueSchedule, ReadHash: c.DefinitionHash, Settles: true}}
			updates[0].Version = c.Version
			return func(st hourbell.Store) (any, error) { return st.UpdateSchedules(context.Background(), updates) }
		},
		"unlock": func(c storage.Claim) operation {
			return func(st hourbell.Store) (any, error) { return st.Unlock(context.Background(), c.ID) }
		},
		"insert-runs": func(c storage.Claim) operation {
			return func(st hourbell.Store) (any, error) { return insertRun(st, c) }
		},
	} {
		for _, commits := range []bool{true, false} {
			p := newPair(t, db, "wait-"+name, 0)
			p.namespace = "wait-" + name + map[bool]string{true: "-commit", false: "-rollback"}[commits]
			real := p.waitOnPostgres(waiting, commits)
			require.Equal(t, real, p.waitInModel(waiting, commits), "%s; commits: %v", name, commits)
		}
	}
}

func advances(c storage.Claim) []storage.Advance {
	return []storage.Advance{{Claim: c, Fired: noon, Through: noon, Next: noon.Add(time.Minute)}}
}

// insertRun inserts the run of the slot at noon and returns the number of runs
// inserted.
func insertRun(st hourbell.Store, c storage.Claim) (any, error) {
	run := hourbell.JobRun{Job: "j", Trigger: hourbell.TriggerCron, ScheduleID: c.ID, ScheduledFor: noon, Status: hourbell.RunQueued}
	inserted, err := st.InsertRuns(context.Background(), []hourbell.JobRun{run})
	return len(inserted), err
}

// dueSchedule is due at noon.
var dueSchedule = storage.Schedule{
	ID: "s", Name: "s", Cron: "* * * * *", TimeZone: "UTC", TargetKind: "ALL_JOBS", Grace: time.Minute, DefinitionHash: "h",
	Enabled: true, NextRunAt: noon,
}

// claimDueSchedule inserts dueSchedule and claims it.
func (p *pair) claimDueSchedule(st hourbell.Store) storage.Claim {
	_, err := st.InsertSchedules(context.Background(), []storage.ScheduleUpdate{{Schedule: dueSchedule}})
	require.NoError(p.t, err)
	result, err := st.Claim(context.Background(), storage.ClaimRequest{Worker: "w1", Limit: 1, LockTTL: time.Minute, Exclude: []string{}})
	require.NoError(p.t, err)
	require.Len(p.t, result.Claims, 1)
	return result.Claims[0]
}

// fireClaim advances the claim and inserts its run. The row stays locked until
// the transaction ends.
func fireClaim(t *testing.T, tx hourbell.Store, c storage.Claim) {
	ids, err := tx.Advance(context.Background(), "w1", advances(c))
	require.NoError(t, err)
	require.Len(t, ids, 1)
	n, err := insertRun(tx, c)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// waitOnPostgres returns the result of an operation that waits for a
// transaction.
func (p *pair) waitOnPostgres(waiting func(storage.Claim) operation, commits bool) (result string) {
	st, err := store.New(p.db.DB).Bind(p.namespace, func() time.Time { return noon })
	require.NoError(p.t, err)
	c := p.claimDueSchedule(st)
	var group sync.WaitGroup
	err = st.Transaction(p.t.Context(), 30*time.Second, func(tx hourbell.Store, _ *gorm.DB) error {
		fireClaim(p.t, tx, c)
		group.Go(func() { result = resultText(waiting(c)(st)) })
		require.Eventually(p.t, func() bool {
			var n int
			err := p.db.Raw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n).Error
			return err == nil && n > 0
		}, 30*time.Second, 2*time.Millisecond)
		if !commits {
			return context.Canceled
		}
		return nil
	})
	require.Equal(p.t, commits, err == nil)
	group.Wait()
	return result
}

// waitInModel does the same in the model.
func (p *pair) waitInModel(waiting func(storage.Claim) operation, commits bool) string {
	db := model.New(noon, model.Omissions{})
	var tx *model.Session
	st := db.Session(func(blocked func() bool, _ time.Duration) bool {
		require.True(p.t, blocked())
		if commits {
			require.NoError(p.t, tx.Commit())
		}
		tx.Rollback()
		return !blocked()
	})
	c := p.claimDueSchedule(st)
	tx = st.Begin(30 * time.Second)
	fireClaim(p.t, tx, c)
	return resultText(waiting(c)(st))
}

// TestClaimAndFireLeaveOutLockedRow checks that claims and fires on time do not
// wait for a row that another transaction has locked, in the model as on
// Postgres (L1). Once that transaction ends, they find the row.
func TestClaimAndFireLeaveOutLockedRow(t *testing.T) {
	db := dbtest.Postgres(t)
	real, err := store.New(db.DB).Bind("locked", func() time.Time { return noon })
	require.NoError(t, err)
	for name, st := range map[string]hourbell.Store{"postgres": real, "model": model.New(noon, model.Omissions{}).Session(nil)} {
		row := dueSchedule
		row.Namespace = "locked"
		_, err := st.InsertSchedules(t.Context(), []storage.ScheduleUpdate{{Schedule: row}})
		require.NoError(t, err, name)
		fires := []storage.SlotFire{{ScheduleID: "s", DefinitionHash: "h", Slot: noon, Next: noon.Add(time.Minute), Jobs: []storage.JobSpec{{Name: "j"}}}}
		err = st.Transaction(t.Context(), 30*time.Second, func(tx hourbell.Store, _ *gorm.DB) error {
			ids, err := tx.UpdateSchedules(t.Context(), []storage.ScheduleUpdate{{Schedule: row, ReadHash: "h"}})
			require.NoError(t, err, name)
			require.Len(t, ids, 1, name)
			fired, err := st.FireOnTime(t.Context(), storage.FireRequest{Fires: fires})
			require.NoError(t, err, name)
			require.Zero(t, fired.Slots, name)
			claimed, err := st.Claim(t.Context(), storage.ClaimRequest{Worker: "w1", Limit: 1, LockTTL: time.Minute, Exclude: []string{}})
			require.NoError(t, err, name)
			require.Empty(t, claimed.Claims, name)
			return nil
		})
		require.NoError(t, err, name)
		fired, err := st.FireOnTime(t.Context(), storage.FireRequest{Fires: fires})
		require.NoError(t, err, name)
		require.Equal(t, 1, fired.Slots, name)
	}
}
