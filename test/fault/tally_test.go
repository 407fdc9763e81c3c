package fault_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// tally counts what was done, by test.
var tally counts

type counts struct {
	mu    sync.Mutex
	order []string
	of    map[string]*count
}

// count is of one test. orphans are those that were excused, and missed the steps that did not come.
type count struct {
	runs, missed, failures, orphans int
	began, ended                    time.Time
}

// mostMissed is of how many steps one may not come.
const mostMissed = 50

func (c *counts) at(t *testing.T) *count {
	name, _, _ := strings.Cut(t.Name(), "/")
	if c.of == nil {
		c.of = map[string]*count{}
	}
	if c.of[name] == nil {
		c.order = append(c.order, name)
		c.of[name] = &count{began: time.Now()}
	}
	return c.of[name]
}

// run counts a run, and how it ends.
func (c *counts) run(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.at(t)
	of.runs++
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		of.ended = time.Now()
		if t.Failed() {
			of.failures++
		}
	})
}

func (c *counts) orphans(t *testing.T, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at(t).orphans += n
}

func (c *counts) missed(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at(t).missed++
}

// thin is whether so many steps did not come that the rest proves too little.
func (c *counts) thin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	runs, missed := 0, 0
	for _, of := range c.of {
		runs, missed = runs+of.runs, missed+of.missed
	}
	return missed*mostMissed > runs
}

// String is a table.
func (c *counts) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := &strings.Builder{}
	w := tabwriter.NewWriter(text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "test\truns\tmissed\tfailures\torphans excused\tseconds\t")
	for _, name := range c.order {
		of := c.of[name]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.0f\t\n", name, of.runs, of.missed, of.failures, of.orphans, of.ended.Sub(of.began).Seconds())
	}
	w.Flush()
	return text.String()
}
