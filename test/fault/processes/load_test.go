package processes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

const (
	// size is how many sessions there are; every third is calm.
	size = 200
	// workers are those who ask, each of sessions of its own, at most every pace.
	workers = 8
	pace    = 300 * time.Millisecond
	// giveUp is how long a step is tried for, whatever is out of order.
	giveUp = 2 * time.Minute
)

// load is what people and pipelines ask for while things go wrong.
type load struct {
	seed  uint64
	tills []*till
	dice  [workers]*rand.Rand

	step    atomic.Int64 // the last one that was begun
	done    atomic.Int64 // how many are done
	stop    chan struct{}
	working sync.WaitGroup

	mu     sync.Mutex
	failed error
}

func newLoad(seed uint64) *load {
	l := &load{seed: seed}
	for i := range size {
		l.tills = append(l.tills, &till{name: fmt.Sprintf("till-%03d", i), calm: i%3 == 0, wish: wishGone})
	}
	for w := range workers {
		l.dice[w] = rand.New(rand.NewPCG(seed, uint64(w)))
	}
	return l
}

// where says how to find a moment again.
func (l *load) where() string { return fmt.Sprintf("seed %d, step %d", l.seed, l.step.Load()) }

// establish has every session created.
func (l *load) establish(t *testing.T) {
	t.Helper()
	l.each(func(w int) {
		for i := w; i < len(l.tills); i += workers {
			l.note(l.tills[i].create(t.Context(), l.step.Add(1)))
		}
	})
	l.working.Wait()
	must(t, l.failed)
}

// begin has the workers work until end.
func (l *load) begin(ctx context.Context) {
	l.stop = make(chan struct{})
	l.each(func(w int) {
		ticks := time.NewTicker(pace)
		defer ticks.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-ticks.C:
			}
			mine := l.tills[w+workers*l.dice[w].IntN(len(l.tills)/workers)]
			l.note(l.ask(ctx, mine, l.dice[w]))
		}
	})
}

// end lets the workers finish what they have begun.
func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.working.Wait()
	if l.failed != nil {
		t.Fatalf("%s: %v", l.where(), l.failed)
	}
}

func (l *load) each(work func(worker int)) {
	for w := range workers {
		l.working.Go(func() { work(w) })
	}
}

func (l *load) note(err error) {
	if err == nil {
		l.done.Add(1)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

// ask asks for something that can be asked for as things are.
func (l *load) ask(ctx context.Context, t *till, dice *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	chance := dice.IntN(100) // thrown each time, so that a worker's dice do not depend on what it finds
	now, err := look(ctx, t.name)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", t, err)
	}
	do := l.next(t, now, chance)
	if do == nil {
		return nil
	}
	if err := do(ctx, l.step.Add(1)); err != nil {
		return fmt.Errorf("asking for what is last of %s: %w", t, err)
	}
	return nil
}

type request func(ctx context.Context, step int64) error

// next is what is asked for of a session next; nil is nothing, for now.
func (l *load) next(t *till, now *v1.TerminalSession, chance int) request {
	switch t.wish {
	case wishGone:
		if now == nil {
			return t.create
		}
	case wishOut:
		return func(ctx context.Context, step int64) error { return t.want(ctx, step, v1.LoggedIn) }
	case wishBanned:
		if chance < 60 {
			return t.lift
		}
	case wishHeld:
		if isHeld(now) && chance < 60 {
			return t.login
		}
	case wishIn:
		return l.disturb(t, now, chance)
	}
	return nil
}

// disturb is what is asked for of a session that is wanted.
func (l *load) disturb(t *till, now *v1.TerminalSession, chance int) request {
	switch {
	case isHeld(now):
		return nil // who has asked for a login waits for it: a ban or a logout that came before it would be the answer to it
	case t.calm || chance < 35:
		return t.renewal
	case chance < 50:
		return t.handOver
	case chance < 62:
		return func(ctx context.Context, step int64) error { return t.want(ctx, step, v1.LoggedOut) }
	case chance < 74:
		return t.ban
	case chance < 84:
		return t.delete
	case canBeSignedOut(now):
		return t.signOut
	}
	return t.renewal
}
