package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// fault is something that the plan has happen.
type fault struct {
	at   time.Duration // from the beginning
	what string
	host int           // which one, where it concerns one
	last time.Duration // how long the fault lasts
	many int           // of how many, where it has a number
}

func (f fault) String() string {
	return fmt.Sprintf("%6.1fs %s, host %d, for %v, of %d", f.at.Seconds(), f.what, f.host, f.last, f.many)
}

// The faults there are.
const (
	faultKill         = "kill -9"
	faultKillInFire   = "kill -9 in the middle of a fire"
	faultStop         = "clean stop"
	faultPause        = "SIGSTOP past the lock's life"
	faultPauseInFire  = "SIGSTOP in the middle of a fire"
	faultPauseInClaim = "SIGSTOP in the middle of a claim"
	faultCut          = "cut network"
	faultRefuse       = "refusing network"
	faultDelay        = "slow network"
	faultSilence      = "silent network"
	faultTerminate    = "pg_terminate_backend"
	faultHog          = "pool held by the host"
	faultImmediate    = "Postgres restart, immediate"
	faultFast         = "Postgres restart, fast"
	faultNobody       = "nobody there for longer than grace"
)

// kindsOfFault has each, how often it is in a deck, and how long it lasts.
var kindsOfFault = []struct {
	what        string
	often       int
	least, most time.Duration
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
	{faultSilence, 2, 2 * time.Second, 8 * time.Second},
	{faultTerminate, 3, 0, 0},
	{faultHog, 2, 2 * time.Second, 6 * time.Second},
	{faultImmediate, 1, 0, 2 * time.Second},
	{faultFast, 1, 0, 2 * time.Second},
	{faultNobody, 1, grace + time.Second, lockTTL + grace + 4*time.Second},
}

// faultEvery is how long it is from one fault to the next, on average. Several are under way at a time.
const faultEvery = 1100 * time.Millisecond

// newPlan deals the faults of a run: first one of each kind, then from decks, so that a short run has them all.
func newPlan(seed uint64, length time.Duration, hosts int) []fault {
	random := rand.New(rand.NewPCG(seed, 1))
	var plan []fault
	var deck []int
	at := faultEvery
	for first := true; at < length; at += faultEvery/2 + rand64(random, faultEvery) {
		if len(deck) == 0 {
			deck = newDeck(random, first)
			first = false
		}
		k := kindsOfFault[deck[0]]
		deck = deck[1:]
		f := fault{at: at, what: k.what, host: random.IntN(hosts), many: 1 + random.IntN(8)}
		f.last = k.least + rand64(random, k.most-k.least).Truncate(time.Millisecond)
		plan = append(plan, f)
	}
	return plan
}

// newDeck is a shuffled deck of kinds, or one card of each.
func newDeck(random *rand.Rand, one bool) (deck []int) {
	for i, k := range kindsOfFault {
		n := k.often
		if one {
			n = 1
		}
		for range n {
			deck = append(deck, i)
		}
	}
	random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	if one { // the one that lasts longest comes first, so that a short run does not wait for it in the end
		longest := slices.IndexFunc(deck, func(i int) bool { return kindsOfFault[i].what == faultNobody })
		deck[0], deck[longest] = deck[longest], deck[0]
	}
	return deck
}

func rand64(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(most) + 1))
}
