package parallel

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRunJoinsErrors(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	var mu sync.Mutex
	seen := map[int]bool{}
	err := Run(3, func(i int) error {
		mu.Lock()
		defer mu.Unlock()
		seen[i] = true
		return []error{first, nil, second}[i]
	})
	require.ErrorIs(t, err, first)
	require.ErrorIs(t, err, second)
	require.Equal(t, map[int]bool{0: true, 1: true, 2: true}, seen)
	require.NoError(t, Run(1, func(int) error { return nil }))
}

// A worker takes its own part in order, then the last batch of the longest
// other part.
func TestQueueTakesOwnPartFirst(t *testing.T) {
	q := NewQueue([]string{"a", "b", "c", "d", "e"}, 2)
	take := func(i int) string {
		batch, ok := q.Take(i)
		require.Equal(t, batch != "", ok)
		return batch
	}
	require.Equal(t, "a", take(0))
	require.Equal(t, "b", take(0))
	require.Equal(t, "e", take(0), "its own part is empty")
	require.Equal(t, "c", take(1))
	require.Equal(t, "d", take(0))
	require.Empty(t, take(0))
	require.Empty(t, take(1))
}

func TestQueueClear(t *testing.T) {
	q := NewQueue([]int{1, 2, 3, 4}, 2)
	q.Clear()
	for i := range 2 {
		_, ok := q.Take(i)
		require.False(t, ok)
	}
}

// Concurrent workers take each batch exactly once.
func TestQueueGivesEachBatchOnce(t *testing.T) {
	const count, workers = 1000, 4
	batches := make([]int, count)
	for i := range batches {
		batches[i] = i
	}
	q := NewQueue(batches, workers)
	taken := make([][]int, workers)
	require.NoError(t, Run(workers, func(i int) error {
		for {
			batch, ok := q.Take(i)
			if !ok {
				return nil
			}
			taken[i] = append(taken[i], batch)
		}
	}))
	seen := map[int]bool{}
	for _, list := range taken {
		for _, batch := range list {
			require.False(t, seen[batch])
			seen[batch] = true
		}
	}
	require.Len(t, seen, count)
}
