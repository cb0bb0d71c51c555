package simulation

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// mishap is what befalls an actor at a verb: an error, in place of the verb or of its answer; or a transaction is refused
// at its commit for reasons of concurrency, and made again.
type mishap struct {
	err   error
	after bool
	again bool
}

// befall draws what happens before an actor moves, most often nothing, and says whether it can move still.
func (w *world) befall(a *actor) bool {
	const often, seldom = 6, 2
	kind := w.tape.draw(w.calmness*8, often, often, often, often, often, 1, often, often, seldom, 1, seldom, seldom, often, seldom)
	if kind == 0 {
		return true
	}
	w.mishaps++
	switch kind {
	case 1:
		a.mishap = mishap{err: oneOf(w.tape, errAway, errFault)}
	case 2:
		a.mishap = mishap{err: oneOf(w.tape, errAway, errFault), after: true}
	case 3:
		w.stop(a, oneOf(w.tape, time.Second, 10*time.Second, 40*time.Second, 3*time.Minute, 6*time.Minute, 20*time.Minute, 2*time.Hour, forever/2))
		return false
	case 4:
		w.crash(a)
		return false
	case 5:
		d := oneOf(w.tape, 10*time.Millisecond, time.Second, 5*time.Second, 20*time.Second, 50*time.Second)
		w.note(nil, "time", fmt.Sprint("passes: ", d))
		w.pass(d)
	case 6:
		d := oneOf(w.tape, -time.Second, -time.Minute, -10*time.Minute, -time.Hour, time.Second, time.Minute, 10*time.Minute, 2*time.Hour)
		w.db.Now = w.db.Now.Add(d)
		w.note(nil, "clock", fmt.Sprint("stepped by ", d))
	case 7:
		w.click()
	case 8:
		w.deploy()
	case 9:
		id := w.someID()
		w.poison[id] = !w.poison[id]
		w.note(nil, "enqueuer", fmt.Sprintf("fails on %s: %v", id, w.poison[id]))
	case 10:
		d := oneOf(w.tape, time.Minute, 5*time.Minute, 20*time.Minute, 2*time.Hour)
		for _, other := range w.actors {
			w.stop(other, d)
		}
		return false
	case 11:
		w.note(a, "stop", "told to end")
		a.stopAt = w.db.Elapsed
	case 12:
		w.note(a, "resync", "will sync again, as whoever meets another build does")
		a.resync = true
	case 13:
		a.mishap = mishap{again: a.at == "commit"}
	case 14:
		a.beats = a.replica >= 0 && !a.beats
		w.note(a, "heart", fmt.Sprintf("beats: %v", a.beats))
	}
	return true
}

// stop makes an actor stand still for a while, wherever it is.
func (w *world) stop(a *actor, d time.Duration) {
	if a.ended || a.blocked != nil { // the server grants or refuses the lock, and not the process
		return
	}
	w.note(a, "stopped", fmt.Sprintf("before %s, for %v", a.at, d))
	a.stopped, a.rests = true, max(a.rests, w.db.Elapsed+d)
}

// crash ends an actor where it stands. A replica is followed by another process.
func (w *world) crash(a *actor) {
	a.halfOpen = oneOf(w.tape, false, true)
	w.note(a, "killed", fmt.Sprintf("before %s, connection left open: %v", a.at, a.halfOpen))
	a.die()
	if a.replica >= 0 {
		w.start(a.replica, oneOf(w.tape, time.Second, 10*time.Second, time.Minute, 10*time.Minute))
	}
}

// deploy makes a build the newest. The replicas are replaced one after the other.
func (w *world) deploy() {
	w.newest = oneOf(w.tape, w.builds...)
	pace := oneOf(w.tape, time.Second, 30*time.Second, 5*time.Minute)
	w.note(nil, "deploy", fmt.Sprintf("%s, a replica every %v", w.newest.name, pace))
	for _, a := range w.actors {
		if a.replica >= 0 && a.build != w.newest {
			a.stopAt = w.db.Elapsed + time.Duration(a.replica+1)*pace
		}
	}
}

// someID is the id of one of the schedules that any build declares.
func (w *world) someID() string {
	ids := map[string]bool{}
	for _, b := range w.builds {
		for id := range b.rows {
			ids[id] = true
		}
	}
	return oneOf(w.tape, slices.Sorted(maps.Keys(ids))...)
}
