//go:build unix

package hourbell_test

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

// victimEnv makes this test binary a victim: a real process that runs the loop until a signal strikes it at a step.
const victimEnv = "HOURBELL_TEST_VICTIM"

// A victim does what it was told instead of running tests, and so before TestMain.
func init() {
	orders := os.Getenv(victimEnv)
	if orders == "" {
		return
	}
	go func() { // only the test holds the other end, so this ends when the test does, however it does
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := obey(ctx, orders); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// victim is what a process is told to do, and what befalls it.
type victim struct {
	Dialect, DSN string
	Engine       string         // one of engines; "" for no Enqueuer, and so the second road
	Clock        []time.Time    // what the clock shows, pass by pass, the last for good; none for the database's own
	Wrong        time.Duration  // how far the process's own clock is ahead
	LockTTL      time.Duration  // Defaults to that of Config.
	Step         string         // of stepped, or one of enqueuer and sleep; at the last instant of Clock
	Signal       syscall.Signal // that strikes it there
}

// config is what a victim declares, and so must its heirs: on a clock of the test's, a schedule that is due at noon, of one
// job, and one that is due every ten minutes, of two; on the database's own, one that is due every second.
func (v victim) config() hourbell.Config {
	if len(v.Clock) == 0 {
		return hourbell.Config{Jobs: jobs, Definitions: []hourbell.Definition{everySecond("s")}, LockTTL: v.LockTTL, PollInterval: time.Second}
	}
	often := hourly("often")
	often.Cron, often.Target = "*/10 * * * *", hourbell.Group("feed")
	return hourbell.Config{Jobs: jobs, Definitions: []hourbell.Definition{hourly("noon"), often}, LockTTL: v.LockTTL}
}

// engines are what a victim's Enqueuer does when it has written the runs into a table of the host's.
var engines = map[string]error{
	"writes": nil,
	"fails":  errEngine,
	"away":   fmt.Errorf("%w: %w", hourbell.ErrUnavailable, errEngine),
}

// obey is the life of a victim. It prints each pass that it has made, and the step at which it is struck.
func obey(ctx context.Context, orders string) error {
	var v victim
	if err := json.Unmarshal([]byte(orders), &v); err != nil {
		return err
	}
	if v.Wrong != 0 {
		hourbell.SetWallClock(func() time.Time { return time.Now().Add(v.Wrong) })
	}
	dialector := sqlite.Open(v.DSN)
	if v.Dialect == "postgres" {
		dialector = postgres.Open(v.DSN)
	}
	db, err := gorm.Open(dialector, &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return err
	}
	var passes atomic.Int32
	var struck atomic.Bool
	at := func(step string) error {
		if step == v.Step && int(passes.Load()) >= len(v.Clock)-1 && !struck.Swap(true) {
			strike(step, v.Signal)
		}
		return nil
	}
	cfg := v.config()
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if v.Engine != "" {
		cfg.Enqueuer = v.enqueuer(at)
	}
	c := &clock{}
	if len(v.Clock) > 0 {
		c.Set(v.Clock[0])
		cfg.Now = c.Now
	}
	cfg.OnTick = func(hourbell.TickReport) {
		_ = at("sleep")
		n := int(passes.Add(1))
		if n < len(v.Clock) {
			c.Set(v.Clock[n])
		}
		fmt.Println("pass", n)
	}
	s, err := hourbell.New(&stepped{store.New(db), at}, cfg)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// strike sends this process a signal, and lets it do nothing more until it is told to go on.
func strike(step string, sig syscall.Signal) {
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	fmt.Println("struck at", step)
	if err := syscall.Kill(os.Getpid(), sig); err != nil {
		panic(err)
	}
	<-goOn
}

// enqueuer is newEngine's in the victim's process.
func (v victim) enqueuer(at func(string) error) hourbell.Enqueuer {
	return enqueuer(func(ctx context.Context, tx hourbell.Tx, runs []hourbell.JobRun) error {
		if err := at("before enqueuer"); err != nil {
			return err
		}
		if err := (&engine{}).Enqueue(ctx, tx, runs); err != nil {
			return err
		}
		if err := at("after enqueuer"); err != nil {
			return err
		}
		return engines[v.Engine]
	})
}

// struck is a victim's process.
type struck struct {
	*exec.Cmd
	out, log logs
	exited   chan struct{}
}

// sent starts a victim on a database. It is killed when the test ends.
func sent(t *testing.T, db *dbtest.DB, v victim) *struck {
	t.Helper()
	v.Dialect, v.DSN = db.Dialect, db.DSN
	if v.Dialect == "postgres" {
		v.DSN += "&application_name=victim"
	}
	orders, err := json.Marshal(v)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	p := &struck{Cmd: exec.Command(self), exited: make(chan struct{})}
	p.Env = append(os.Environ(), victimEnv+"="+string(orders))
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
			t.Logf("the victim of %q printed:\n%s%s", v.Step, &p.out, &p.log)
		}
	})
	return p
}

// prints waits until the victim has printed a text.
func (p *struck) prints(t *testing.T, text string) {
	t.Helper()
	await(t, "the victim prints "+text, func() bool { return strings.Contains(p.out.String(), text) })
}

// dies waits until the victim is dead, and the server has undone what it was at, unless it is at its commit.
func (p *struck) dies(t *testing.T, db *dbtest.DB) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		t.Fatal("the victim lives on")
	}
	status, _ := p.ProcessState.Sys().(syscall.WaitStatus)
	require.Equal(t, syscall.SIGKILL, status.Signal(), "it ended by itself")
	if db.Dialect == "postgres" {
		await(t, "the server has noticed", func() bool { return backends(t, db.DB, "wait_event IS DISTINCT FROM 'advisory'") == 0 })
	}
}

// passes is how many passes the victim has made.
func (p *struck) passes() int { return strings.Count(p.out.String(), "pass ") }
