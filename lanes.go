package hourbell

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Lanes.
//
// One connection keeps one processor of the database busy, and not even that: while the client prepares the next batch, or
// the disk takes the last one, it waits. So where more is due than one batch, a pass has several lanes, each of which
// works through batches of its own over a connection of its own. They share the pass, and what they write of it is guarded
// by its mutex.

// lanes is how many may work side by side now.
func (p *pass) lanes() int {
	p.guard.Lock()
	defer p.guard.Unlock()
	if p.limit < p.cfg.BatchSize || p.store.OneByOne() { // a database that just failed is not pressed
		return 1
	}
	return p.cfg.Connections
}

// grow lets the next batches be larger, after one that went well.
func (p *pass) grow() {
	p.guard.Lock()
	defer p.guard.Unlock()
	p.limit = min(2*p.limit, p.cfg.BatchSize)
}

// shrink makes the next batches smaller, after one that failed for no fault of its own; of one schedule each, where one of
// them takes too long, so that it is soon alone.
func (p *pass) shrink(toOne bool) {
	p.guard.Lock()
	defer p.guard.Unlock()
	if p.limit = max(p.limit/2, 1); toOne {
		p.limit = 1
	}
}

// sideBySide runs n lanes and waits for all of them.
func sideBySide(n int, lane func(i int) error) error {
	errs := make([]error, n)
	var others sync.WaitGroup
	for i := 1; i < n; i++ {
		others.Go(func() { errs[i] = lane(i) })
	}
	errs[0] = lane(0)
	others.Wait()
	return errors.Join(errs...)
}

// burst is what is left to fire of what came due at once: batches, of which each lane has its part.
type burst struct {
	guard sync.Mutex
	parts [][][]arrival
	last  Fired // what ended it, where it is known that nothing is due any more
}

func newBurst(batches [][]arrival, lanes int) *burst {
	b := &burst{}
	for i := range lanes {
		b.parts = append(b.parts, slices.Clone(batches[i*len(batches)/lanes:(i+1)*len(batches)/lanes]))
	}
	return b
}

// take is the next batch of a lane's own part, and where that has come to its end the last of the longest. It returns nil where
// nothing is left.
func (b *burst) take(lane int) (batch []arrival) {
	b.guard.Lock()
	defer b.guard.Unlock()
	if own := b.parts[lane]; len(own) > 0 {
		b.parts[lane] = own[1:]
		return own[0]
	}
	for i, part := range b.parts {
		if len(part) > len(b.parts[lane]) {
			lane = i
		}
	}
	longest := b.parts[lane]
	if len(longest) == 0 {
		return nil
	}
	b.parts[lane] = longest[:len(longest)-1]
	return longest[len(longest)-1]
}

// putBack is for a batch that could not be fired now.
func (b *burst) putBack(lane int, batch []arrival) {
	b.guard.Lock()
	defer b.guard.Unlock()
	b.parts[lane] = append(b.parts[lane], batch)
}

// end leaves nothing to the other lanes.
func (b *burst) end(last Fired) {
	b.guard.Lock()
	defer b.guard.Unlock()
	clear(b.parts)
	b.last = last
}

// warmup uses the connections of a slot's lanes once, shortly before it. Drivers ask after a connection that was idle for a
// second before they use it, a pool may have closed it, and a network may have forgotten it, which is noticed at a deadline: none
// of that is left to the instant at which time counts.
type warmup struct {
	*Scheduler
	over chan struct{} // closed when the last one has ended
}

// beforehand is how long before a slot that is.
const beforehand = 250 * time.Millisecond

func newWarmup(s *Scheduler) *warmup {
	w := &warmup{s, make(chan struct{})}
	close(w.over)
	return w
}

// before sleeps until shortly before a slot, and asks for the time over as many connections as the slot will take. It returns
// what is left to sleep. A connection that does not answer by the slot is left alone with its deadline, and the slot takes another.
func (w *warmup) before(ctx context.Context, slot time.Time, left time.Duration) time.Duration {
	select {
	case <-w.over:
	default: // somebody still does not answer
		return left
	}
	if left <= 2*beforehand {
		return left
	}
	end := time.Now().Add(left)
	sleep(ctx, left-beforehand)
	w.over = make(chan struct{})
	go w.ask(ctx, w.lanesAt(slot), w.over)
	waiting, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	select {
	case <-w.over:
	case <-waiting.Done():
	}
	return time.Until(end)
}

func (w *warmup) ask(ctx context.Context, lanes int, over chan struct{}) {
	defer close(over)
	ctx, cancel := context.WithTimeout(ctx, w.callDeadline())
	defer cancel()
	_ = sideBySide(lanes, func(int) error {
		_, err := w.store.Now(ctx)
		return err // the pass will tell
	})
}

func (w *warmup) wait() { <-w.over }

// lanesAt is how many lanes a pass at a slot will have; one where it is not known what will be due.
func (s *Scheduler) lanesAt(slot time.Time) int {
	s.ticking.Lock()
	defer s.ticking.Unlock()
	p := &pass{Scheduler: s}
	lanes := p.lanes()
	return min(lanes, len(p.batches(s.coming.due(slot), lanes)))
}
