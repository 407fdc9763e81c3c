package fault_test

import (
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// queue is a controller's queue whose delays go by the run's clock. It keeps to what a PriorityQueue promises: one place for each request,
// the highest of its priorities, the soonest of its times, and nobody twice at a time. It is not controller-runtime's own with something
// around it, since that hands over between goroutines of its own: whether it is idle could not be told for certain.
type queue struct {
	clock   *stepped
	limiter workqueue.TypedRateLimiter[reconcile.Request]

	mu      sync.Mutex
	woken   *sync.Cond
	waiting map[reconcile.Request]*entry
	working map[reconcile.Request]bool
	// added counts the entries there have been: first come, first served, among those of one priority.
	added int
	// served is whether somebody works on it: a controller begins when it has heard of everything that there is.
	served, shutDown bool
}

// entry is a request that waits; at a time that is not over, or zero for now.
type entry struct {
	priority, number int
	at               time.Time
}

var _ priorityqueue.PriorityQueue[reconcile.Request] = (*queue)(nil)

func newQueue(c *stepped, limiter workqueue.TypedRateLimiter[reconcile.Request]) *queue {
	q := &queue{clock: c, limiter: limiter, waiting: map[reconcile.Request]*entry{}, working: map[reconcile.Request]bool{}}
	q.woken = sync.NewCond(&q.mu)
	return q
}

// AddWithOpts implements priorityqueue.PriorityQueue.
func (q *queue) AddWithOpts(o priorityqueue.AddOpts, requests ...reconcile.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range requests {
		after := o.After
		if o.RateLimited {
			if limited := q.limiter.When(r); after == 0 || limited < after {
				after = limited
			}
		}
		at := time.Time{}
		if after > 0 {
			at = q.clock.Now().Add(after)
		}
		q.add(r, ptr.Deref(o.Priority, 0), at)
		q.woken.Signal()
	}
}

// add is called under the lock.
func (q *queue) add(r reconcile.Request, priority int, at time.Time) {
	e := q.waiting[r]
	if e == nil {
		q.added++
		q.waiting[r] = &entry{priority: priority, number: q.added, at: at}
		return
	}
	if at.Before(e.at) {
		e.at = at
	}
	if priority > e.priority {
		q.added++
		e.priority, e.number = priority, q.added
	}
}

// GetWithPriority implements priorityqueue.PriorityQueue.
func (q *queue) GetWithPriority() (r reconcile.Request, priority int, shutdown bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.served = true
	for !q.shutDown {
		if r, e := q.first(); e != nil {
			delete(q.waiting, r)
			q.working[r] = true
			return r, e.priority, false
		}
		q.woken.Wait()
	}
	return r, 0, true
}

// first is whose turn it is, under the lock; nil for nobody's.
func (q *queue) first() (first reconcile.Request, of *entry) {
	now := q.clock.Now()
	for r, e := range q.waiting {
		if q.working[r] || e.at.After(now) {
			continue
		}
		if of == nil || e.priority > of.priority || e.priority == of.priority && e.number < of.number {
			first, of = r, e
		}
	}
	return first, of
}

// Done implements workqueue.TypedInterface.
func (q *queue) Done(r reconcile.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.working, r)
	q.woken.Signal() // somebody may have waited for this very request
}

// wake has those go whose time has come.
func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.woken.Broadcast()
}

// begun is whether its controller works.
func (q *queue) begun() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.served
}

// busy is how many are being worked on, and how many more could be.
func (q *queue) busy() (working, ready int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.clock.Now()
	for r, e := range q.waiting {
		if !e.at.After(now) && !q.working[r] {
			ready++
		}
	}
	return len(q.working), ready
}

// entries is how many there have been.
func (q *queue) entries() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.added
}

// next is the soonest time that somebody waits for; zero if nobody does.
func (q *queue) next() (soonest time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.waiting {
		if soonest.IsZero() || e.at.Before(soonest) {
			soonest = e.at
		}
	}
	return soonest
}

// The rest of priorityqueue.PriorityQueue.

func (q *queue) Add(r reconcile.Request) { q.AddWithOpts(priorityqueue.AddOpts{}, r) }
func (q *queue) AddAfter(r reconcile.Request, d time.Duration) {
	q.AddWithOpts(priorityqueue.AddOpts{After: d}, r)
}
func (q *queue) AddRateLimited(r reconcile.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{RateLimited: true}, r)
}
func (q *queue) Forget(r reconcile.Request)          { q.limiter.Forget(r) }
func (q *queue) NumRequeues(r reconcile.Request) int { return q.limiter.NumRequeues(r) }
func (q *queue) ShutDownWithDrain()                  { q.ShutDown() }

func (q *queue) Get() (reconcile.Request, bool) {
	r, _, shutdown := q.GetWithPriority()
	return r, shutdown
}

func (q *queue) ShutDown() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shutDown = true
	q.woken.Broadcast()
}

func (q *queue) ShuttingDown() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.shutDown
}

func (q *queue) Len() int {
	_, ready := q.busy()
	return ready
}
