package contract_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// batchPaths are the two paths on which a replica fires a batch, and the steps
// of hookedStore with which a batch begins and ends on each.
var batchPaths = map[string]struct {
	begin, end string
	enqueuer   hourbell.Enqueuer
}{
	"fast path":  {"before fire-on-time", "after fire-on-time", nil},
	"claim path": {"before advance", "after commit", noopEnqueuer},
}

// batchMonitor observes the connections of a replica that fires many batches in
// one tick.
type batchMonitor struct {
	begin, end string
	mu         sync.Mutex    // guards the fields below
	active     int           // connections that are firing a batch
	maxActive  int           // the largest value of active
	batches    int           // batches that have ended
	quorum     int           // the first batches wait until this many connections are active
	reached    chan struct{} // closed when the quorum is reached
	afterBatch func(batch int) error
}

func (m *batchMonitor) hook(step string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch step {
	case m.begin:
		m.active++
		if m.maxActive = max(m.maxActive, m.active); m.active == m.quorum && m.batches == 0 {
			close(m.reached)
		}
		m.mu.Unlock()
		defer m.mu.Lock()
		select {
		case <-m.reached:
			return nil
		case <-time.After(10 * time.Second):
			return errors.New("timed out waiting for another connection")
		}
	case m.end:
		m.active--
		m.batches++
		if m.afterBatch != nil {
			return m.afterBatch(m.batches)
		}
	}
	return nil
}

// newMonitoredReplica returns a replica whose hourly schedules are due now, at
// noon. They make many batches of ten.
func newMonitoredReplica(t *testing.T, db *dbtest.DB, path string, connections, schedules int) (*hourbell.Scheduler, *clock, *batchMonitor) {
	t.Helper()
	now := newClock(noon.Add(-time.Minute))
	m := &batchMonitor{begin: batchPaths[path].begin, end: batchPaths[path].end, reached: make(chan struct{}), quorum: connections}
	s := newReplicaWithStore(t, &hookedStore{store.New(db.DB), m.hook}, hourbell.Config{
		Definitions: manyHourly(schedules), BatchSize: 10, Connections: connections, Now: now.Now, Enqueuer: batchPaths[path].enqueuer,
	})
	require.NoError(t, s.Sync(t.Context()))
	require.Zero(t, tick(t, s).Claimed)
	m.active, m.batches = 0, 0 // the sync has committed too
	now.Set(noon)
	return s, now, m
}

// requireFiredOnceAtNoon checks that each schedule of manyHourly has fired the
// slot of noon, once, and is not locked.
func requireFiredOnceAtNoon(t *testing.T, s *hourbell.Scheduler, schedules int) {
	t.Helper()
	for _, d := range manyHourly(schedules) {
		require.Equal(t, []time.Time{noon}, firedSlots(readRuns(t, s, d.ID)), d.ID)
		require.Empty(t, readSchedule(t, s, d.ID).LockedBy, d.ID)
	}
}
