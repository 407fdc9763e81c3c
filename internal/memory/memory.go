// Package memory keeps the process small: it runs beside tills, on nodes that have other work.
package memory

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"k8s.io/utils/clock"
)

const (
	// every is how often it is looked.
	every = 5 * time.Second
	// burst is how much must have been allocated, in bytes, for giving back to be worth a collection; calm is what is allocated at rest between two looks.
	burst = 8 << 20
	calm  = 1 << 20
)

// Release gives memory back to the system once a burst is over: reading a fleet at a start, or logging it in, takes several times what keeping
// it does, and the runtime by itself would hold on to that for minutes. It is a manager's Runnable, in every replica.
type Release struct {
	Clock clock.WithTicker
}

// NeedLeaderElection says no: a replica that stands by has read the fleet as well.
func (Release) NeedLeaderElection() bool { return false }

// Start looks until the context is done.
func (r Release) Start(ctx context.Context) error {
	ticker := r.Clock.NewTicker(every)
	defer ticker.Stop()
	var w watch
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			if w.over(allocated()) {
				giveBack()
				w.released = allocated()
			}
		}
	}
}

// giveBack collects what is garbage, and gives it back. Each collection halves the stacks of goroutines that are idle again, down to what they
// begin with: those of several hundred workers come to some MiB.
func giveBack() {
	for range 2 {
		runtime.GC()
	}
	debug.FreeOSMemory()
}

// watch tells when a burst is over.
type watch struct {
	// released and last are what had been allocated in all, when memory was given back last and at the last look.
	released, last uint64
}

func (w *watch) over(now uint64) bool {
	quiet := now-w.last < calm
	w.last = now
	return quiet && now-w.released >= burst
}

// allocated is how many bytes the process has allocated since it began.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
