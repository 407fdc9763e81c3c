package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// progress tells how far the bench is: on a terminal by a bar that is drawn over, elsewhere by a line now and then.
type progress struct {
	to       *os.File
	terminal bool

	mu    sync.Mutex
	what  string
	total int
	began time.Time
	told  time.Time
}

func newProgress(out *os.File) *progress {
	info, err := out.Stat()
	return &progress{to: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// say tells what comes next, of which there is no measure.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.to, "==> "+format+"\n", args...)
}

// bar begins something that is done when it has come to total.
func (p *progress) bar(total int, format string, args ...any) *progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.what, p.total, p.began, p.told = fmt.Sprintf(format, args...), total, time.Now(), time.Now()
	if !p.terminal {
		fmt.Fprintf(p.to, "  %s (%d)\n", p.what, total)
	}
	return p
}

// at tells how far that is.
func (p *progress) at(done int) {
	if p == nil {
		return // nobody is told
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	every := 10 * time.Second
	if p.terminal {
		every = 100 * time.Millisecond
	}
	if time.Since(p.told) < every {
		return
	}
	p.told = time.Now()
	line := drawBar(p.what, done, p.total, time.Since(p.began))
	if p.terminal {
		fmt.Fprint(p.to, "\r\x1b[K"+line)
	} else {
		fmt.Fprintln(p.to, line)
	}
}

// clear takes the bar away.
func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}

func drawBar(what string, done, total int, took time.Duration) string {
	const width = 30
	full := width * min(done, total) / max(total, 1)
	return fmt.Sprintf("  %-40.40s [%s%s] %d/%d  %.0f/s", what, strings.Repeat("#", full), strings.Repeat(".", width-full), done, total,
		float64(done)/max(took.Seconds(), 0.001))
}
