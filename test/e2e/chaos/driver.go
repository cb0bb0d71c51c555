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

// driver runs the hosts and does things to them.
type driver struct {
	dir        string // of the logs
	log        *os.File
	server     *cluster.Cluster
	pool       *sql.DB // straight to the server
	hosts      []*host
	client     *http.Client
	clicks     clicks
	facts      facts
	tally      tally
	restarting sync.Mutex // held while the server is down
	trap       sync.Mutex // held while the table of runs is locked
	caught     sync.Map   // who was caught there: *host to func() that lets go

	mu         sync.Mutex
	violations []string
}

// errLost says that the run has shown a fault. What it was is in the summary.
var errLost = errors.New("something was lost; see above")

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
		d.wrong(err.Error())
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), os.RemoveAll(d.dir))
	}
	return d.verdict(ctx, o, out)
}

// verdict checks what the run has left, says what it was, and keeps the logs where something was lost.
func (d *driver) verdict(ctx context.Context, o options, out io.Writer) error {
	if _, err := d.pool.ExecContext(ctx, "ANALYZE"); err != nil { // the checker's joins are as large as the run was long
		return err
	}
	d.facts.Clicks = d.clicks.list
	result, err := check(ctx, d.pool, d.facts)
	if err != nil {
		return err
	}
	if result.fired == 0 {
		d.wrong("nothing fired")
	}
	result.violations = append(d.violations, result.violations...)
	d.summary(out, o, result)
	if len(result.violations) == 0 {
		return os.RemoveAll(d.dir)
	}
	d.lastWords(out)
	return errLost
}

// newDriver starts the server, which writes to disk as one that is not thrown away does, and makes the hosts.
func newDriver(ctx context.Context, o options) (_ *driver, err error) {
	d := &driver{
		// No connection is used twice: a request that fails on an old one would be sent again behind our back.
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		facts:  facts{Definitions: map[kind][]hourbell.Definition{}},
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
	for _, k := range kinds {
		d.facts.Definitions[k] = schedulesOf(k, o.Schedules)
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

// run is the run from the first start to the last stop.
func (d *driver) run(ctx context.Context, o options) error {
	for _, h := range d.hosts {
		if err := h.start(); err != nil {
			return err
		}
	}
	if err := d.awaitQuiet(ctx); err != nil {
		return fmt.Errorf("before the first fault: %w", err)
	}
	began := time.Now()
	clicking, stopClicking := context.WithCancel(ctx)
	var people sync.WaitGroup
	people.Go(func() { d.people(clicking, o.Seed) })
	d.carryOut(ctx, newPlan(o.Seed, o.Time, o.Hosts))
	sleep(ctx, time.Until(began.Add(o.Time)))
	stopClicking()
	people.Wait()
	d.tally.faulty = time.Since(began)
	return d.finish(ctx)
}

// finish brings the run to rest: all is well again, then nothing fires any more, then all is executed.
func (d *driver) finish(ctx context.Context) error {
	if err := d.awaitQuiet(ctx); err != nil {
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
		d.tally.many("starts of processes", h.starts)
		d.tally.many("starts without a database", h.unlucky)
		for _, failure := range h.failures {
			d.wrong(failure)
		}
		h.mu.Unlock()
	}
	return errors.Join(err, d.readLogs())
}

// readLogs looks for what no process may say, whatever is done to it.
func (d *driver) readLogs() error {
	for _, h := range d.hosts {
		text, err := os.ReadFile(h.log.Name())
		if err != nil {
			return err
		}
		for _, never := range []string{"DATA RACE", "panic", "already fired"} {
			if at := bytes.Index(text, []byte(never)); at >= 0 {
				line, _, _ := bytes.Cut(text[at:], []byte("\n"))
				d.wrong(fmt.Sprintf("%s has said: %s", h.name, line))
			}
		}
	}
	return nil
}

func (d *driver) wrong(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.violations = append(d.violations, what)
	_, _ = fmt.Fprintf(d.log, "%s VIOLATION %s\n", time.Now().UTC().Format(time.RFC3339Nano), what)
}

// note writes to the driver's log.
func (d *driver) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = fmt.Fprintf(d.log, "%s %s\n", time.Now().UTC().Format(time.RFC3339Nano), fmt.Sprintf(format, args...))
}
