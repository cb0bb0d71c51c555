package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// operatorAction is one request of an operator and its response.
type operatorAction struct {
	Namespace, Schedule string
	Verb                string // enable, disable, unlock or run
	Actor, Note, Key    string
	Sent, Done          time.Time
	Status              int // 0: the response was lost
	Problem             string
	Runs                []int64
}

func (a operatorAction) String() string {
	return fmt.Sprintf("%s %s/%s by %s, note %q, key %q, sent %s: status %d %s",
		a.Verb, a.Namespace, a.Schedule, a.Actor, a.Note, a.Key, a.Sent.UTC().Format(time.RFC3339Nano), a.Status, a.Problem)
}

// succeeded reports whether the response has a 2xx status.
func (a operatorAction) succeeded() bool { return a.Status/100 == 2 }

// actionTimeout is how long an operator waits for a response.
const actionTimeout = 6 * time.Second

// actionLog holds all operator actions of a run.
type actionLog struct {
	mu       sync.Mutex // guards the fields below
	list     []operatorAction
	lastNote int
}

func (l *actionLog) add(a operatorAction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, a)
}

// newNote returns a note that no other action has.
func (l *actionLog) newNote() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastNote++
	return fmt.Sprintf("action %06d", l.lastNote)
}

// runOperators sends actions until ctx ends. It returns when each action has a
// response or has timed out.
func (d *driver) runOperators(ctx context.Context, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 2))
	var pending sync.WaitGroup
	defer pending.Wait()
	limit := make(chan struct{}, 24)
	for ctx.Err() == nil {
		sleep(ctx, randomUpTo(random, 2*actionInterval))
		for _, a := range d.chooseActions(random) {
			h := d.randomHost(random, hostKind(a.Namespace))
			limit <- struct{}{}
			pending.Go(func() {
				defer func() { <-limit }()
				d.actions.add(d.send(context.WithoutCancel(ctx), h, a))
			})
		}
	}
}

// actionInterval is the mean time between two choices of actions.
const actionInterval = 80 * time.Millisecond

var actors = []string{"ann@example.com", "bob@example.com", "cem@example.com"}

// chooseActions returns one action, or several equal ones to be sent at the
// same time, each to any host of the namespace.
func (d *driver) chooseActions(random *rand.Rand) (list []operatorAction) {
	k := hostKinds[random.IntN(len(hostKinds))]
	definitions := d.definitions[k]
	a := operatorAction{
		Namespace: string(k), Schedule: definitions[random.IntN(len(definitions))].ID, Actor: actors[random.IntN(len(actors))],
		Verb: []string{"enable", "enable", "enable", "enable", "disable", "disable", "unlock", "run", "run", "run"}[random.IntN(10)],
	}
	if a.Verb == "unlock" {
		d.pickLockedSchedule(&a)
	}
	a.Note = d.actions.newNote()
	if a.Verb == "run" {
		a.Key = "key of " + a.Note
	}
	list = append(list, a)
	for random.IntN(3) == 0 {
		if a.Key == "" {
			a.Note = d.actions.newNote() // without a key, each request is an action of its own
		}
		list = append(list, a)
	}
	return list
}

// pickLockedSchedule directs the action at a locked schedule. Without one, the
// action keeps the schedule that it has.
func (d *driver) pickLockedSchedule(a *operatorAction) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	row := d.pool.QueryRowContext(ctx, `SELECT namespace, id FROM hourbell_schedules WHERE locked_by IS NOT NULL ORDER BY random() LIMIT 1`)
	_ = row.Scan(&a.Namespace, &a.Schedule)
}

// randomHost returns any host of a kind.
func (d *driver) randomHost(random *rand.Rand, k hostKind) *host {
	for {
		if h := d.hosts[random.IntN(len(d.hosts))]; h.kind == k {
			return h
		}
	}
}

// send sends the action and returns it with its times and response.
func (d *driver) send(ctx context.Context, h *host, a operatorAction) operatorAction {
	a.Sent = time.Now()
	a = d.request(ctx, h, a)
	a.Done = time.Now()
	return a
}

func (d *driver) request(ctx context.Context, h *host, a operatorAction) operatorAction {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	body, _ := json.Marshal(map[string]string{"note": a.Note}) // strings always marshal
	address := fmt.Sprintf("http://%s/admin/api/schedules/%s/%s", h.address, a.Schedule, a.Verb)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(actorHeader, a.Actor)
	if a.Key != "" {
		request.Header.Set("Idempotency-Key", a.Key)
	}
	response, err := d.client.Do(request)
	if err != nil {
		a.Problem = err.Error()
		return a
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		a.Problem = err.Error() // the response is incomplete, and counts as lost
		return a
	}
	a.Status = response.StatusCode
	if a.Status >= 300 {
		a.Problem = string(text)
		return a
	}
	var result struct {
		Runs []struct{ ID int64 }
	}
	if err := json.Unmarshal(text, &result); err != nil && a.Verb == "run" {
		a.Problem = "unreadable response: " + err.Error()
	}
	for _, run := range result.Runs {
		a.Runs = append(a.Runs, run.ID)
	}
	return a
}
