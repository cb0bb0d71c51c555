// Package parallel distributes batches over the connections of a tick.
package parallel

import (
	"errors"
	"slices"
	"sync"
)

// Run calls fn n times concurrently, with 0 to n-1, waits for all calls and
// joins their errors. n must be positive. The first call runs on the caller's
// goroutine.
func Run(n int, fn func(i int) error) error {
	errs := make([]error, n)
	var others sync.WaitGroup
	for i := 1; i < n; i++ {
		others.Go(func() { errs[i] = fn(i) })
	}
	errs[0] = fn(0)
	others.Wait()
	return errors.Join(errs...)
}

// Queue distributes batches over several connections. Each connection has a
// part of the batches, and takes from the longest other part when its own is
// empty. A Queue is safe for concurrent use.
type Queue[T any] struct {
	mu    sync.Mutex
	parts [][]T
}

// NewQueue returns a Queue of batches for n connections. Each part is a range
// of the batches, in the given order.
func NewQueue[T any](batches []T, n int) *Queue[T] {
	q := &Queue[T]{}
	for i := range n {
		q.parts = append(q.parts, slices.Clone(batches[i*len(batches)/n:(i+1)*len(batches)/n]))
	}
	return q
}

// Take removes and returns the first batch of connection i's part, with i from
// 0. If that part is empty, it takes the last batch of the longest other part.
// It returns false if the queue is empty.
func (q *Queue[T]) Take(i int) (batch T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if own := q.parts[i]; len(own) > 0 {
		q.parts[i] = own[1:]
		return own[0], true
	}
	longest := i
	for other, part := range q.parts {
		if len(part) > len(q.parts[longest]) {
			longest = other
		}
	}
	part := q.parts[longest]
	if len(part) == 0 {
		return batch, false
	}
	q.parts[longest] = part[:len(part)-1]
	return part[len(part)-1], true
}

// Clear removes all batches.
func (q *Queue[T]) Clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.parts)
}
