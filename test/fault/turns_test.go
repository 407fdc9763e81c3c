package fault_test

import (
	"math/rand/v2"
	"sync"
)

// turns says in which order two leaders make their calls: each waits until everybody who is at work waits, and then one is drawn by lot.
// So one leader stands still in the middle of something while the other goes on, in whatever way the seed has it.
type turns struct {
	mu      sync.Mutex
	lot     *rand.Rand
	waiting []chan struct{}
	over    bool
}

func newTurns(seed uint64) *turns {
	return &turns{lot: rand.New(rand.NewPCG(seed, 0))}
}

// wait waits for a turn.
func (o *turns) wait() {
	mine := make(chan struct{})
	o.mu.Lock()
	if o.over {
		o.mu.Unlock()
		return
	}
	o.waiting = append(o.waiting, mine)
	o.mu.Unlock()
	<-mine
}

// end lets everybody go.
func (o *turns) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	for _, w := range o.waiting {
		close(w)
	}
	o.waiting = nil
}

// give gives the turn to one of those who wait, where nobody is still on the way to waiting.
func (o *turns) give(living []*process) {
	o.mu.Lock()
	defer o.mu.Unlock()
	working := 0
	for _, p := range living {
		at, ready := p.working()
		if ready > 0 {
			return
		}
		working += at
	}
	if len(o.waiting) == 0 || working > len(o.waiting) {
		return
	}
	i := o.lot.IntN(len(o.waiting))
	close(o.waiting[i])
	o.waiting = append(o.waiting[:i], o.waiting[i+1:]...)
}
