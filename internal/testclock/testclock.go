// Package testclock has a clock that tests set. In tests it replaces the
// database clock: set hourbell.Config.Now to the method Clock.Now.
package testclock

import (
	"sync"
	"time"
)

// Clock returns the time that it was last set to, and does not advance by
// itself. It is safe for concurrent use. The zero Clock returns the zero time.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// New returns a clock that is set to a time.
func New(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the time that the clock is set to.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set sets the clock, forward or back.
func (c *Clock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// Advance moves the clock forward by d, or back if d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
