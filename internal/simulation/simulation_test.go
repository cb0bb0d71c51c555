package simulation

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/simulation/model"
)

// TestHistoriesKeepGuarantees checks random histories. In each, every slot of
// an active schedule is one fire or is in one recorded skip (M1, M2). No slot
// fires early (T2), twice (L3) or after its schedule was stopped (M5). The
// slots of unfinished claims fire (L4), and no lock or backoff remains. Nothing
// fires that is not a slot of the row's zone rules, while processes with other
// rules run and users edit rows (D4, D8).
//
// HOURBELL_SEEDS is the number of histories, HOURBELL_SEED the first seed. With
// HOURBELL_SEED alone, or HOURBELL_SEEDS=1, the test logs that one history.
func TestHistoriesKeepGuarantees(t *testing.T) {
	first, count := fromEnv(t, "HOURBELL_SEED", 0), uint64(600)
	if testing.Short() {
		count = 60
	}
	if os.Getenv("HOURBELL_SEED") != "" {
		count = 1
	}
	if count = fromEnv(t, "HOURBELL_SEEDS", count); count == 1 {
		explain(t, first, model.Omissions{})
		return
	}
	start := time.Now()
	total := runHistories(t, first, count)
	perMinute := float64(count) / time.Since(start).Minutes()
	t.Logf("%d histories, %.0f a minute: %d steps, %d faults, %d fires", count, perMinute, total.Steps, total.Faults, total.Fires)
	t.Logf("%v", total.Counts)
	if count < 600 {
		return
	}
	for _, name := range []string{
		"insert-schedules", "update-schedules", "claim", "release", "record-failures", "advance", "fire-on-time", "unlock", "edit",
		"SKIPPED LATE", "SKIPPED SUPERSEDED", "SKIPPED ABANDONED", "SKIPPED DISABLED", "SKIPPED CHANGED", "SKIPPED REMOVED", "SKIPPED RULES_CHANGED", "SKIPPED NOT_A_SLOT",
		"ENABLED", "DISABLED", "RUN_NOW", "UNLOCKED", "LOCK_EXPIRED", "DEFINED", "CHANGED", "REMOVED", "ENQUEUE_FAILED",
	} {
		require.NotZero(t, total.Counts[name], "no history contains %s", name)
	}
}

// fromEnv reads a number from an environment variable.
func fromEnv(t *testing.T, name string, fallback uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, name)
	return n
}

// runHistories runs count histories on all processors and adds up their
// results. The test fails with the first seed that violates a guarantee.
func runHistories(t *testing.T, first, count uint64) Result {
	total := Result{Counts: map[string]int{}}
	var mu sync.Mutex
	var next, violating atomic.Uint64
	violating.Store(first + count)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := first + next.Add(1) - 1; seed < violating.Load(); seed = first + next.Add(1) - 1 {
				r := Run(seed, model.Omissions{})
				mu.Lock()
				total.Steps, total.Faults, total.Fires = total.Steps+r.Steps, total.Faults+r.Faults, total.Fires+r.Fires
				for name, n := range r.Counts {
					total.Counts[name] += n
				}
				if r.Violation != nil {
					violating.Store(min(violating.Load(), seed))
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if seed := violating.Load(); seed < first+count {
		explain(t, seed, model.Omissions{})
	}
	return total
}

// explain logs the history of a seed. The test fails if it violates a
// guarantee.
func explain(t *testing.T, seed uint64, omit model.Omissions) {
	t.Helper()
	r := Run(seed, omit)
	explained := Explain(seed, omit)
	t.Logf("history of seed %d:\n%s", seed, explained.History)
	if r.Violation != nil {
		t.Fatalf("seed %d: %v\nin the shrunk history above: %v\nto repeat: HOURBELL_SEED=%d go test -v -run %s ./internal/simulation",
			seed, r.Violation, explained.Violation, seed, t.Name())
	}
}

// omissions lists each mechanism with the violation that its absence causes.
var omissions = []struct {
	mechanism string
	omit      model.Omissions
	causes    ViolationKind
	rare      bool // the violation can take hundreds of histories to occur
}{
	{"Fence", model.Omissions{Fence: true}, RecordedTwice, true},
	{"FenceAndUniqueIndex", model.Omissions{Fence: true, UniqueIndex: true}, FiredTwice, false},
	{"UnfinishedClaims", model.Omissions{UnfinishedClaims: true}, NotFired, false},
	{"Settling", model.Omissions{Settling: true}, Lost, false},
	{"CompareAndSet", model.Omissions{CompareAndSet: true}, Inactive, false},
	{"IdleTimeout", model.Omissions{IdleTimeout: true}, Stuck, false},
	{"StatementClock", model.Omissions{StatementClock: true}, NotLatest, false},
	{"DefinitionHash", model.Omissions{DefinitionHash: true}, WrongJobs, true},
}

// TestCheckerDetectsOmission shows that each mechanism is needed (L3, L4, L6,
// M5, O2, T1, D8): without it, some history violates a guarantee, and the
// checker reports the expected kind of violation.
func TestCheckerDetectsOmission(t *testing.T) {
	const maxSeeds = 3000
	for _, o := range omissions {
		t.Run(o.mechanism, func(t *testing.T) {
			if testing.Short() && o.rare {
				t.Skip("can take hundreds of histories")
			}
			t.Parallel()
			for seed := range uint64(maxSeeds) {
				if v := Run(seed, o.omit).Violation; v != nil && v.Kind == o.causes {
					t.Logf("seed %d: %v", seed, v)
					return
				}
			}
			t.Fatalf("none of %d histories has the violation %q", maxSeeds, o.causes)
		})
	}
}

// TestFenceSufficesWithoutUniqueIndex checks that the unique index is only a
// backstop (L3): with the fence in place, omitting it changes nothing.
func TestFenceSufficesWithoutUniqueIndex(t *testing.T) {
	count := uint64(300)
	if testing.Short() {
		count = 40
	}
	for seed := range count {
		require.Nil(t, Run(seed, model.Omissions{UniqueIndex: true}).Violation, "seed %d", seed)
	}
}

// TestSeedDeterminesHistory checks that random ids and map order in the core do
// not influence a history.
func TestSeedDeterminesHistory(t *testing.T) {
	for seed := range uint64(25) {
		first := run(newChoices(seed), model.Omissions{}, true)
		require.NotEmpty(t, first.History)
		require.Equal(t, first.History, run(newChoices(seed), model.Omissions{}, true).History, "seed %d", seed)
	}
}

// TestExplainShrinksHistory checks that a shrunk history has the same violation
// and few of the faults.
func TestExplainShrinksHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("runs hundreds of histories")
	}
	omit := model.Omissions{Fence: true, UniqueIndex: true}
	var seed uint64
	for ; ; seed++ {
		if v := Run(seed, omit).Violation; v != nil && v.Kind == FiredTwice {
			break
		}
	}
	full, shrunk := run(newChoices(seed), omit, true), Explain(seed, omit)
	require.Equal(t, FiredTwice, shrunk.Violation.Kind)
	require.Less(t, shrunk.Faults, full.Faults/5, "of %d", full.Faults)
	t.Logf("seed %d: from %d steps and %d faults to %d and %d\n%s\n%v",
		seed, full.Steps, full.Faults, shrunk.Steps, shrunk.Faults, shrunk.History, shrunk.Violation)
}
