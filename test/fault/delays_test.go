package fault_test

import (
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func named(name string) (r reconcile.Request) {
	r.Name = name
	return r
}

func TestTheQueueWaitsByTheRunsClock(t *testing.T) {
	clock := newStepped()
	q := newQueue(clock, workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Second, time.Minute))
	q.AddAfter(named("later"), time.Hour)
	q.AddRateLimited(named("failed"))
	q.AddWithOpts(priorityqueue.AddOpts{Priority: new(1)}, named("usual"))
	q.AddWithOpts(priorityqueue.AddOpts{Priority: new(9)}, named("urgent"))
	q.Add(named("urgent"))

	for _, want := range []string{"urgent", "usual"} {
		if r, _ := q.Get(); r.Name != want {
			t.Errorf("it gives %s, want %s", r.Name, want)
		}
	}
	q.Add(named("urgent")) // which is being worked on
	if working, ready := q.busy(); working != 2 || ready != 0 {
		t.Errorf("%d are worked on and %d more could be, want 2 and 0", working, ready)
	}
	q.Done(named("urgent"))
	if r, _ := q.Get(); r.Name != "urgent" {
		t.Errorf("it gives %s, want urgent again", r.Name)
	}
	if want := clock.Now().Add(time.Second); !q.next().Equal(want) {
		t.Errorf("the next is due at %v, want %v", q.next(), want)
	}
	clock.stepTo(clock.Now().Add(time.Hour))
	q.AddAfter(named("failed"), time.Hour) // which is sooner than that already
	if _, ready := q.busy(); ready != 2 {
		t.Errorf("%d could be worked on when their time has come, want 2", ready)
	}
}
