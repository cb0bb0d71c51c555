package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest/cluster"
)

// driver starts the hosts and injects faults into them.
type driver struct {
	dir          string // of the logs
	log          *os.File
	server       *cluster.Cluster
	pool         *sql.DB // connects to the server without a proxy
	hosts        []*host
	client       *http.Client
	actions      actionLog
	definitions  map[hostKind][]hourbell.Definition
	tally        tally
	restarting   sync.Mutex // held while the server is down
	breaking     sync.Mutex // held while a breakpoint is set
	atBreakpoint sync.Map   // *host at a breakpoint to the func() that clears it

	mu         sync.Mutex // guards violations and writes to log
	violations []string
}

// errViolated reports violations. The summary lists them.
var errViolated = errors.New("the run violated the contract; see above")

// chaos makes one run and prints its summary.
func chaos(ctx context.Context, o options, out io.Writer) error {
	if o.Seed == 0 {
		o.Seed = rand.Uint64()>>32 | 1
	}
	_, _ = fmt.Fprintf(out, "chaos: seed %d, %v of faults, %d processes, %d schedules\n", o.Seed, o.Time, o.Hosts, o.Schedules)
	d, err := newDriver(ctx, o)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.run(ctx, o); err != nil {
		d.violation(err.Error())
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), os.RemoveAll(d.dir))
	}
	return d.verify(ctx, o, out)
}

// verify checks the tables and prints the summary. It keeps the logs if there
// are violations.
func (d *driver) verify(ctx context.Context, o options, out io.Writer) error {
	if _, err := d.pool.ExecContext(ctx, "ANALYZE"); err != nil { // the checker joins large tables
		return err
	}
	result, err := check(ctx, d.pool, expected{Definitions: d.definitions, Actions: d.actions.list})
	if err != nil {
		return err
	}
	if result.fired == 0 {
		d.violation("nothing fired")
	}
	result.violations = append(d.violations, result.violations...)
	d.summary(out, o, result)
	if len(result.violations) == 0 {
		return os.RemoveAll(d.dir)
	}
	d.printLogTails(out)
	return errViolated
}

// newDriver starts the server and creates the hosts. The server has fsync on,
// because the plan crashes it.
func newDriver(ctx context.Context, o options) (_ *driver, err error) {
	d := &driver{
		// Keep-alive is off: http.Client repeats a request that fails on a
		// reused connection, and the driver would not see it.
		client:      &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		definitions: map[hostKind][]hourbell.Definition{},
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.dir, err = os.MkdirTemp("", "hourbell-chaos-"); err != nil {
		return nil, err
	}
	if d.log, err = os.Create(filepath.Join(d.dir, "driver.log")); err != nil {
		return nil, err
	}
	if err = os.Setenv(cluster.FsyncEnv, "1"); err != nil {
		return nil, err
	}
	if d.server, err = cluster.Start(ctx); err != nil {
		return nil, err
	}
	db, pool, err := openPool(d.server.URL)
	if err != nil {
		return nil, err
	}
	d.pool = pool
	if err = prepare(ctx, db); err != nil {
		return nil, err
	}
	for _, k := range hostKinds {
		d.definitions[k] = definitionsOf(k, o.Schedules)
	}
	for i := range o.Hosts {
		k := tableHost
		if i%5 > 2 || i == o.Hosts-1 {
			k = engineHost
		}
		h, err := newHost(fmt.Sprintf("host-%d", i), k, d.server.URL, d.dir, o.Schedules, rand.New(rand.NewPCG(o.Seed, uint64(10+i))))
		if err != nil {
			return nil, err
		}
		d.hosts = append(d.hosts, h)
	}
	return d, nil
}

func (d *driver) close() {
	for _, h := range d.hosts {
		h.close()
	}
	if d.pool != nil {
		_ = d.pool.Close()
	}
	if d.server != nil {
		_ = d.server.Stop()
	}
	if d.log != nil {
		_ = d.log.Close()
	}
}

// run starts the hosts, injects the faults of the plan while operators act, and
// stops the hosts.
func (d *driver) run(ctx context.Context, o options) error {
	for _, h := range d.hosts {
		if err := h.start(); err != nil {
			return err
		}
	}
	if err := d.awaitHealthy(ctx); err != nil {
		return fmt.Errorf("before the first fault: %w", err)
	}
	began := time.Now()
	operatorCtx, stopOperators := context.WithCancel(ctx)
	var operators sync.WaitGroup
	operators.Go(func() { d.runOperators(operatorCtx, o.Seed) })
	d.injectAll(ctx, newPlan(o.Seed, o.Time, o.Hosts))
	sleep(ctx, time.Until(began.Add(o.Time)))
	stopOperators()
	operators.Wait()
	d.tally.faultTime = time.Since(began)
	return d.finish(ctx)
}

// finish waits until the hosts have recovered, disables all schedules, waits
// until every run is executed, and stops the hosts.
func (d *driver) finish(ctx context.Context) error {
	if err := d.awaitHealthy(ctx); err != nil {
		return fmt.Errorf("after the last fault: %w", err)
	}
	if err := d.disableAll(ctx); err != nil {
		return err
	}
	if err := d.awaitExecuted(ctx); err != nil {
		return err
	}
	err := d.stopAll(ctx)
	for _, h := range d.hosts {
		h.mu.Lock()
		d.tally.add("process starts", h.starts)
		d.tally.add("process starts without a database", h.failedStarts)
		for _, end := range h.unexpectedEnds {
			d.violation(end)
		}
		h.mu.Unlock()
	}
	return errors.Join(err, d.searchLogs())
}

// forbiddenLogText must not appear in the log of a host, whatever the faults.
// The last one is logged when the unique index refuses a fire, which the fence
// should have refused before.
var forbiddenLogText = []string{"DATA RACE", "panic", "already fired"}

func (d *driver) searchLogs() error {
	for _, h := range d.hosts {
		text, err := os.ReadFile(h.log.Name())
		if err != nil {
			return err
		}
		for _, forbidden := range forbiddenLogText {
			if at := bytes.Index(text, []byte(forbidden)); at >= 0 {
				line, _, _ := bytes.Cut(text[at:], []byte("\n"))
				d.violation(fmt.Sprintf("%s has logged: %s", h.name, line))
			}
		}
	}
	return nil
}

// violation records a violation.
func (d *driver) violation(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.violations = append(d.violations, text)
	_, _ = fmt.Fprintf(d.log, "%s VIOLATION %s\n", time.Now().UTC().Format(time.RFC3339Nano), text)
}

// logf writes a line to the driver's log.
func (d *driver) logf(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = fmt.Fprintf(d.log, "%s %s\n", time.Now().UTC().Format(time.RFC3339Nano), fmt.Sprintf(format, args...))
}
