package cron_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/cron"
)

// vector is a line of testdata/cron-vectors.jsonl. Independent implementations
// agree on the vectors of the kinds utc and zone. The vectors of the kinds
// dst-gap and dst-overlap follow the rules of the package documentation.
type vector struct {
	ID    string
	Kind  string
	Why   string // syntax or never, for the kind invalid only
	Expr  string
	TZ    string
	After time.Time
	Next  []time.Time
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	file, err := os.Open("testdata/cron-vectors.jsonl")
	require.NoError(t, err)
	defer file.Close()
	var all []vector
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var v vector
		require.NoError(t, json.Unmarshal(lines.Bytes(), &v))
		all = append(all, v)
	}
	require.NoError(t, lines.Err())
	require.Len(t, all, 3000)
	return all
}

// T4: every vector is reproduced.
func TestScheduleMatchesVectors(t *testing.T) {
	counts := map[string]int{}
	for _, v := range readVectors(t) {
		counts[v.Kind]++
		if v.Kind == "invalid" {
			checkInvalid(t, v)
			continue
		}
		s, err := cron.Parse(v.Expr, v.TZ)
		if !assert.NoError(t, err, "%s %q", v.ID, v.Expr) {
			continue
		}
		require.Len(t, v.Next, 5, v.ID)
		var got []time.Time
		for slot := v.After; len(got) < len(v.Next); {
			slot, err = s.Next(slot)
			require.NoError(t, err, v.ID)
			got = append(got, slot)
		}
		assert.Equal(t, v.Next, got, "%s %q in %s after %s", v.ID, v.Expr, v.TZ, v.After)
		checkBackwards(t, v, s)
	}
	assert.Equal(t, map[string]int{"utc": 1000, "zone": 700, "dst-gap": 560, "dst-overlap": 560, "invalid": 180}, counts)
}

// checkBackwards compares the results of Prev, Between and Count with the slots
// of a vector.
func checkBackwards(t *testing.T, v vector, s cron.Schedule) {
	t.Helper()
	last := len(v.Next) - 1
	for i := last; i > 0; i-- {
		prev, err := s.Prev(v.Next[i])
		require.NoError(t, err, v.ID)
		assert.Equal(t, v.Next[i-1], prev, "%s %q in %s before %s", v.ID, v.Expr, v.TZ, v.Next[i])
	}
	before, err := s.Prev(v.Next[0])
	require.NoError(t, err, v.ID)
	assert.False(t, before.After(v.After), "%s: Prev found %s, which Next did not", v.ID, before)
	next, err := s.Next(before)
	require.NoError(t, err, v.ID)
	assert.Equal(t, v.Next[0], next, "%s: Next is not the inverse of Prev", v.ID)

	between, err := s.Between(v.After.Add(time.Nanosecond), v.Next[last])
	require.NoError(t, err, v.ID)
	assert.Equal(t, v.Next[:last], between, v.ID)
	n, err := s.Count(v.Next[0], v.Next[last], 100)
	require.NoError(t, err, v.ID)
	assert.Equal(t, 5, n, v.ID)
}

func checkInvalid(t *testing.T, v vector) {
	t.Helper()
	_, err := cron.Parse(v.Expr, v.TZ)
	if assert.Error(t, err, "%s %q", v.ID, v.Expr) {
		assert.Equal(t, v.Why == "never", errors.Is(err, cron.ErrNever), "%s %q: %v", v.ID, v.Expr, err)
		assert.NotErrorIs(t, err, cron.ErrZone, v.ID)
	}
	// A call must be fast. A gronx search up to its limit makes thousands of
	// allocations.
	assert.Less(t, testing.AllocsPerRun(1, func() { _, _ = cron.Parse(v.Expr, v.TZ) }), 100.0, "%s %q", v.ID, v.Expr)
}
