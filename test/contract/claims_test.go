package contract_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/store"
)

var errKilled = errors.New("killed")

// claimAndKill claims the due schedules as a replica that is killed right after
// its claim. It returns the id of its worker, which still holds the schedule.
func claimAndKill(t testing.TB, db *gorm.DB, cfg hourbell.Config, id string) string {
	t.Helper()
	s := newReplicaWithStore(t, &hookedStore{store.New(db), func(step string) error {
		if step == "before claim" {
			return nil
		}
		return errKilled
	}}, cfg)
	_, err := s.Tick(t.Context())
	require.ErrorIs(t, err, errKilled)
	require.Equal(t, workerID(t, s), readSchedule(t, s, id).LockedBy)
	return workerID(t, s)
}

// newPausedReplica returns a replica that pauses once, at a step. The function
// meanwhile runs during the pause.
func newPausedReplica(t testing.TB, db *gorm.DB, cfg hourbell.Config, step string, meanwhile func()) *hourbell.Scheduler {
	t.Helper()
	return newReplicaWithStore(t, &hookedStore{store.New(db), hookOnce(step, func() error {
		meanwhile()
		return nil
	})}, cfg)
}

// claimAs claims as a worker with the default LockTTL.
func claimAs(t testing.TB, st hourbell.Store, worker string, limit int) []storage.Claim {
	t.Helper()
	claims, err := st.Claim(t.Context(), storage.ClaimRequest{
		Worker: worker, Limit: limit, LockTTL: 5 * time.Minute, MaxBackoff: time.Minute, DeadAfter: 30 * time.Second,
	})
	require.NoError(t, err)
	return claims.Claims
}

// heartbeatAs writes a heartbeat of a worker.
func heartbeatAs(t testing.TB, st hourbell.Store, worker string) {
	t.Helper()
	_, err := st.Heartbeat(t.Context(), hourbell.Worker{ID: worker, WorkerType: "schedule_daemon"}, 30*time.Second)
	require.NoError(t, err)
}
