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

// injectAll injects the faults of the plan, each at its time. It returns when
// all are over.
func (d *driver) injectAll(ctx context.Context, plan []fault) {
	var pending sync.WaitGroup
	defer pending.Wait()
	began := time.Now()
	for _, f := range plan {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(began.Add(f.at))):
		}
		pending.Go(func() {
			injected, err := d.inject(ctx, f)
			switch {
			case err != nil:
				d.violation(fmt.Sprintf("%s: %v", f.kind, err))
			case injected:
				d.tally.add(string(f.kind), 1)
			default:
				d.tally.add("fault not injected", 1)
			}
			d.logf("%v: injected %t", f, injected)
		})
	}
}

// inject injects a fault and returns when it is over. It reports false if other
// faults affect every host or session that it could affect.
func (d *driver) inject(ctx context.Context, f fault) (bool, error) {
	var h *host
	switch f.kind {
	case faultImmediate, faultFast:
		return d.restartPostgres(ctx, f)
	case faultOutage:
		return true, d.killKind(ctx, d.hosts[f.host].kind, f.duration)
	case faultTerminate:
		return d.terminateSessions(ctx, f.count)
	case faultKillInFire, faultPauseInFire:
		h = d.runTo(ctx, inFire)
	case faultPauseInClaim:
		h = d.runTo(ctx, inClaim)
	default:
		h = d.lockHost(f.host)
	}
	if h == nil {
		return false, nil
	}
	defer h.busy.Unlock()
	defer d.clearBreakpoint(h)
	return true, d.injectFault(ctx, h, f)
}

// lockHost returns the host with this number, or the next one that no fault
// affects, with its busy locked.
func (d *driver) lockHost(number int) *host {
	for i := range d.hosts {
		if h := d.hosts[(number+i)%len(d.hosts)]; h.busy.TryLock() {
			return h
		}
	}
	return nil
}

// injectFault injects a fault of one host.
func (d *driver) injectFault(ctx context.Context, h *host, f fault) error {
	wait := func() { sleep(ctx, f.duration) }
	disturb := func(change, restore func()) {
		h.network.set(change)
		wait()
		h.network.set(restore)
	}
	switch f.kind {
	case faultKill, faultKillInFire:
		if err := h.kill(); err != nil {
			return err
		}
		d.clearBreakpoint(h)
		wait()
		return h.start()
	case faultStop:
		took, err := h.stop()
		if err != nil {
			return err
		}
		d.tally.addStop(took)
		wait()
		return h.start()
	case faultPause, faultPauseInFire, faultPauseInClaim:
		h.signal(syscall.SIGSTOP)
		d.clearBreakpoint(h)
		wait()
		h.signal(syscall.SIGCONT)
	case faultCut:
		h.network.cut()
	case faultRefuse:
		disturb(func() { h.network.refusing = true }, func() { h.network.refusing = false })
	case faultDelay:
		delay := time.Duration(f.count*f.count) * 5 * time.Millisecond // up to 320 ms each way
		disturb(func() { h.network.delay = delay }, func() { h.network.delay = 0 })
	case faultStall:
		disturb(func() { h.network.stalled = true }, func() { h.network.stalled = false })
	case faultHog:
		d.requestHog(ctx, h, f.duration)
	}
	return nil
}

// requestHog makes the host hold its whole pool.
func (d *driver) requestHog(ctx context.Context, h *host, duration time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, duration+5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.address+"/hog?for="+duration.String(), nil)
	if err != nil {
		panic(err)
	}
	if response, err := d.client.Do(request); err == nil {
		_ = response.Body.Close()
	}
}

// killKind kills every host of a kind and restarts them after a while. It first
// waits until the faults that affect them are over.
func (d *driver) killKind(ctx context.Context, k hostKind, duration time.Duration) error {
	var killed []*host
	for _, h := range d.hosts {
		if h.kind != k {
			continue
		}
		h.busy.Lock()
		defer h.busy.Unlock()
		if err := h.kill(); err != nil {
			return err
		}
		killed = append(killed, h)
	}
	sleep(ctx, duration)
	for _, h := range killed {
		if err := h.start(); err != nil {
			return err
		}
	}
	return nil
}

// restartPostgres stops the server and starts it after a while.
func (d *driver) restartPostgres(ctx context.Context, f fault) (bool, error) {
	if !d.restarting.TryLock() {
		return false, nil
	}
	defer d.restarting.Unlock()
	mode := cluster.Fast
	if f.kind == faultImmediate {
		mode = cluster.Immediate
	}
	serverCtx := context.WithoutCancel(ctx) // an interrupt must not leave the server down
	if err := d.server.Down(serverCtx, mode); err != nil {
		return false, err
	}
	sleep(ctx, f.duration)
	return true, d.server.Up(serverCtx)
}

// terminateSessions ends up to count database sessions of hosts.
func (d *driver) terminateSessions(ctx context.Context, count int) (bool, error) {
	var ended int
	err := d.pool.QueryRowContext(ctx, `SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
		WHERE application_name LIKE 'host-%' ORDER BY random() LIMIT $1) sessions`, count).Scan(&ended)
	if err != nil {
		return false, nil //nolint:nilerr // the server is restarting
	}
	d.tally.add("sessions terminated", ended)
	return ended > 0, nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
