// Package testclock is a clock that is set by hand. It stands in for the database's (hourbell.Config.Now).
package testclock

import (
	"sync"
	"time"
)

// Clock shows what it was last set to. It is safe for concurrent use; its zero value shows the zero instant.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// New makes a clock that shows an instant.
func New(at time.Time) *Clock { return &Clock{now: at} }

// Now is what it shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set sets it, back or forward.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// Advance sets it forward, or back by a negative distance.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
