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
// On the claim path, the claim commits first, so that operators see the lock
// while the Enqueuer runs. Without an Enqueuer, one statement can claim,
// advance and insert the runs.
//
// The statement fires only what the claim path would fire. Its conditions are
// those of claim, decide and fence, and it reads the database clock itself. The
// row must be unlocked, on time, and free of failures and unfinished claims.
// The claim path, which follows in the same tick, handles all other rows.
//
// A slot fires once here too. The statement locks the row, requires that
// next_run_at is the slot, moves it past the slot, and increments the version.

// maxFindNext is the number of fires up to which the firing statement also
// finds the next wake-up. Above it, the search is too slow: it visits every row
// that the statement has fired.
const maxFindNext = 100

// fireOnTime fires the slots that the lookahead expects to be due. It reports
// whether nothing else is due, which finishes the tick.
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

// fireBatchesOnTime fires batches over several connections. If another replica
// has fired a batch, the next request also asks whether anything else is due.
// If nothing is, the remaining batches are dropped, and the result has Idle
// set. They are also dropped if one fails.
func (p *pass) fireBatchesOnTime(ctx, workCtx context.Context, batches [][]storage.SlotFire, connections int) (storage.FireResult, error) {
	queue := parallel.NewQueue(batches, connections)
	results := make(chan storage.FireResult, connections) // of connections that ended early
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
				results <- result
				return err
			}
			request.FindNext, request.Exclude = false, nil
			if result.AlreadySettled {
				request.FindNext, request.Exclude = true, p.scheduler.exclusions()
			}
		}
		return nil
	})
	close(results)
	var last storage.FireResult
	for result := range results {
		if result.Idle && !result.At.Before(last.At) {
			last = result
		}
	}
	return last, err
}

// fireBatchOnTime fires one batch. It returns an error if the database is
// unavailable or busy. It leaves a batch that fails for another reason to the
// claim path, which isolates the schedule that causes the failure.
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

// splitSlots splits slots into batches of at most the batch size, and of at
// most maxRuns runs unless a single slot has more. With more slots
// than maxFindNext, the batches have about the same size, and each connection
// gets as many. So all connections are busy until the end.
func (s *Scheduler) splitSlots(due []storage.SlotFire, connections int) (batches [][]storage.SlotFire) {
	s.loop.mu.Lock()
	size := s.loop.batchSize
	s.loop.mu.Unlock()
	if len(due) > maxFindNext { // both divisions round up
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
