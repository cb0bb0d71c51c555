//go:build unix

package contract_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/glebarez/sqlite"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// childEnv holds a childConfig as JSON. It makes this test binary run the loop
// as a separate process instead of running tests.
const childEnv = "HOURBELL_TEST_CHILD"

// init runs before TestMain, so a child never starts tests.
func init() {
	encoded := os.Getenv(childEnv)
	if encoded == "" {
		return
	}
	go func() {
		// The test process holds the other end of stdin. Its exit, even by a
		// crash, ends the child.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := runChild(ctx, encoded); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// childConfig configures a child process.
type childConfig struct {
	Dialect, DSN string

	// Enqueuer is a key of childEnqueuerErrors. Empty means no Enqueuer, so the
	// child uses the fast path on Postgres.
	Enqueuer string

	// Clock holds the value of Config.Now in each pass. The last value stays.
	// Empty means the database clock.
	Clock []time.Time

	// ClockOffset is how far the process clock is ahead.
	ClockOffset time.Duration

	// LockTTL is Config.LockTTL.
	LockTTL time.Duration

	// ZoneFiles is a folder with zone files that replace those of the system.
	// With it, the child declares only "a", due at nine in the morning in town.
	ZoneFiles string

	// Step is where the child sends itself Signal, in the pass of Clock's last
	// value. It is a step of hookedStore, "before enqueuer", "after enqueuer"
	// or "sleep".
	Step   string
	Signal syscall.Signal
}

// config returns the Config of the child and of the replicas that take over
// from it. With a Clock it declares two schedules: "noon" with one job is due
// at noon, "often" with two jobs is due every ten minutes. With the database
// clock it declares "s", due every second.
func (c childConfig) config() hourbell.Config {
	switch {
	case c.ZoneFiles != "":
		return hourbell.Config{Jobs: testJobs, Definitions: []hourbell.Definition{daily("a")}, PollInterval: 10 * time.Millisecond}
	case len(c.Clock) == 0:
		return hourbell.Config{Jobs: testJobs, Definitions: []hourbell.Definition{everySecond("s")}, LockTTL: c.LockTTL, PollInterval: time.Second}
	}
	often := hourly("often")
	often.Cron, often.Target = "*/10 * * * *", hourbell.Group("feed")
	return hourbell.Config{Jobs: testJobs, Definitions: []hourbell.Definition{hourly("noon"), often}, LockTTL: c.LockTTL}
}

// childEnqueuerErrors maps the kinds of Enqueuer of a child to what they return
// after they have written the runs.
var childEnqueuerErrors = map[string]error{
	"writes":      nil,
	"fails":       errEnqueuer,
	"unavailable": fmt.Errorf("%w: %w", hourbell.ErrUnavailable, errEnqueuer),
}

// runChild runs the loop until ctx ends. It prints "pass n" after each pass and
// "signal at <step>" before it sends itself the signal.
func runChild(ctx context.Context, encoded string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(encoded), &c); err != nil {
		return err
	}
	if c.ClockOffset != 0 {
		setProcessClock(func() time.Time { return time.Now().Add(c.ClockOffset) })
	}
	dialector := sqlite.Open(c.DSN)
	if c.Dialect == "postgres" {
		dialector = postgres.Open(c.DSN)
	}
	db, err := gorm.Open(dialector, &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return err
	}
	var passes atomic.Int32
	var signaled atomic.Bool
	hook := func(step string) error {
		if step == c.Step && int(passes.Load()) >= len(c.Clock)-1 && !signaled.Swap(true) {
			signalSelf(step, c.Signal)
		}
		return nil
	}
	cfg := c.config()
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if c.Enqueuer != "" {
		cfg.Enqueuer = c.newEnqueuer(hook)
	}
	now := &clock{}
	if len(c.Clock) > 0 {
		now.Set(c.Clock[0])
		cfg.Now = now.Now
	}
	cfg.OnTick = func(hourbell.TickReport) {
		_ = hook("sleep")
		n := int(passes.Add(1))
		if n < len(c.Clock) {
			now.Set(c.Clock[n])
		}
		fmt.Println("pass", n)
	}
	s, err := hourbell.New(&hookedStore{store.New(db), hook}, cfg)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// signalSelf sends this process a signal and blocks until SIGCONT.
func signalSelf(step string, sig syscall.Signal) {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	fmt.Println("signal at", step)
	if err := syscall.Kill(os.Getpid(), sig); err != nil {
		panic(err)
	}
	<-continued
}

// newEnqueuer returns a tableEnqueuer with steps before and after the write.
func (c childConfig) newEnqueuer(hook func(string) error) hourbell.Enqueuer {
	return enqueuerFunc(func(ctx context.Context, tx *gorm.DB, runs []hourbell.JobRun) error {
		if err := hook("before enqueuer"); err != nil {
			return err
		}
		if err := (&tableEnqueuer{}).Enqueue(ctx, tx, runs); err != nil {
			return err
		}
		if err := hook("after enqueuer"); err != nil {
			return err
		}
		return childEnqueuerErrors[c.Enqueuer]
	})
}

// pathName describes how the child fires, for the names of subtests.
func (c childConfig) pathName() string {
	if c.Enqueuer == "" {
		return "fast path"
	}
	return "Enqueuer " + c.Enqueuer
}

// childProcess is a running child.
type childProcess struct {
	*exec.Cmd
	out, log logBuffer
	exited   chan struct{}
}

// startChild starts a child on a database. The end of the test kills it.
func startChild(t testing.TB, db *dbtest.DB, c childConfig) *childProcess {
	t.Helper()
	c.Dialect, c.DSN = db.Dialect, db.DSN
	if c.Dialect == "postgres" {
		c.DSN += "&application_name=child"
	}
	encoded, err := json.Marshal(c)
	require.NoError(t, err)
	executable, err := os.Executable()
	require.NoError(t, err)
	p := &childProcess{Cmd: exec.Command(executable), exited: make(chan struct{})}
	p.Env = append(os.Environ(), childEnv+"="+string(encoded))
	if c.ZoneFiles != "" {
		p.Env = append(p.Env, "ZONEINFO="+c.ZoneFiles)
	}
	p.Stdout, p.Stderr = &p.out, &p.log
	_, err = p.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	go func() {
		_ = p.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("output of the child with step %q:\n%s%s", c.Step, &p.out, &p.log)
		}
	})
	return p
}

// awaitOutput waits until the child has printed a text.
func (p *childProcess) awaitOutput(t testing.TB, text string) {
	t.Helper()
	await(t, "the child prints "+text, func() bool { return strings.Contains(p.out.String(), text) })
}

// awaitKilled waits until SIGKILL has ended the child. On Postgres it also
// waits until the server has closed the child's sessions, except one that
// stallCommits holds in its commit.
func (p *childProcess) awaitKilled(t testing.TB, db *dbtest.DB) {
	t.Helper()
	p.awaitExit(t)
	status, _ := p.ProcessState.Sys().(syscall.WaitStatus)
	require.Equal(t, syscall.SIGKILL, status.Signal(), "the child ended by itself")
	if db.Dialect == "postgres" {
		await(t, "the server closes the child's sessions", func() bool {
			return countChildSessions(t, db.DB, "wait_event IS DISTINCT FROM 'advisory'") == 0
		})
	}
}

// finish lets a stopped child go on, waits until it has made a pass for each
// value of its Clock, and ends it.
func (p *childProcess) finish(t testing.TB, c childConfig) {
	t.Helper()
	await(t, "the child makes its passes", func() bool {
		_ = p.Process.Signal(syscall.SIGCONT) // again, in case it had not stopped yet
		return p.passCount() >= len(c.Clock)
	})
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	p.awaitExit(t)
	require.Zero(t, p.ProcessState.ExitCode())
}

func (p *childProcess) awaitExit(t testing.TB) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		t.Fatal("the child does not exit")
	}
}

// passCount returns how many passes the child has completed.
func (p *childProcess) passCount() int { return strings.Count(p.out.String(), "pass ") }

// countChildSessions counts the Postgres sessions of children that meet an SQL
// condition.
func countChildSessions(t testing.TB, db *gorm.DB, condition string) (n int) {
	t.Helper()
	require.NoError(t, db.Raw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'child' AND "+condition).Scan(&n).Error)
	return n
}
