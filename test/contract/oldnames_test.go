package contract_test

import (
	"testing"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// Old names, until the last file that uses them is rewritten.

type (
	logs     = logBuffer
	stepped  = hookedStore
	enqueuer = enqueuerFunc
	engine   = tableEnqueuer
)

var (
	jobs        = testJobs
	everyJob    = hourlyAllJobs
	replica     = newReplica
	replicaOn   = newReplicaWithStore
	synced      = newSyncedReplica
	bound       = bindStore
	wiped       = clearTables
	running     = startLoop
	row         = readSchedule
	runsOf      = readRuns
	allRuns     = readAllRuns
	eventsOf    = readEvents
	workersOf   = readWorkers
	slots       = firedSlots
	slotsOf     = firedSlotTexts
	kinds       = eventKinds
	skipped     = skipTexts
	definitions = newConfig
	untouched   = requireNoWrites
	dump        = dumpRows
	bounded     = shortContext
	firstAt     = hookOnce
	errLost     = errLostResponse
	idle        = noopEnqueuer
	newEngine   = newTableEnqueuer
	handed      = readEnqueuedKeys
	keysOf      = sortedKeys
	jobsOf      = jobNames
	errEngine   = errEnqueuer
	calls       = enqueueCalls
)

func eachCase[Case any](t *testing.T, cases map[string]Case, test func(t *testing.T, db *dbtest.DB, c Case)) {
	t.Helper()
	runCases(t, cases, test)
}
