package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// fault is one entry of the plan.
type fault struct {
	kind     faultKind
	at       time.Duration // since the start of the plan
	host     int           // the preferred host, for a fault of one host
	duration time.Duration
	count    int // number of sessions, or the degree of a slow network
}

func (f fault) String() string {
	return fmt.Sprintf("%6.1fs %s, host %d, duration %v, count %d", f.at.Seconds(), f.kind, f.host, f.duration, f.count)
}

// faultKind names a kind of fault in the plan, the log and the summary.
type faultKind string

const (
	faultKill         faultKind = "kill -9"
	faultKillInFire   faultKind = "kill -9 during a fire"
	faultStop         faultKind = "clean stop"
	faultPause        faultKind = "SIGSTOP past the lock's TTL"
	faultPauseInFire  faultKind = "SIGSTOP during a fire"
	faultPauseInClaim faultKind = "SIGSTOP during a claim"
	faultCut          faultKind = "network connections cut"
	faultRefuse       faultKind = "network refuses connections"
	faultDelay        faultKind = "network slow"
	faultStall        faultKind = "network stalled"
	faultTerminate    faultKind = "pg_terminate_backend"
	faultHog          faultKind = "pool exhausted by the host"
	faultImmediate    faultKind = "Postgres restart, immediate"
	faultFast         faultKind = "Postgres restart, fast"
	faultOutage       faultKind = "all hosts of a kind down past grace"
)

// faultKinds lists every kind, how often a round of the plan contains it, and
// the range of its duration.
var faultKinds = []struct {
	kind     faultKind
	weight   int
	min, max time.Duration
}{
	{faultKill, 4, 0, 3 * time.Second},
	{faultKillInFire, 3, 0, time.Second},
	{faultStop, 2, 0, 3 * time.Second},
	{faultPause, 2, lockTTL + lockTTL/4, 2 * lockTTL},
	{faultPauseInFire, 3, lockTTL + lockTTL/4, 2 * lockTTL},
	{faultPauseInClaim, 2, lockTTL + lockTTL/4, 2 * lockTTL},
	{faultCut, 2, 0, 0},
	{faultRefuse, 2, time.Second, 5 * time.Second},
	{faultDelay, 2, 2 * time.Second, 6 * time.Second},
	{faultStall, 2, 2 * time.Second, 8 * time.Second},
	{faultTerminate, 3, 0, 0},
	{faultHog, 2, 2 * time.Second, 6 * time.Second},
	{faultImmediate, 1, 0, 2 * time.Second},
	{faultFast, 1, 0, 2 * time.Second},
	{faultOutage, 1, grace + time.Second, lockTTL + grace + 4*time.Second},
}

// faultInterval is the mean time between the starts of two faults. Faults
// overlap.
const faultInterval = 1100 * time.Millisecond

// newPlan draws the faults of a run. The first round has one fault of each
// kind, so that even a short run has all of them.
func newPlan(seed uint64, length time.Duration, hosts int) []fault {
	random := rand.New(rand.NewPCG(seed, 1))
	var plan []fault
	round := firstRound(random)
	for at := faultInterval; at < length; at += faultInterval/2 + randomUpTo(random, faultInterval) {
		if len(round) == 0 {
			round = newRound(random)
		}
		k := faultKinds[round[0]]
		round = round[1:]
		f := fault{kind: k.kind, at: at, host: random.IntN(hosts), count: 1 + random.IntN(8)}
		f.duration = k.min + randomUpTo(random, k.max-k.min).Truncate(time.Millisecond)
		plan = append(plan, f)
	}
	return plan
}

// firstRound returns one index of each kind, shuffled. The outage comes first:
// it lasts longest, and a short run should not have to wait for it at its end.
func firstRound(random *rand.Rand) []int {
	round := make([]int, len(faultKinds))
	for i := range round {
		round[i] = i
	}
	shuffle(random, round)
	outage := slices.IndexFunc(round, func(i int) bool { return faultKinds[i].kind == faultOutage })
	round[0], round[outage] = round[outage], round[0]
	return round
}

// newRound returns the index of each kind as often as its weight, shuffled.
func newRound(random *rand.Rand) (round []int) {
	for i, k := range faultKinds {
		for range k.weight {
			round = append(round, i)
		}
	}
	shuffle(random, round)
	return round
}

func shuffle(random *rand.Rand, list []int) {
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

func randomUpTo(random *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(limit) + 1))
}
