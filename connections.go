package hourbell

import (
	"context"
	"time"

	"github.com/hourbell/hourbell/internal/parallel"
	"github.com/hourbell/hourbell/internal/timing"
)

// connections returns how many connections a tick uses. While the batch size is
// reduced after a failure, it is one, to spare the database. On SQLite it is
// always one.
func (s *Scheduler) connections() int {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	if s.loop.batchSize < s.cfg.BatchSize || s.store.SingleWriter() {
		return 1
	}
	return s.cfg.Connections
}

// growBatch doubles the batch size after a success, up to Config.BatchSize.
func (s *Scheduler) growBatch() {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	s.loop.batchSize = min(2*s.loop.batchSize, s.cfg.BatchSize)
}

// shrinkBatch halves the batch size after a failure that concerns no single
// schedule. With toOne, after the Enqueuer has exceeded its deadline, it sets
// the size to one, which isolates a slow schedule at once.
func (s *Scheduler) shrinkBatch(toOne bool) {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	s.loop.batchSize = max(s.loop.batchSize/2, 1)
	if toOne {
		s.loop.batchSize = 1
	}
}

// warmUp pings the connections that the next slot will need, just before it.
// Otherwise the driver's liveness check, a reconnect or a dead network path
// would delay the slot itself.
type warmUp struct {
	scheduler *Scheduler
	done      chan struct{} // closed when the latest pings have ended
}

// warmUpLead is how long before a slot the connections are pinged.
const warmUpLead = 250 * time.Millisecond

func newWarmUp(s *Scheduler) *warmUp {
	w := &warmUp{s, make(chan struct{})}
	close(w.done)
	return w
}

// beforeSlot sleeps until shortly before a slot, and then pings the connections
// that the slot will use. It does nothing if the slot is near, or if earlier
// pings have not ended.
//
// end is the time of the slot by this process's clock. beforeSlot returns then
// at the latest, and lets the pings continue. For the slot, the pool opens
// other connections in place of those that do not respond.
func (w *warmUp) beforeSlot(ctx context.Context, slot, end time.Time) {
	select {
	case <-w.done:
	default:
		return
	}
	untilEnd := time.Until(end)
	if untilEnd <= 2*warmUpLead {
		return
	}
	timing.Sleep(ctx, untilEnd-warmUpLead)
	w.done = make(chan struct{})
	go w.ping(ctx, w.scheduler.connectionsAt(slot), w.done)
	waitCtx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	select {
	case <-w.done:
	case <-waitCtx.Done():
	}
}

// ping pings connections at the same time, and closes done when all pings have
// ended.
func (w *warmUp) ping(ctx context.Context, connections int, done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(ctx, w.scheduler.cfg.callTimeout())
	defer cancel()
	_ = parallel.Run(connections, func(int) error {
		_, err := w.scheduler.store.Now(ctx)
		return err // ignored: if it persists, the tick returns it
	})
}

// wait waits until the latest pings have ended.
func (w *warmUp) wait() { <-w.done }

// connectionsAt returns how many connections a tick at a slot will use for what
// the lookahead expects to be due then. It is at least one.
func (s *Scheduler) connectionsAt(slot time.Time) int {
	s.loop.mu.Lock()
	due := s.loop.lookahead.Due(slot)
	s.loop.mu.Unlock()
	connections := s.connections()
	return min(connections, len(s.splitSlots(due, connections)))
}
