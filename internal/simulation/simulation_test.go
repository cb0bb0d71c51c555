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

// Whatever goes wrong, every slot of an enabled schedule is one fire or in one recorded skip, never early and never after
// the schedule was stopped, what was owed fires, and nothing is left over.
//
// HOURBELL_SEEDS=n makes n histories, and HOURBELL_SEED=s begins with that of seed s; alone it tells that one.
func TestNoHistoryBreaksAPromise(t *testing.T) {
	first, count := fromEnv(t, "HOURBELL_SEED", 0), uint64(600)
	if testing.Short() {
		count = 60
	}
	if os.Getenv("HOURBELL_SEED") != "" {
		count = 1
	}
	if count = fromEnv(t, "HOURBELL_SEEDS", count); count == 1 {
		explain(t, first, model.Without{})
		return
	}
	start := time.Now()
	all := histories(t, first, count)
	t.Logf("%d histories, %.0f a minute: %d steps, %d mishaps, %d fires", count, float64(count)/time.Since(start).Minutes(), all.Steps, all.Mishaps, all.Fires)
	t.Logf("%v", all.Seen)
	if count < 600 {
		return
	}
	for _, what := range []string{
		"insert", "revise", "claim", "give-back", "hold", "advance", "fire-on-time", "unlock",
		"SKIPPED LATE", "SKIPPED SUPERSEDED", "SKIPPED LAPSED", "SKIPPED DISABLED", "SKIPPED CHANGED", "SKIPPED REMOVED",
		"ENABLED", "DISABLED", "RUN_NOW", "UNLOCKED", "LOCK_EXPIRED", "DEFINED", "CHANGED", "REMOVED", "ENQUEUE_FAILED",
	} {
		require.NotZero(t, all.Seen[what], "%s is in no history", what)
	}
}

func fromEnv(t *testing.T, name string, standard uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, name)
	return n
}

// histories makes those of so many seeds, on all processors, and fails with the first that breaks a promise.
func histories(t *testing.T, first, count uint64) Result {
	all := Result{Seen: map[string]int{}}
	var mu sync.Mutex
	var next, broken atomic.Uint64
	broken.Store(first + count)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := first + next.Add(1) - 1; seed < broken.Load(); seed = first + next.Add(1) - 1 {
				r := Run(seed, model.Without{})
				mu.Lock()
				all.Steps, all.Mishaps, all.Fires = all.Steps+r.Steps, all.Mishaps+r.Mishaps, all.Fires+r.Fires
				for what, n := range r.Seen {
					all.Seen[what] += n
				}
				if r.Violation != nil {
					broken.Store(min(broken.Load(), seed))
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if seed := broken.Load(); seed < first+count {
		explain(t, seed, model.Without{})
	}
	return all
}

// explain tells the history of a seed, and fails where it breaks a promise.
func explain(t *testing.T, seed uint64, without model.Without) {
	t.Helper()
	r := Run(seed, without)
	told := Explain(seed, without)
	t.Logf("the history of seed %d:\n%s", seed, told.History)
	if r.Violation != nil {
		t.Fatalf("seed %d breaks a promise: %v\nshrunk, as it is told above: %v\nHOURBELL_SEED=%d go test -run %s ./internal/simulation tells it again",
			seed, r.Violation, told.Violation, seed, t.Name())
	}
}

// absences are the mechanisms, what goes wrong without them, and whether it takes long until it does.
var absences = []struct {
	mechanism string
	without   model.Without
	breaks    string
	rare      bool
}{
	{"TheFence", model.Without{Fence: true}, CountedTwice, true},
	{"TheFenceAndTheUniqueIndex", model.Without{Fence: true, UniqueIndex: true}, FiredTwice, false},
	{"TheDebt", model.Without{Debt: true}, Owed, false},
	{"Settling", model.Without{Settling: true}, Lost, false},
	{"CompareAndSet", model.Without{CompareAndSet: true}, NotEnabled, false},
	{"TheLimitOnIdleTransactions", model.Without{IdleLimit: true}, KeptForEver, false},
	{"TheStatementsOwnClock", model.Without{OwnClock: true}, NotLatest, false},
	{"TheDefinitionInTheRow", model.Without{Definition: true}, WrongJobs, true},
}

// Each mechanism is needed: without it, a history breaks the promise that rests on it, and the checker says which.
func TestTheSimulationNoticesTheAbsenceOf(t *testing.T) {
	const most = 3000
	for _, a := range absences {
		t.Run(a.mechanism, func(t *testing.T) {
			if testing.Short() && a.rare {
				t.Skip("may take hundreds of histories")
			}
			t.Parallel()
			for seed := range uint64(most) {
				if v := Run(seed, a.without).Violation; v != nil && v.Kind == a.breaks {
					t.Logf("seed %d: %v", seed, v)
					return
				}
			}
			t.Fatalf("in %d histories never: %s", most, a.breaks)
		})
	}
}

// Nothing reaches the unique index where the fence is right: without it nothing is noticed.
func TestWithARightFenceNothingReachesTheUniqueIndex(t *testing.T) {
	count := uint64(300)
	if testing.Short() {
		count = 40
	}
	for seed := range count {
		require.Nil(t, Run(seed, model.Without{UniqueIndex: true}).Violation, "seed %d", seed)
	}
}

// A seed determines its history, whatever the core leaves to chance or to the order of a map.
func TestASeedDeterminesItsHistory(t *testing.T) {
	for seed := range uint64(25) {
		first := run(newTape(seed), model.Without{}, true)
		require.NotEmpty(t, first.History)
		require.Equal(t, first.History, run(newTape(seed), model.Without{}, true).History, "seed %d", seed)
	}
}

// What is told of a history that breaks a promise breaks the same, and has hardly anything in it that need not be there.
func TestAHistoryIsShrunk(t *testing.T) {
	if testing.Short() {
		t.Skip("makes hundreds of histories")
	}
	without := model.Without{Fence: true, UniqueIndex: true}
	var seed uint64
	for ; ; seed++ {
		if v := Run(seed, without).Violation; v != nil && v.Kind == FiredTwice {
			break
		}
	}
	full, shrunk := run(newTape(seed), without, true), Explain(seed, without)
	require.Equal(t, FiredTwice, shrunk.Violation.Kind)
	require.Less(t, shrunk.Mishaps, full.Mishaps/5, "of %d", full.Mishaps)
	t.Logf("seed %d: from %d steps and %d mishaps to %d and %d\n%s\n%v", seed, full.Steps, full.Mishaps, shrunk.Steps, shrunk.Mishaps, shrunk.History, shrunk.Violation)
}
