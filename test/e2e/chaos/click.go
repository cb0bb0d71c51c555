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

// click is one request of a person's, and what came of it.
type click struct {
	Namespace, Schedule string
	Action              string // enable, disable, unlock or run
	Actor, Note, Key    string
	Sent, Answered      time.Time
	Status              int // 0: the answer was lost
	Problem             string
	Runs                []int64
}

func (c click) String() string {
	return fmt.Sprintf("%s %s/%s by %s, note %q, key %q, sent %s: status %d %s",
		c.Action, c.Namespace, c.Schedule, c.Actor, c.Note, c.Key, c.Sent.UTC().Format(time.RFC3339Nano), c.Status, c.Problem)
}

// clickTimeout is how long a person waits for an answer.
const clickTimeout = 6 * time.Second

// clicks are all requests of a run.
type clicks struct {
	mu   sync.Mutex
	list []click
	next int
}

func (c *clicks) add(done click) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, done)
}

// note is a text that no other click has.
func (c *clicks) note() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return fmt.Sprintf("click %06d", c.next)
}

// people click until ctx ends. Each click is answered or given up before the call returns.
func (d *driver) people(ctx context.Context, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 2))
	var under sync.WaitGroup
	defer under.Wait()
	crowd := make(chan struct{}, 24)
	for ctx.Err() == nil {
		sleep(ctx, rand64(random, 2*clickEvery))
		list := d.choose(random)
		for _, c := range list {
			h := d.anyOf(random, kind(c.Namespace))
			crowd <- struct{}{}
			under.Go(func() {
				defer func() { <-crowd }()
				d.clicks.add(d.send(context.WithoutCancel(ctx), h, c))
			})
		}
	}
}

// clickEvery is how long it is from one click to the next, on average.
const clickEvery = 80 * time.Millisecond

var actors = []string{"ann@example.com", "bob@example.com", "cem@example.com"}

// choose is what somebody does next: one request, or the same one several times at once, to whatever replica is there.
func (d *driver) choose(random *rand.Rand) (list []click) {
	k := kinds[random.IntN(len(kinds))]
	declared := d.facts.Definitions[k]
	c := click{
		Namespace: string(k), Schedule: declared[random.IntN(len(declared))].ID, Actor: actors[random.IntN(len(actors))],
		Action: []string{"enable", "enable", "enable", "enable", "disable", "disable", "unlock", "run", "run", "run"}[random.IntN(10)],
	}
	if c.Action == "unlock" {
		d.findLock(&c)
	}
	c.Note = d.clicks.note()
	if c.Action == "run" {
		c.Key = "key of " + c.Note
	}
	list = append(list, c)
	for random.IntN(3) == 0 {
		if c.Key == "" {
			c.Note = d.clicks.note() // another person's: only a key makes two requests one
		}
		list = append(list, c)
	}
	return list
}

// findLock has somebody see a lock on the page, if there is one.
func (d *driver) findLock(c *click) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	row := d.pool.QueryRowContext(ctx, `SELECT namespace, id FROM hourbell_schedules WHERE locked_by IS NOT NULL ORDER BY random() LIMIT 1`)
	_ = row.Scan(&c.Namespace, &c.Schedule) // else it is any schedule
}

// anyOf is any host of a kind.
func (d *driver) anyOf(random *rand.Rand, k kind) *host {
	for {
		if h := d.hosts[random.IntN(len(d.hosts))]; h.kind == k {
			return h
		}
	}
}

// send clicks and waits for the answer.
func (d *driver) send(ctx context.Context, h *host, c click) click {
	c.Sent = time.Now()
	c = d.answer(ctx, h, c)
	c.Answered = time.Now()
	return c
}

func (d *driver) answer(ctx context.Context, h *host, c click) click {
	ctx, cancel := context.WithTimeout(ctx, clickTimeout)
	defer cancel()
	body, _ := json.Marshal(map[string]string{"note": c.Note}) // strings always marshal
	address := fmt.Sprintf("http://%s/admin/api/schedules/%s/%s", h.address, c.Schedule, c.Action)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(actorHeader, c.Actor)
	if c.Key != "" {
		request.Header.Set("Idempotency-Key", c.Key)
	}
	response, err := d.client.Do(request)
	if err != nil {
		c.Problem = err.Error()
		return c
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.Problem = err.Error() // the answer broke off
		return c
	}
	c.Status = response.StatusCode
	if c.Status >= 300 {
		c.Problem = string(text)
		return c
	}
	var answer struct {
		Runs []struct{ ID int64 }
	}
	if err := json.Unmarshal(text, &answer); err != nil && c.Action == "run" {
		c.Problem = "unreadable answer: " + err.Error()
	}
	for _, run := range answer.Runs {
		c.Runs = append(c.Runs, run.ID)
	}
	return c
}
