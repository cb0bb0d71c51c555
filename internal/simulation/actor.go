package simulation

import (
	"context"
	"runtime"
	"time"
)

// An actor is a process, or a person's request, that runs the real code in a goroutine of its own and stops at every
// verb of the store. One actor moves at a time, and the world says which.
type actor struct {
	world  *world
	name   string
	turn   chan struct{}
	ended  bool
	dead   bool // its code goes no further
	ctx    context.Context
	cancel context.CancelFunc

	build   *build
	replica int           // its place in the fleet, from 0; -1 for a person
	resync  bool          // it syncs again before it ticks
	beats   bool          // its heart does, when it is not paused
	beaten  time.Duration // when it last did

	at       string        // the verb that it stands at
	rests    time.Duration // until then it has nothing to do, or is stopped
	stopped  bool          // it does not rest, it was stopped
	stopAt   time.Duration // when it is told to end; zero for never
	blocked  func() bool   // whether another's lock is in the way
	patience time.Duration // until when it waits for that
	mishap   mishap        // what befalls it at the verb
	halfOpen bool          // it died without its connection being closed
}

// forever is longer than any history.
const forever = 1 << 60

// begin starts an actor, which first moves when it is its turn.
func (w *world) begin(name string, b *build, replica int, after time.Duration, live func(*actor)) *actor {
	a := &actor{world: w, name: name, turn: make(chan struct{}), build: b, replica: replica, at: "begin", rests: w.db.Elapsed + after}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	w.actors = append(w.actors, a)
	go func() {
		defer func() {
			if reason := recover(); reason != nil {
				w.broken = reason
			}
			a.ended = true
			a.cancel()
			w.control <- struct{}{}
		}()
		<-a.turn
		if !a.dead {
			live(a)
		}
	}()
	return a
}

// yield lets the others move, and returns what is to befall the actor at this verb. Of one that has died it does not
// return.
func (a *actor) yield(verb string) mishap {
	m := a.pause(verb)
	if a.dead {
		runtime.Goexit()
	}
	return m
}

// pause is yield for code in whose goroutine the actor cannot end.
func (a *actor) pause(verb string) mishap {
	a.at, a.mishap = verb, mishap{}
	a.world.control <- struct{}{}
	<-a.turn
	return a.mishap
}

// rest has nothing to do for a while, or until the actor is told to end.
func (a *actor) rest(d time.Duration) {
	a.rests = a.world.db.Elapsed + d
	a.yield("rest")
}

// wait is how the actor's connection waits for another's lock.
func (a *actor) wait(blocked func() bool, limit time.Duration) bool {
	a.patience = a.world.db.Elapsed + limit
	verb := a.at
	for blocked() {
		if a.world.db.Elapsed >= a.patience {
			a.world.note(a, verb, "gave up waiting for a lock")
			return false
		}
		a.blocked = blocked
		a.yield(verb)
		a.blocked = nil
	}
	return true
}

// ready says whether the actor can move.
func (a *actor) ready() bool {
	now := a.world.db.Elapsed
	switch {
	case a.ended:
		return false
	case !a.stopped && a.told() && a.at == "rest":
		return true
	case a.rests > now:
		return false
	}
	return a.blocked == nil || !a.blocked() || a.patience <= now
}

// told says whether the actor is to end by now.
func (a *actor) told() bool { return a.stopAt > 0 && a.stopAt <= a.world.db.Elapsed }

// next is when the actor can move, of those that cannot.
func (a *actor) next() time.Duration {
	switch {
	case a.ended:
		return forever
	case a.rests > a.world.db.Elapsed:
		if a.stopAt > 0 && !a.stopped && a.at == "rest" {
			return min(a.rests, a.stopAt)
		}
		return a.rests
	}
	return a.patience
}

// move lets the actor go on to its next verb.
func (a *actor) move() {
	if a.stopped = false; a.told() {
		a.cancel()
	}
	a.turn <- struct{}{}
	<-a.world.control
}

// die ends the actor where it stands.
func (a *actor) die() {
	if !a.ended {
		a.dead = true
		a.turn <- struct{}{}
		<-a.world.control
	}
}
