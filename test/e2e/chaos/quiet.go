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

// patience is how long anything may take once there are no faults. Nothing takes a tenth of it.
const patience = 3 * time.Minute

// await waits for a condition. The text is what is still missing, empty when nothing is.
func await(ctx context.Context, what string, missing func(context.Context) string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	last := ""
	for {
		switch text := missing(ctx); {
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

// awaitQuiet waits until every host runs its loop, and no enabled schedule waits for a slot of more than three seconds ago.
func (d *driver) awaitQuiet(ctx context.Context) error {
	err := await(ctx, "every host to be healthy", func(ctx context.Context) string {
		for _, h := range d.hosts {
			if err := d.healthy(ctx, h); err != nil {
				return h.name + ": " + err.Error()
			}
		}
		return ""
	})
	return errors.Join(err, d.awaitNone(ctx, "the loops to be on time", `SELECT namespace || '/' || id || ' waits for the slot of ' || next_run_at
		FROM hourbell_schedules WHERE enabled AND next_run_at < clock_timestamp() - interval '3 seconds' LIMIT 1`))
}

// awaitNone waits until a query that says what is missing finds nothing.
func (d *driver) awaitNone(ctx context.Context, what, query string) error {
	return await(ctx, what, func(ctx context.Context) string {
		missing, err := texts(ctx, d.pool, query)
		switch {
		case err != nil:
			return err.Error()
		case len(missing) > 0:
			return missing[0]
		}
		return ""
	})
}

func (d *driver) healthy(ctx context.Context, h *host) error {
	ctx, cancel := context.WithTimeout(ctx, clickTimeout)
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

// disableAll disables every schedule as a person would, again until somebody has said that it is done.
func (d *driver) disableAll(ctx context.Context) error {
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	var mu sync.Mutex // guards random and errs
	var errs []error
	var under sync.WaitGroup
	hands := make(chan struct{}, 8)
	for _, k := range kinds {
		for _, definition := range d.facts.Definitions[k] {
			hands <- struct{}{}
			under.Go(func() {
				defer func() { <-hands }()
				err := await(ctx, "schedule "+definition.ID+" to be disabled", func(ctx context.Context) string {
					mu.Lock()
					h := d.anyOf(random, k)
					mu.Unlock()
					c := d.send(ctx, h, click{Namespace: string(k), Schedule: definition.ID, Action: "disable", Actor: "driver", Note: d.clicks.note()})
					d.clicks.add(c)
					if c.Status/100 == 2 {
						return ""
					}
					return c.String()
				})
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
	}
	under.Wait()
	return errors.Join(errs...)
}

// awaitExecuted waits for the last run. It may take as long as it likes while it goes on.
func (d *driver) awaitExecuted(ctx context.Context) error {
	least, since := -1, time.Now()
	for {
		var open int
		err := d.pool.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM hourbell_job_runs WHERE namespace = $1 AND status IN ('QUEUED', 'RUNNING'))
			+ (SELECT count(*) FROM chaos_engine WHERE done_at IS NULL)`, tableHost).Scan(&open)
		switch {
		case ctx.Err() != nil || err == nil && open == 0:
			return ctx.Err()
		case err == nil && (least < 0 || open < least):
			least, since = open, time.Now()
		case time.Since(since) > patience:
			return fmt.Errorf("%d runs are not executed, and nothing has moved for %v; last error: %v", open, patience, err)
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

// stopAll stops every host cleanly, and sees that each is marked stopped.
func (d *driver) stopAll(ctx context.Context) error {
	errs := make([]error, len(d.hosts))
	var under sync.WaitGroup
	for i, h := range d.hosts {
		under.Go(func() {
			pid := h.pid()
			took, err := h.stop()
			d.tally.stopped(took)
			marked, query := []string{}, error(nil)
			if err == nil {
				marked, query = texts(ctx, d.pool, `SELECT id FROM hourbell_workers WHERE pid = $1 AND stopped_at IS NULL`, pid)
			}
			if len(marked) > 0 && !strings.Contains(tail(h.log.Name(), 20), "could not be marked stopped") { // it has a second for it
				err = fmt.Errorf("%s was told to stop and has, but its worker %s is not marked stopped", h.name, marked[0])
			}
			errs[i] = errors.Join(err, query)
		})
	}
	under.Wait()
	return errors.Join(errs...)
}
