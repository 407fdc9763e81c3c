package fault_test

import (
	"sync"
	"time"
)

// stepped is the time of day of one run. It stands still until the harness steps it, so what a run does does not hang on how fast this
// machine is.
type stepped struct {
	mu  sync.Mutex
	now time.Time
}

func newStepped() *stepped { return &stepped{now: time.Now()} }

// Now implements clock.PassiveClock.
func (c *stepped) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Since implements clock.PassiveClock.
func (c *stepped) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// stepTo lets time pass; it never goes back.
func (c *stepped) stepTo(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.now) {
		c.now = t
	}
}
