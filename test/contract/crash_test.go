//go:build unix

package contract_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// These tests kill (SIGKILL) or suspend (SIGSTOP) child processes at each step
// of the loop and check what another replica, the survivor, makes of what they
// leave. Both schedules of a child are due at noon. The one that is due every
// ten minutes has missed two slots by then. Whatever happens, both fire once at
// noon and one event records the two missed slots.

// remains counts what a child has left in the database.
type remains struct {
	Locks      int
	Unfinished int // unfinished claims
	Failures   int
	Runs       int
}

// Possible remains of the two schedules, which have three jobs together.
var (
	remainsUnchanged  = remains{}
	remainsLocked     = remains{Locks: 2, Unfinished: 2}
	remainsUnfinished = remains{Unfinished: 2}
	remainsFailed     = remains{Unfinished: 2, Failures: 2}
	remainsFired      = remains{Runs: 3}
)

func readRemains(t testing.TB, db *dbtest.DB) (r remains) {
	t.Helper()
	require.NoError(t, db.Raw(`SELECT count(locked_by) AS locks, count(unfinished_since) AS unfinished, sum(consecutive_failures) AS failures,
		(SELECT count(*) FROM hourbell_job_runs) AS runs FROM hourbell_schedules`).Scan(&r).Error)
	return r
}

// claimPathChild returns a child that claims at noon and has an Enqueuer. It is
// killed at step.
func claimPathChild(enqueuer, step string) childConfig {
	return childConfig{Enqueuer: enqueuer, Clock: []time.Time{noon}, Step: step, Signal: syscall.SIGKILL}
}

// fastPathChild returns a child that fires at noon without a claim. For that it
// makes a pass before noon. It is killed at step.
func fastPathChild(step string) childConfig {
	return childConfig{Clock: []time.Time{noon.Add(-10 * time.Second), noon}, Step: step, Signal: syscall.SIGKILL}
}

// newSurvivor returns a replica that stores the schedules of a child half an
// hour before noon. After the child's end it does what the child has not done.
func newSurvivor(t testing.TB, db *dbtest.DB, child childConfig) (*hourbell.Scheduler, *clock) {
	t.Helper()
	require.NoError(t, db.Exec("CREATE TABLE IF NOT EXISTS engine_jobs (key text)").Error)
	require.NoError(t, db.Exec("DELETE FROM engine_jobs").Error)
	c := newClock(noon.Add(-30 * time.Minute))
	cfg := child.config()
	cfg.Now = c.Now
	if child.Enqueuer != "" {
		cfg.Enqueuer = &tableEnqueuer{}
	}
	return newSyncedReplica(t, db.DB, cfg), c
}

// requireSettledAtNoon checks that both schedules have fired once at noon with
// all jobs and that one event has the two missed slots. The Enqueuer must have
// the stored runs, and no lock, unfinished claim or failure may be left. left
// is what the child had left.
func requireSettledAtNoon(t testing.TB, db *dbtest.DB, s *hourbell.Scheduler, left remains) {
	t.Helper()
	require.Equal(t, remainsFired, readRemains(t, db))
	runs := append(readRuns(t, s, "noon"), readRuns(t, s, "often")...)
	require.Len(t, runs, 3)
	for _, run := range runs {
		require.Equal(t, noon, run.ScheduledFor)
	}
	require.Empty(t, skipTexts(t, s, "noon"))
	reason := hourbell.SkipLate
	if left.Unfinished > 0 { // then the slot at noon fires because of the unfinished claim
		reason = hourbell.SkipSuperseded
	}
	require.Equal(t, []string{string(reason) + " 11:40:00-11:50:00 2"}, skipTexts(t, s, "often"))
	require.Equal(t, noon.Add(time.Hour), readSchedule(t, s, "noon").NextRunAt)
	require.Equal(t, noon.Add(10*time.Minute), readSchedule(t, s, "often").NextRunAt)
	if keys := readEnqueuedKeys(t, db); len(keys) > 0 {
		require.Equal(t, sortedKeys(runs), keys)
	}
}

// testKill runs testKillOnce for each child, on each kind of database. SQLite
// has no fast path.
func testKill(t *testing.T, left remains, children ...childConfig) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for _, child := range children {
			if child.Enqueuer == "" && db.Dialect == "sqlite" {
				continue
			}
			clearTables(t, db)
			t.Run(child.pathName()+", "+child.Step, func(t *testing.T) { testKillOnce(t, db, child, left) })
		}
	})
}

// testKillOnce runs a child until it is killed. The child must leave left, and
// the survivor must settle both schedules as soon as it may.
func testKillOnce(t *testing.T, db *dbtest.DB, child childConfig, left remains) {
	survivor, c := newSurvivor(t, db, child)
	startChild(t, db, child).awaitKilled(t, db)
	require.Equal(t, left, readRemains(t, db))

	c.Set(noon.Add(5 * time.Second))
	report := tick(t, survivor)
	if left.Locks == 0 && left.Runs == 0 {
		require.Equal(t, 2, report.Fired, "no lock prevents the fire")
	} else {
		require.Zero(t, report.Claimed, "nothing is due, or the holder may be alive")
	}
	c.Set(noon.Add(30*time.Second + time.Microsecond)) // the holder has missed three heartbeats
	require.Equal(t, left.Locks, tick(t, survivor).Fired)
	requireSettledAtNoon(t, db, survivor, left)
	for _, id := range []string{"noon", "often"} {
		require.Len(t, readEvents(t, survivor, id, hourbell.EventLockExpired), left.Locks/2)
	}
}

// L1: a process that is killed before its claim commits has changed nothing.
func TestKillBeforeClaim(t *testing.T) {
	testKill(t, remainsUnchanged, claimPathChild("writes", "before claim"), fastPathChild("before fire-on-time"))
}

// L2, L4: a process that is killed between claim and commit leaves locks and
// unfinished claims. The survivor takes the locks over and fires. The writes of
// the transaction are gone, including the Enqueuer's (E2).
func TestKillBetweenClaimAndCommit(t *testing.T) {
	steps := []string{
		"after claim", "before begin", "before advance", "after advance", "before insert-events", "after insert-events",
		"before insert-runs", "after insert-runs", "before enqueuer", "after enqueuer", "before commit",
	}
	if testing.Short() {
		steps = []string{"after claim", "after advance", "after enqueuer", "before commit"}
	}
	var children []childConfig
	for _, step := range steps {
		children = append(children, claimPathChild("writes", step))
	}
	testKill(t, remainsLocked, children...)
}

// L3: a process that is killed after its commit has fired, even if it did not
// receive the response.
func TestKillAfterCommit(t *testing.T) {
	testKill(t, remainsFired, claimPathChild("writes", "after commit"), claimPathChild("writes", "sleep"),
		fastPathChild("after fire-on-time"), fastPathChild("sleep"))
}

// E4: a process that is killed before it has recorded a failure or released its
// claims leaves locks and unfinished claims. After that it leaves only
// unfinished claims.
func TestKillDuringFailureRecording(t *testing.T) {
	testKill(t, remainsLocked, claimPathChild("fails", "before record-failures"), claimPathChild("fails", "after record-failures"),
		claimPathChild("unavailable", "before release"))
	t.Run("recorded", func(t *testing.T) { testKill(t, remainsFailed, claimPathChild("fails", "after commit")) })
	t.Run("released", func(t *testing.T) { testKill(t, remainsUnfinished, claimPathChild("unavailable", "after release")) })
}

// stallCommits makes the server wait inside each commit that has inserted runs,
// until release is called.
func stallCommits(t testing.TB, db *dbtest.DB) (release func()) {
	t.Helper()
	for _, statement := range []string{
		`CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END'`,
		`CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON hourbell_job_runs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stall()`,
	} {
		require.NoError(t, db.Exec(statement).Error)
	}
	tx := db.Begin()
	t.Cleanup(func() { tx.Rollback() })
	require.NoError(t, tx.Exec("SELECT pg_advisory_xact_lock(1)").Error)
	return func() { require.NoError(t, tx.Rollback().Error) }
}

// commitCase is a child whose commit the server has begun and not finished.
type commitCase struct {
	db       *dbtest.DB
	child    childConfig
	process  *childProcess
	survivor *hourbell.Scheduler
	clock    *clock // of the survivor
	release  func() // lets the server finish the commit
}

// newCommitCase starts a child and waits until the server is at its commit.
func newCommitCase(t *testing.T, child childConfig) *commitCase {
	t.Helper()
	db := dbtest.Postgres(t)
	c := &commitCase{db: db, child: child}
	c.survivor, c.clock = newSurvivor(t, db, child)
	c.release = stallCommits(t, db)
	c.process = startChild(t, db, child)
	await(t, "the server is at the commit", func() bool { return countChildSessions(t, db.DB, "wait_event = 'advisory'") == 1 })
	hasCommit := countChildSessions(t, db.DB, "wait_event = 'advisory' AND lower(query) = 'commit'") == 1
	require.Equal(t, child.Enqueuer != "", hasCommit, "the fast path commits with its statement")
	return c
}

// commitChildren are children on both paths without a step of their own.
var commitChildren = []childConfig{claimPathChild("writes", "none"), fastPathChild("none")}

// L3, O2: a process that is killed during its commit has fired if and only if
// the server commits. No other replica fires before that.
func TestKillDuringCommit(t *testing.T) {
	for _, child := range commitChildren {
		t.Run(child.pathName()+", server commits", func(t *testing.T) {
			c := newCommitCase(t, child)
			require.NoError(t, c.process.Process.Kill())
			c.process.awaitKilled(t, c.db)
			c.clock.Set(noon.Add(31 * time.Second)) // the holder is dead, but the transaction has locked the rows
			require.Zero(t, tick(t, c.survivor).Claimed)
			c.release()
			await(t, "the commit", func() bool { return countChildSessions(t, c.db.DB, "true") == 0 })
			require.Equal(t, remainsFired, readRemains(t, c.db))
			require.Zero(t, tick(t, c.survivor).Claimed)
			requireSettledAtNoon(t, c.db, c.survivor, remainsFired)
		})
		t.Run(child.pathName()+", server rolls back", func(t *testing.T) {
			c := newCommitCase(t, child)
			require.NoError(t, c.process.Process.Kill())
			c.process.awaitKilled(t, c.db)
			require.NoError(t, c.db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'child'").Error)
			await(t, "the end of the transaction", func() bool { return countChildSessions(t, c.db.DB, "true") == 0 })
			left := remainsUnchanged
			if child.Enqueuer != "" {
				left = remainsLocked
			}
			require.Equal(t, left, readRemains(t, c.db))
			c.release()
			c.clock.Set(noon.Add(31 * time.Second))
			require.Equal(t, 2, tick(t, c.survivor).Fired)
			requireSettledAtNoon(t, c.db, c.survivor, left)
		})
	}
}

// L3, T1: a process that is suspended during its commit and continued after it
// fires nothing again.
func TestSuspendDuringCommit(t *testing.T) {
	for _, child := range commitChildren {
		t.Run(child.pathName(), func(t *testing.T) {
			c := newCommitCase(t, child)
			require.NoError(t, c.process.Process.Signal(syscall.SIGSTOP))
			c.release()
			await(t, "the commit", func() bool { return readRemains(t, c.db) == remainsFired })
			c.clock.Set(noon.Add(31 * time.Second))
			require.Zero(t, tick(t, c.survivor).Claimed)
			require.NoError(t, c.process.Process.Signal(syscall.SIGCONT))
			c.process.finish(t, child)
			requireSettledAtNoon(t, c.db, c.survivor, remainsFired)
		})
	}
}
