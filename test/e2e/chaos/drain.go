package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// patience limits each wait after the last fault. It is at least ten times
// longer than any of them should take.
const patience = 3 * time.Minute

// await waits until pending returns an empty text. The text describes what the
// wait is still for.
func await(ctx context.Context, what string, pending func(context.Context) string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	last := ""
	for {
		switch text := pending(ctx); {
		case text == "":
			return nil
		case ctx.Err() == nil:
			last = text
		}
		if ctx.Err() != nil {
			return fmt.Errorf("waited %v in vain for %s: %s", patience, what, last)
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

// awaitHealthy waits until every host is healthy, and no enabled schedule has a
// due slot older than three seconds.
func (d *driver) awaitHealthy(ctx context.Context) error {
	err := await(ctx, "every host to be healthy", func(ctx context.Context) string {
		for _, h := range d.hosts {
			if err := d.checkHealth(ctx, h); err != nil {
				return h.name + ": " + err.Error()
			}
		}
		return ""
	})
	return errors.Join(err, d.awaitNoRows(ctx, "the loops to be on time", `SELECT namespace || '/' || id || ' has the due slot ' || next_run_at
		FROM hourbell_schedules WHERE enabled AND next_run_at < clock_timestamp() - interval '3 seconds' LIMIT 1`))
}

// awaitNoRows waits until a query finds nothing. Its rows describe what the
// wait is still for.
func (d *driver) awaitNoRows(ctx context.Context, what, query string) error {
	return await(ctx, what, func(ctx context.Context) string {
		found, err := queryTexts(ctx, d.pool, query)
		switch {
		case err != nil:
			return err.Error()
		case len(found) > 0:
			return found[0]
		}
		return ""
	})
}

func (d *driver) checkHealth(ctx context.Context, h *host) error {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.address+"/admin/api/health", nil)
	if err != nil {
		panic(err)
	}
	response, err := d.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// disableAll disables every schedule through the API. It repeats each request
// until one succeeds.
func (d *driver) disableAll(ctx context.Context) error {
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	var mu sync.Mutex // guards random and errs
	var errs []error
	var pending sync.WaitGroup
	limit := make(chan struct{}, 8)
	for _, k := range hostKinds {
		for _, definition := range d.definitions[k] {
			limit <- struct{}{}
			pending.Go(func() {
				defer func() { <-limit }()
				err := await(ctx, "schedule "+definition.ID+" to be disabled", func(ctx context.Context) string {
					mu.Lock()
					h := d.randomHost(random, k)
					mu.Unlock()
					a := d.send(ctx, h, operatorAction{Namespace: string(k), Schedule: definition.ID, Verb: "disable", Actor: "driver", Note: d.actions.newNote()})
					d.actions.add(a)
					if a.succeeded() {
						return ""
					}
					return a.String()
				})
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
	}
	pending.Wait()
	return errors.Join(errs...)
}

// awaitExecuted waits until every run is executed. It gives up only if the
// number of open runs does not fall for the time of patience.
func (d *driver) awaitExecuted(ctx context.Context) error {
	fewest, since := -1, time.Now()
	for {
		var open int
		err := d.pool.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM hourbell_job_runs WHERE namespace = $1 AND status IN ('QUEUED', 'RUNNING'))
			+ (SELECT count(*) FROM chaos_engine WHERE done_at IS NULL)`, tableHost).Scan(&open)
		switch {
		case ctx.Err() != nil || err == nil && open == 0:
			return ctx.Err()
		case err == nil && (fewest < 0 || open < fewest):
			fewest, since = open, time.Now()
		case time.Since(since) > patience:
			return fmt.Errorf("%d runs are not executed, without progress for %v; last error: %v", open, patience, err)
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

// notMarkedStopped is logged by a host that could not mark its worker as
// stopped in the second that it has for this.
const notMarkedStopped = "marking the worker stopped failed"

// stopAll stops every host cleanly and checks that each worker is marked as
// stopped.
func (d *driver) stopAll(ctx context.Context) error {
	errs := make([]error, len(d.hosts))
	var pending sync.WaitGroup
	for i, h := range d.hosts {
		pending.Go(func() {
			pid := h.pid()
			took, err := h.stop()
			d.tally.addStop(took)
			if err != nil {
				errs[i] = err
				return
			}
			running, err := queryTexts(ctx, d.pool, `SELECT id FROM hourbell_workers WHERE pid = $1 AND stopped_at IS NULL`, pid)
			if len(running) > 0 && !strings.Contains(tail(h.log.Name(), 20), notMarkedStopped) {
				err = fmt.Errorf("%s has stopped, but its worker %s is not marked as stopped", h.name, running[0])
			}
			errs[i] = err
		})
	}
	pending.Wait()
	return errors.Join(errs...)
}
