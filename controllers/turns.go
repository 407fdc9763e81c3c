package controllers

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"terminals.dev/session-controller/internal/session"
)

// turns bound how many sessions are worked on at a time. There are more workers than turns, so that those who wait for a provider hold up
// nobody: they have given their turn back.
type turns struct {
	// most is how many there are; zero for no limit.
	most int

	mu      sync.Mutex
	taken   int
	waiting [lanes][]*waiting
}

// Who waits for a turn: ends go first, then what a provider has answered is kept, and only then somebody else begins.
const (
	laneEnd = iota
	laneAnswered
	laneBegin
	lanes
)

type waiting struct {
	key      types.NamespacedName
	priority int // within a lane
	given    chan struct{}
}

// take waits for a turn to begin with. Where there is none at once, priority tells how urgent the session is: after a start the queue has
// handed out the first sessions before it knew of more urgent ones. Without a turn, ctx is over.
func (t *turns) take(ctx context.Context, key types.NamespacedName, priority func() int) bool {
	mine := t.line(key, laneBegin)
	if mine == nil {
		return true
	}
	if p := priority(); p == session.PriorityEnd { // asked only now, so that an order that comes meanwhile is not missed
		t.hurry(key)
	} else {
		t.rank(mine, p)
	}
	return t.await(ctx, mine)
}

func (t *turns) rank(w *waiting, priority int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.priority = priority
}

// again takes a turn to go on with. It does so in any case: when ctx is over, nobody is kept from anything by one more.
func (t *turns) again(ctx context.Context, key types.NamespacedName, lane int) {
	if mine := t.line(key, lane); mine != nil && !t.await(ctx, mine) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.taken++
	}
}

// line takes a turn that is free, or a place in a lane.
func (t *turns) line(key types.NamespacedName, lane int) *waiting {
	if t.most == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken < t.most {
		t.taken++
		return nil
	}
	mine := &waiting{key: key, given: make(chan struct{})}
	t.waiting[lane] = append(t.waiting[lane], mine)
	return mine
}

func (t *turns) await(ctx context.Context, mine *waiting) bool {
	select {
	case <-mine.given:
		return true
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for lane, all := range t.waiting {
		if i := slices.Index(all, mine); i >= 0 {
			t.waiting[lane] = slices.Delete(all, i, i+1)
			return false
		}
	}
	return true // it was given at that very moment
}

// give gives a turn back, to whoever is next.
func (t *turns) give() {
	if t.most == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken <= t.most {
		for lane, all := range t.waiting {
			if len(all) > 0 {
				next := slices.MaxFunc(all, func(a, b *waiting) int { return cmp.Compare(a.priority, b.priority) }) // the first of them
				close(next.given)
				t.waiting[lane] = slices.DeleteFunc(all, func(w *waiting) bool { return w == next })
				return
			}
		}
	}
	t.taken--
}

// hurry has a session that waits for a turn be among the next, since it is to end.
func (t *turns) hurry(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for lane := laneEnd + 1; lane < lanes; lane++ {
		i := slices.IndexFunc(t.waiting[lane], func(w *waiting) bool { return w.key == key })
		if i >= 0 {
			t.waiting[lane][i].priority = session.PriorityEnd
			t.waiting[laneEnd] = append(t.waiting[laneEnd], t.waiting[lane][i])
			t.waiting[lane] = slices.Delete(t.waiting[lane], i, i+1)
			return
		}
	}
}
