package controllers

import (
	"container/heap"
	"errors"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1 "terminals.dev/session-controller/api/v1"
)

// visit is when somebody comes who asks for leave.
type visit struct {
	comer
	at time.Time
}

// visits are in the order of a queue: by time, and those of one moment by urgency.
type visits []visit

func (v visits) Len() int { return len(v) }
func (v visits) Less(i, j int) bool {
	if !v[i].at.Equal(v[j].at) {
		return v[i].at.Before(v[j].at)
	}
	return v[i].priority > v[j].priority
}
func (v visits) Swap(i, j int) { v[i], v[j] = v[j], v[i] }
func (v *visits) Push(x any)   { *v = append(*v, x.(visit)) }
func (v *visits) Pop() any {
	last := len(*v) - 1
	x := (*v)[last]
	*v = (*v)[:last]
	return x
}

func named(i int, priority int) comer {
	return comer{types.NamespacedName{Name: fmt.Sprint(i)}, priority}
}

// play has all come, and again when they were told to, until somebody says that it is enough. It tells how often anybody came.
func play(t *testing.T, spec v1.RateLimit, all *visits, served func(visit) (enough bool)) (came int) {
	t.Helper()
	l, g := &limit{}, &gate{}
	l.follow(&v1.SessionProviderSpec{RateLimit: spec}, (*all)[0].at)
	heap.Init(all)
	for all.Len() > 0 {
		v := heap.Pop(all).(visit)
		came++
		leave, err := g.enter(v.at, v.comer, "p", "1", l)
		if full := (*noRoom)(nil); errors.As(err, &full) {
			v.at = v.at.Add(full.wait)
			heap.Push(all, v)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		leave(verdict{began: v.at, done: v.at})
		if served(v) {
			break
		}
	}
	return came
}

func TestTheMostUrgentGoesFirstHoweverManyWait(t *testing.T) {
	t.Parallel()
	for _, n := range []int{100, 1000, 5000} {
		start := time.Unix(1_800_000_000, 0)
		all := &visits{}
		for i := range n {
			*all = append(*all, visit{named(i, 10), start.Add(time.Duration(i) * 700 * time.Microsecond)})
		}
		urgent := start.Add(1037 * time.Millisecond)
		*all = append(*all, visit{named(-1, 60), urgent})
		waited := time.Hour
		play(t, v1.RateLimit{RequestsPerSecond: 10, Burst: 10, Concurrent: 16}, all, func(v visit) bool {
			if v.priority == 60 {
				waited = v.at.Sub(urgent)
			}
			return v.priority == 60
		})
		if waited > time.Second {
			t.Errorf("among %d others it waits for %s", n, waited)
		}
	}
}

func TestTheUrgentTakeNothingFromWhatAProviderMayBeAsked(t *testing.T) {
	t.Parallel()
	for _, spec := range []v1.RateLimit{
		{RequestsPerSecond: 50, Burst: 100, Concurrent: 16}, {RequestsPerSecond: 10, Burst: 1, Concurrent: 1}, {RequestsPerSecond: 5, Burst: 5, Concurrent: 16},
	} {
		const n = 1000
		start := time.Unix(1_800_000_000, 0)
		all := &visits{}
		for i := range n {
			*all = append(*all, visit{named(i, 20+i%70), start.Add(time.Duration(i) * time.Millisecond)})
		}
		var last time.Time
		count := 0
		came := play(t, spec, all, func(v visit) bool {
			count++
			last = v.at
			return false
		})
		least := time.Duration(n-int(spec.Burst)) * time.Second / time.Duration(spec.RequestsPerSecond)
		if took := last.Sub(start); count != n || took > least*21/20+farthestPlace {
			t.Errorf("%+v: %d were served within %s, want all within %s", spec, count, took, least)
		}
		// Of the 1,000 in the line each comes once in 15 s, and those in the front a few times for each turn.
		if most := n*int(last.Sub(start)/farthestPlace+2) + 6*n; came > most {
			t.Errorf("%+v: they came %d times, want at most %d", spec, came, most)
		}
	}
}

func TestNobodyWaitsLongForSomebodyUrgentWhoDoesNotComeBack(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	l, g := &limit{}, &gate{}
	l.follow(&v1.SessionProviderSpec{RateLimit: v1.RateLimit{RequestsPerSecond: 1, Burst: 1, Concurrent: 16}}, now)
	if _, err := g.enter(now, named(0, 10), "p", "1", l); err != nil {
		t.Fatal(err)
	}
	if _, err := g.enter(now, named(1, 90), "p", "1", l); err == nil {
		t.Fatal("there is leave")
	}
	now = now.Add(1500 * time.Millisecond)
	if _, err := g.enter(now, named(2, 10), "p", "1", l); err == nil {
		t.Error("somebody who is less urgent takes its turn")
	}
	now = now.Add(frontPatience)
	if _, err := g.enter(now, named(2, 10), "p", "1", l); err != nil {
		t.Errorf("it is waited for although it does not come: %v", err)
	}
}

func TestTheFrontHasTheMostUrgentInTheirOrder(t *testing.T) {
	t.Parallel()
	var f front
	for i := range 100 {
		f.join(named(i, i*37%100))
	}
	if len(f) != frontSize {
		t.Fatalf("there are %d", len(f))
	}
	for i, a := range f {
		if a.priority != 99-i {
			t.Errorf("at %d there is one of priority %d", i, a.priority)
		}
	}
	if rank, ok := f.join(named(-1, 92)); ok {
		t.Errorf("one as urgent as the last takes a place, at %d", rank)
	}
	if n := f.ahead(time.Time{}, named(-1, 95)); n != 4 {
		t.Errorf("%d are ahead of 95, want 4", n)
	}
}

func TestACallThatIsNotMadeCostsNoTurn(t *testing.T) {
	t.Parallel()
	a := newAsker(t, v1.RateLimit{RequestsPerSecond: 1, Burst: 5, Concurrent: 16})
	for range 50 {
		if err := a.ask(errNotAsked, 0); !errors.Is(err, errNotAsked) {
			t.Fatal(err)
		}
	}
	for range 5 {
		if err := a.ask(nil, 0); err != nil {
			t.Errorf("calls that were not made have used up the burst: %v", err)
		}
	}
	if err := a.ask(nil, 0); err == nil {
		t.Error("calls that were not made have made room for more")
	}
}
