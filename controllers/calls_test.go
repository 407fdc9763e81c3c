package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// enters begins calls to a provider until there is no room for more.
func enters(c *calls, of place) (n int) {
	for ; n < 2*waitingRoom; n++ {
		key := types.NamespacedName{Namespace: of.namespace, Name: fmt.Sprint(of.ref.Name, n)}
		if c.enter(context.Background(), key, of, time.Minute) == nil {
			break
		}
	}
	return n
}

func providerIn(namespace, name string) place {
	return place{true, namespace, v1.ProviderReference{Name: name}}
}

func TestNeitherProvidersNorNamespacesThatHangHoldUpOthers(t *testing.T) {
	t.Parallel()
	c := &calls{turns: turns{most: 1}}
	for _, test := range []struct {
		of   place
		want int
	}{
		{providerIn("", "hangs"), 64},
		{providerIn("shop", "a"), 64},
		{providerIn("shop", "b"), 64},
		{providerIn("shop", "c"), 0},
		{providerIn("bank", "a"), 64},
		{providerIn("", "more"), 0},
	} {
		if n := enters(c, test.of); n != test.want {
			t.Errorf("%v has room for %d calls, want %d", test.of, n, test.want)
		}
	}
	if c.enter(context.Background(), types.NamespacedName{Name: "x"}, place{}, time.Minute) == nil {
		t.Error("there is no room for an embedded provider, which nobody waits for")
	}
}

func TestOnlyWhoWaitsForAProviderHasGivenItsTurnBack(t *testing.T) {
	t.Parallel()
	a := newAsker(t, roomy)
	a.calls.turns.most = 2
	var working, most, asked int
	var mu sync.Mutex
	work := func() {
		mu.Lock()
		working++
		most = max(most, working)
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		working--
		mu.Unlock()
	}
	began, answer := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	for i := range 50 {
		s := &v1.TerminalSession{}
		s.Name = fmt.Sprint(i)
		all.Go(func() {
			if !a.calls.turns.take(context.Background(), types.NamespacedName{Name: s.Name}, func() int { return session.PriorityLogin }) {
				t.Error("there is no turn")
			}
			defer a.calls.turns.give()
			work()
			do := only(func(context.Context) error {
				began <- struct{}{}
				<-answer
				return nil
			})
			do.read = func(context.Context) error { // what a call takes is the API server's to give
				work()
				return nil
			}
			if err := a.calls.make(context.Background(), s, 0, a.to, do); err != nil {
				t.Error(err)
			}
			work()
		})
	}
	for range 50 { // none is answered before all are asked
		<-began
		asked++
	}
	close(answer)
	all.Wait()
	if most > 2 || asked != 50 || a.calls.turns.taken != 0 {
		t.Errorf("%d were worked on at a time, and %d turns are left taken", most, a.calls.turns.taken)
	}
}

func TestEndsGoBeforeAnswersAndAnswersBeforeOthersByUrgency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ts := &turns{most: 1}
		key := func(name string) types.NamespacedName { return types.NamespacedName{Name: name} }
		ts.take(t.Context(), key("first"), nil)
		var order []string
		wait := func(name string, take func()) {
			go func() {
				take()
				order = append(order, name)
				ts.give()
			}()
			synctest.Wait()
		}
		begin := func(name string, priority int) {
			wait(name, func() { ts.take(t.Context(), key(name), func() int { return priority }) })
		}
		begin("a", session.PriorityLogin)
		begin("b", session.PriorityLogin)
		begin("due", session.PriorityLogin+1)
		wait("answered", func() { ts.again(t.Context(), key("answered"), laneAnswered) })
		begin("ends", session.PriorityEnd)
		begin("banned", session.PriorityLogin)
		ts.hurry(key("banned"))
		ts.give()
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[ends banned answered due a b]" || ts.taken != 0 {
			t.Errorf("the order is %s, and %d turns are left taken", got, ts.taken)
		}
	})
}

func TestATurnIsNotWaitedForWhenTheProcessEnds(t *testing.T) {
	t.Parallel()
	ts, over := &turns{most: 1}, func() int { return session.PriorityLogin }
	ctx, stop := context.WithCancel(context.Background())
	ts.take(ctx, types.NamespacedName{Name: "a"}, over)
	stop()
	if ts.take(ctx, types.NamespacedName{Name: "b"}, over) {
		t.Error("somebody begins")
	}
	ts.again(ctx, types.NamespacedName{Name: "c"}, laneAnswered)
	ts.give()
	ts.give()
	if ts.taken != 0 || len(ts.waiting[laneBegin])+len(ts.waiting[laneAnswered]) != 0 {
		t.Errorf("left are %d turns and %v", ts.taken, ts.waiting)
	}
}

func TestACallThatPanicsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	a := newAsker(t, v1.RateLimit{RequestsPerSecond: 1000, Burst: 1000, Concurrent: 4})
	a.calls.turns.most = 1
	panics := func() {
		a.calls.turns.take(context.Background(), types.NamespacedName{}, func() int { return session.PriorityLogin })
		defer a.calls.turns.give()
		defer func() { _ = recover() }() // as controller-runtime does
		_ = a.calls.make(context.Background(), a.comes(), 0, a.to, only(func(context.Context) error { panic("a library's") }))
	}
	for range 5 {
		panics()
	}
	if err := a.ask(nil, 0); err != nil {
		t.Errorf("after calls that panicked nobody may ask: %v", err)
	}
	a.calls.turns.most = 0
	a.open()
	a.step(time.Second)
	panics()
	if err := a.ask(nil, 0); err != nil {
		t.Errorf("after a probe that panicked nobody may ask: %v", err)
	}
	if len(a.calls.underway) != 0 || a.calls.turns.taken != 0 {
		t.Errorf("left are %d calls and %d turns", len(a.calls.underway), a.calls.turns.taken)
	}
}

func TestForWhomThereIsNoRoomComesBackInTheProvidersLine(t *testing.T) {
	t.Parallel()
	a := newAsker(t, roomy)
	a.calls.turns.most = 1
	s := a.comes()
	enters(&a.calls, placeOf(s))
	for i := range 2000 {
		err := a.ask(nil, 0)
		full := (*noRoom)(nil)
		if !errors.As(err, &full) {
			t.Fatalf("the error is %v", err)
		}
		if want := min(time.Duration(i+1)*roomEvery, farthestPlace); full.wait != want {
			t.Fatalf("number %d comes back after %s, want %s", i, full.wait, want)
		}
	}
}
