package simulation

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// fault is injected into one operation.
type fault struct {
	err   error // returned by the operation
	after bool  // err replaces the response; otherwise the operation is not executed
	retry bool  // the commit fails with a serialization failure, and the store retries the transaction
}

// injectFault draws a fault and reports whether the actor can still move. Most
// often it draws none.
func (sim *simulator) injectFault(a *actor) bool {
	const often, seldom = 6, 2
	kind := sim.choices.draw(sim.calmWeight*8, often, often, often, often, often, 1, often, often, seldom, 1, seldom, seldom, often, seldom, often, seldom)
	if kind == 0 {
		return true
	}
	sim.faults++
	switch kind {
	case 1:
		a.fault = fault{err: oneOf(sim.choices, errUnavailable, errFault)}
	case 2:
		a.fault = fault{err: oneOf(sim.choices, errUnavailable, errFault), after: true}
	case 3:
		sim.pause(a, oneOf(sim.choices, time.Second, 10*time.Second, 40*time.Second, 3*time.Minute, 6*time.Minute, 20*time.Minute, 2*time.Hour, never/2))
		return false
	case 4:
		sim.killProcess(a)
		return false
	case 5:
		d := oneOf(sim.choices, 10*time.Millisecond, time.Second, 5*time.Second, 20*time.Second, 50*time.Second)
		sim.note(nil, "time", fmt.Sprint("passes: ", d))
		sim.advanceClock(d)
	case 6:
		d := oneOf(sim.choices, -time.Second, -time.Minute, -10*time.Minute, -time.Hour, time.Second, time.Minute, 10*time.Minute, 2*time.Hour)
		sim.db.Now = sim.db.Now.Add(d)
		sim.note(nil, "clock", fmt.Sprint("stepped by ", d))
	case 7:
		sim.startOperatorAction()
	case 8:
		sim.deploy()
	case 9:
		id := sim.drawScheduleID()
		sim.failing[id] = !sim.failing[id]
		sim.note(nil, "enqueuer", fmt.Sprintf("fails for %s: %v", id, sim.failing[id]))
	case 10:
		d := oneOf(sim.choices, time.Minute, 5*time.Minute, 20*time.Minute, 2*time.Hour)
		for _, other := range sim.actors {
			sim.pause(other, d)
		}
		return false
	case 11:
		sim.note(a, "shutdown", "context canceled")
		a.shutdownAt = sim.db.Elapsed
	case 12:
		sim.note(a, "resync", "will sync again, as after meeting another build")
		a.needsSync = true
	case 13:
		a.fault = fault{retry: a.operation == "commit"}
	case 14:
		a.heartbeats = a.isReplica() && !a.heartbeats
		sim.note(a, "heartbeats", fmt.Sprint("sent: ", a.heartbeats))
	case 15:
		sim.updateZone()
	case 16:
		sim.editRow()
	}
	return true
}

// pause stops a process for d. An actor that waits for a lock is not paused:
// the server ends that wait, not the process.
func (sim *simulator) pause(a *actor, d time.Duration) {
	if a.ended || a.blocked != nil {
		return
	}
	sim.note(a, "paused", fmt.Sprintf("before %s, for %v", a.operation, d))
	a.paused, a.sleepsUntil = true, max(a.sleepsUntil, sim.db.Elapsed+d)
}

// killProcess kills an actor. If it is a replica, a new process replaces it.
func (sim *simulator) killProcess(a *actor) {
	a.halfOpen = oneOf(sim.choices, false, true)
	sim.note(a, "killed", fmt.Sprintf("before %s, connection left open: %v", a.operation, a.halfOpen))
	a.kill()
	if a.isReplica() {
		sim.startReplica(a.replica, oneOf(sim.choices, time.Second, 10*time.Second, time.Minute, 10*time.Minute))
	}
}

// deploy makes a build the newest and replaces the replicas one after another.
func (sim *simulator) deploy() {
	sim.newest = oneOf(sim.choices, sim.builds...)
	interval := oneOf(sim.choices, time.Second, 30*time.Second, 5*time.Minute)
	sim.note(nil, "deploy", fmt.Sprintf("%s, a replica every %v", sim.newest.name, interval))
	sim.replaceReplicas(interval)
}

// replaceReplicas shuts down the replicas of an old build or with old zone
// rules one after another, each an interval after the one before. They start
// again as the newest.
func (sim *simulator) replaceReplicas(interval time.Duration) {
	for _, a := range sim.actors {
		if a.isReplica() && (a.build != sim.newest || a.version != sim.version) {
			a.shutdownAt = sim.db.Elapsed + time.Duration(a.replica+1)*interval
		}
	}
}

// updateZone replaces the zone's rules. Running processes keep theirs. Some
// updates are part of a deploy.
func (sim *simulator) updateZone() {
	sim.version = sim.choices.draw(slices.Repeat([]int{1}, len(sim.zone.versions))...)
	sim.note(nil, "zone", fmt.Sprintf("has rules %d", sim.version))
	if oneOf(sim.choices, false, true) {
		sim.replaceReplicas(oneOf(sim.choices, time.Second, 30*time.Second, 5*time.Minute))
	}
}

// editRow sets the next run of an enabled schedule to a time near now, as an
// UPDATE by hand does.
func (sim *simulator) editRow() {
	id := sim.drawScheduleID()
	minutes, seconds := sim.choices.draw(slices.Repeat([]int{1}, 40)...)-15, oneOf(sim.choices, 0, 0, 20, 37)
	nextRunAt := sim.db.Now.Truncate(time.Minute).Add(time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second)
	incrementsVersion := oneOf(sim.choices, false, true)
	if sim.db.EditNextRun(id, nextRunAt, incrementsVersion) {
		sim.note(nil, "edit", fmt.Sprintf("next run of %s set to %s, version incremented: %v", id, formatTime(nextRunAt), incrementsVersion))
	}
}

// drawScheduleID draws a schedule from those that any build declares.
func (sim *simulator) drawScheduleID() string {
	ids := map[string]bool{}
	for _, b := range sim.builds {
		for id := range b.rows[0] {
			ids[id] = true
		}
	}
	return oneOf(sim.choices, slices.Sorted(maps.Keys(ids))...)
}
