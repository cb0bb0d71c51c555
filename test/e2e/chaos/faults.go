package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/hourbell/hourbell/internal/dbtest/cluster"
)

// carryOut has the faults of the plan happen, each at its time, until all are over.
func (d *driver) carryOut(ctx context.Context, plan []fault) {
	var under sync.WaitGroup
	defer under.Wait()
	began := time.Now()
	for _, f := range plan {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(began.Add(f.at))):
		}
		under.Go(func() {
			done, err := d.apply(ctx, f)
			switch {
			case err != nil:
				d.wrong(fmt.Sprintf("%s: %v", f.what, err))
			case done:
				d.tally.add(f.what)
			default:
				d.tally.add("not carried out")
			}
			d.note("%v: %t", f, done)
		})
	}
}

// apply lets one fault happen and be over. It does nothing where others are at everything that it could befall.
func (d *driver) apply(ctx context.Context, f fault) (bool, error) {
	var h *host
	switch f.what {
	case faultImmediate, faultFast:
		return d.restartPostgres(ctx, f)
	case faultNobody:
		return true, d.killAll(ctx, d.hosts[f.host].kind, f.last)
	case faultTerminate:
		return d.terminate(ctx, f.many)
	case faultKillInFire, faultPauseInFire:
		h = d.catch(ctx, inFire)
	case faultPauseInClaim:
		h = d.catch(ctx, inClaim)
	default:
		h = d.free(f.host)
	}
	if h == nil {
		return false, nil
	}
	defer h.busy.Unlock()
	defer d.release(h)
	return true, d.befall(ctx, h, f)
}

// free is the host of that number, or the next one that no other fault is at. Its busy is held then.
func (d *driver) free(number int) *host {
	for i := range d.hosts {
		if h := d.hosts[(number+i)%len(d.hosts)]; h.busy.TryLock() {
			return h
		}
	}
	return nil
}

// befall lets a fault happen to a host.
func (d *driver) befall(ctx context.Context, h *host, f fault) error {
	lasting := func() { sleep(ctx, f.last) }
	network := func(change, back func()) {
		h.network.set(change)
		lasting()
		h.network.set(back)
	}
	switch f.what {
	case faultKill, faultKillInFire:
		if err := h.kill(); err != nil {
			return err
		}
		d.release(h)
		lasting()
		return h.start()
	case faultStop:
		took, err := h.stop()
		if err != nil {
			return err
		}
		d.tally.stopped(took)
		lasting()
		return h.start()
	case faultPause, faultPauseInFire, faultPauseInClaim:
		h.signal(syscall.SIGSTOP)
		d.release(h)
		lasting()
		h.signal(syscall.SIGCONT)
	case faultCut:
		h.network.cut()
	case faultRefuse:
		network(func() { h.network.refusing = true }, func() { h.network.refusing = false })
	case faultDelay:
		delay := time.Duration(f.many*f.many) * 5 * time.Millisecond // up to 320 ms each way
		network(func() { h.network.delay = delay }, func() { h.network.delay = 0 })
	case faultSilence:
		network(func() { h.network.silent = true }, func() { h.network.silent = false })
	case faultHog:
		d.hog(ctx, h, f.last)
	}
	return nil
}

func (d *driver) hog(ctx context.Context, h *host, last time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, last+5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.address+"/hog?for="+last.String(), nil)
	if err != nil {
		panic(err)
	}
	if response, err := d.client.Do(request); err == nil {
		_ = response.Body.Close()
	}
}

// killAll kills every host of a kind, once the faults that are at them are over.
func (d *driver) killAll(ctx context.Context, k kind, last time.Duration) error {
	var victims []*host
	for _, h := range d.hosts {
		if h.kind != k {
			continue
		}
		h.busy.Lock()
		defer h.busy.Unlock()
		if err := h.kill(); err != nil {
			return err
		}
		victims = append(victims, h)
	}
	sleep(ctx, last)
	for _, h := range victims {
		if err := h.start(); err != nil {
			return err
		}
	}
	return nil
}

// restartPostgres takes the server down and brings it back.
func (d *driver) restartPostgres(ctx context.Context, f fault) (bool, error) {
	if !d.restarting.TryLock() {
		return false, nil
	}
	defer d.restarting.Unlock()
	how := cluster.Fast
	if f.what == faultImmediate {
		how = cluster.Immediate
	}
	last := context.WithoutCancel(ctx) // it is not left down
	if err := d.server.Down(last, how); err != nil {
		return false, err
	}
	sleep(ctx, f.last)
	return true, d.server.Up(last)
}

// terminate ends some sessions of hosts.
func (d *driver) terminate(ctx context.Context, many int) (bool, error) {
	var ended int
	err := d.pool.QueryRowContext(ctx, `SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
		WHERE application_name LIKE 'host-%' ORDER BY random() LIMIT $1) sessions`, many).Scan(&ended)
	if err != nil {
		return false, nil //nolint:nilerr // the server is just being restarted
	}
	d.tally.many("sessions terminated", ended)
	return ended > 0, nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
