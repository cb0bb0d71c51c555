package hourbell

import (
	"context"
	"errors"
	"fmt"

	"github.com/hourbell/hourbell/internal/parallel"
	"github.com/hourbell/hourbell/internal/storage"
	"github.com/hourbell/hourbell/internal/timing"
)

// The fast path
//
// On the claim path, the claim commits before the fire, because the Enqueuer
// runs in between and the lock must be visible. Without an Enqueuer nothing runs
// in between, so one statement can claim, advance and insert.
//
// The statement fires only what the claim path would fire. Its conditions are
// those of claim, decide and fence, and it reads the database clock itself. The
// row must be unlocked, on time, and free of failures and unfinished claims.
// The claim path, which follows in the same tick, handles all other rows.

// maxFindNext is the number of fires up to which the firing statement also
// finds the next wake-up. Above it, the search is too slow, because it looks
// past every row that the statement has fired.
const maxFindNext = 100

// fireOnTime fires the slots that the lookahead expects. It reports whether the
// tick is finished, because a claim would find nothing.
func (p *pass) fireOnTime(ctx, workCtx context.Context) (idle bool, err error) {
	s := p.scheduler
	due := s.dueSlots()
	if len(due) == 0 {
		return false, nil
	}
	connections := s.connections()
	batches := s.splitSlots(due, connections)
	var last storage.FireResult
	if len(batches) == 1 && len(due) <= maxFindNext {
		last, err = p.fireBatchOnTime(workCtx, storage.FireRequest{Fires: due, FindNext: true, Exclude: s.exclusions()})
	} else {
		last, err = p.fireBatchesOnTime(ctx, workCtx, batches, min(connections, len(batches)))
	}
	if last.Idle {
		p.noteIdle(last.At, last.WakeAt, false)
	}
	return last.Idle, err
}

// fireBatchesOnTime fires batches over several connections until none is left.
// It returns a result with Idle set if other replicas have fired the rest.
func (p *pass) fireBatchesOnTime(ctx, workCtx context.Context, batches [][]storage.SlotFire, connections int) (storage.FireResult, error) {
	queue := parallel.NewQueue(batches, connections)
	idle := make(chan storage.FireResult, connections)
	err := parallel.Run(connections, func(i int) error {
		request := storage.FireRequest{}
		for ctx.Err() == nil {
			batch, ok := queue.Take(i)
			if !ok {
				return nil
			}
			request.Fires = batch
			result, err := p.fireBatchOnTime(workCtx, request)
			if err != nil || result.Idle {
				queue.Clear()
				idle <- result
				return err
			}
			// Another replica has fired this batch, and perhaps all others.
			request.FindNext, request.Exclude = false, nil
			if result.AlreadySettled {
				request.FindNext, request.Exclude = true, p.scheduler.exclusions()
			}
		}
		return nil
	})
	close(idle)
	var last storage.FireResult
	for result := range idle {
		if result.Idle && !result.At.Before(last.At) {
			last = result
		}
	}
	return last, err
}

// fireBatchOnTime fires one batch. Unless the database is unavailable, it leaves
// a batch that fails to the claim path, which finds the schedule that causes it.
func (p *pass) fireBatchOnTime(ctx context.Context, request storage.FireRequest) (storage.FireResult, error) {
	s := p.scheduler
	ctx, cancel := context.WithTimeout(ctx, s.cfg.fireTimeout())
	defer cancel()
	sent := timing.Now()
	result, err := s.store.FireOnTime(ctx, request)
	switch {
	case err != nil && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBusy)):
		s.shrinkBatch(false)
		return storage.FireResult{}, fmt.Errorf("hourbell: fire %d schedules on time: %w", len(request.Fires), err)
	case err != nil:
		s.log.WarnContext(ctx, "hourbell: fast path failed, falling back to claims", "schedules", len(request.Fires), "error", err)
		return storage.FireResult{}, nil
	}
	s.noteTick(result.At, sent)
	s.growBatch()
	s.logFired(ctx, result.Slots, result.Runs)
	p.count(TickReport{Claimed: result.Slots, Fired: result.Slots, Enqueued: result.Runs})
	return result, nil
}

// dueSlots returns the slots that the lookahead expects to be due by now.
func (s *Scheduler) dueSlots() []storage.SlotFire {
	now := s.estimatedNow()
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	return s.loop.lookahead.Due(now)
}

// splitSlots splits slots into batches of about the same size, so that all
// connections are busy until the end.
func (s *Scheduler) splitSlots(due []storage.SlotFire, connections int) (batches [][]storage.SlotFire) {
	s.loop.mu.Lock()
	size := s.loop.batchSize
	s.loop.mu.Unlock()
	if len(due) > maxFindNext {
		rounds := (len(due) + size*connections - 1) / (size * connections)
		size = (len(due) + rounds*connections - 1) / (rounds * connections)
	}
	first, runs := 0, 0
	for i, fire := range due {
		if runs += len(fire.Jobs); i > first && (i-first >= size || runs > maxRuns) {
			batches = append(batches, due[first:i])
			first, runs = i, len(fire.Jobs)
		}
	}
	return append(batches, due[first:])
}
