package simulation

import (
	"context"
	"runtime"
	"time"
)

// actor is a replica's process or an operator's request. It runs the real code
// in its own goroutine and yields before each operation of the store. The
// simulator lets one actor move at a time.
type actor struct {
	sim    *simulator
	name   string
	turn   chan struct{} // the simulator sends to it to let the actor move
	ended  bool
	killed bool // its code must not continue
	ctx    context.Context
	cancel context.CancelFunc

	build         *build
	version       int // of the zone's rules, as of its start
	replica       int // index of the replica; -1 for an operator's request
	needsSync     bool
	heartbeats    bool          // whether it sends them
	lastHeartbeat time.Duration // like all durations here, a value of Database.Elapsed

	operation   string        // its next operation, before which it waits for its turn
	sleepsUntil time.Duration // the end of its sleep or pause
	paused      bool          // the process is stopped, as by SIGSTOP
	shutdownAt  time.Duration // when its context is canceled; 0 for never
	blocked     func() bool   // reports whether another transaction blocks it; nil if it is not waiting
	givesUpAt   time.Duration // when its wait for a lock fails
	fault       fault         // injected into the next operation
	halfOpen    bool          // it was killed and the server has not noticed
}

// never is later than the end of any history.
const never = 1 << 60

// startActor starts an actor that calls run at its first turn, after a delay.
func (sim *simulator) startActor(name string, b *build, replica int, delay time.Duration, run func(*actor)) {
	a := &actor{
		sim: sim, name: name, turn: make(chan struct{}), build: b, replica: replica,
		operation: "start", sleepsUntil: sim.db.Elapsed + delay,
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	sim.actors = append(sim.actors, a)
	go func() {
		defer func() {
			if value := recover(); value != nil {
				sim.panicValue = value
			}
			a.ended = true
			a.cancel()
			sim.control <- struct{}{}
		}()
		<-a.turn
		if !a.killed {
			a.version = sim.version
			sim.zone.loaded = a.version
			run(a)
		}
	}()
}

func (a *actor) isReplica() bool { return a.replica >= 0 }

// yield lets other actors move. It returns the fault to inject into the
// operation. If the actor was killed, yield ends its goroutine.
func (a *actor) yield(operation string) fault {
	f := a.awaitTurn(operation)
	if a.killed {
		runtime.Goexit()
	}
	return f
}

// awaitTurn is yield for code outside the actor's goroutine. It returns even if
// the actor was killed.
func (a *actor) awaitTurn(operation string) fault {
	a.operation, a.fault = operation, fault{}
	a.sim.control <- struct{}{}
	<-a.turn
	return a.fault
}

// sleep lets time pass until d has elapsed or the actor is shut down.
func (a *actor) sleep(d time.Duration) {
	a.sleepsUntil = a.sim.db.Elapsed + d
	a.yield("sleep")
}

// wait is the actor's model.WaitFunc.
func (a *actor) wait(blocked func() bool, limit time.Duration) bool {
	a.givesUpAt = a.sim.db.Elapsed + limit
	operation := a.operation
	for blocked() {
		if a.sim.db.Elapsed >= a.givesUpAt {
			a.sim.note(a, operation, "gave up waiting for a lock")
			return false
		}
		a.blocked = blocked
		a.yield(operation)
		a.blocked = nil
	}
	return true
}

// canMove reports whether the actor can move now.
func (a *actor) canMove() bool {
	now := a.sim.db.Elapsed
	switch {
	case a.ended:
		return false
	case !a.paused && a.isShutDown() && a.operation == "sleep":
		return true
	case a.sleepsUntil > now:
		return false
	}
	return a.blocked == nil || !a.blocked() || a.givesUpAt <= now
}

// isShutDown reports whether the actor's context is canceled by now.
func (a *actor) isShutDown() bool { return a.shutdownAt > 0 && a.shutdownAt <= a.sim.db.Elapsed }

// nextMove returns the time at which an actor that cannot move now can move.
// A blocked actor can move earlier if the lock is released.
func (a *actor) nextMove() time.Duration {
	switch {
	case a.ended:
		return never
	case a.sleepsUntil > a.sim.db.Elapsed:
		if a.shutdownAt > 0 && !a.paused && a.operation == "sleep" {
			return min(a.sleepsUntil, a.shutdownAt)
		}
		return a.sleepsUntil
	}
	return a.givesUpAt
}

// move lets the actor run to its next operation.
func (a *actor) move() {
	if a.paused = false; a.isShutDown() {
		a.cancel()
	}
	a.sim.zone.loaded = a.version
	a.turn <- struct{}{}
	<-a.sim.control
}

// kill ends the actor before its next operation.
func (a *actor) kill() {
	if !a.ended {
		a.killed = true
		a.turn <- struct{}{}
		<-a.sim.control
	}
}
