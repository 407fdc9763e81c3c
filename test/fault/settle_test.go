package fault_test

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// restAfter is for how long nothing must be written until a run is at rest. Longer than every backoff, and than a provider in order is
	// left alone; shorter than until a renewal is due.
	restAfter = 30 * time.Minute
	// mostSteps is how often the clock may be stepped, and mostWrites how much may be written, until a run is at rest.
	mostSteps, mostWrites = 400, 200
	// patience is how long, by this machine's clock, one thing may take that is done without waiting for a time of day.
	patience = time.Minute
	// lookEvery is how often it is looked whether it is done.
	lookEvery = time.Millisecond
	// lagLooks is how often the clock is stepped while caches are held back.
	lagLooks = 25
)

// settle lets time pass until nothing has been written for long.
func (r *run) settle() {
	r.t.Helper()
	r.pass(func(next, quiet time.Time) bool { return next.IsZero() || next.After(quiet.Add(restAfter)) })
}

// settleFor lets so much time pass, at most.
func (r *run) settleFor(d time.Duration) {
	r.t.Helper()
	until := r.clock.Now().Add(d)
	r.pass(func(next, _ time.Time) bool { return next.IsZero() || next.After(until) })
	r.stepTo(until)
}

// pass steps the clock from one time that a controller waits for to the next, until that is one to stop before. quiet is since when nothing
// has been written.
func (r *run) pass(stop func(next, quiet time.Time) bool) {
	r.t.Helper()
	began, writes := r.clock.Now(), r.written()
	for range mostSteps {
		r.quiesce()
		next, quiet := r.next(), r.quietSince(began)
		if !r.isQuiet() || !r.next().Equal(next) {
			continue
		}
		if stop(next, quiet) {
			if !r.letGo() {
				return
			}
			began = r.clock.Now() // what is held back may have been all that kept it from writing
			continue
		}
		r.countDown()
		if r.written()-writes > mostWrites {
			r.fail("it does not come to rest: more than %d writes", mostWrites)
		}
		r.stepTo(next)
	}
	r.fail("it does not come to rest: the clock was stepped %d times", mostSteps)
}

// stepTo lets time pass.
func (r *run) stepTo(t time.Time) {
	r.clock.stepTo(t)
	for _, p := range r.living() {
		p.wake()
	}
}

func (r *run) next() (soonest time.Time) {
	for _, p := range r.living() {
		if at := p.next(); !at.IsZero() && (soonest.IsZero() || at.Before(soonest)) {
			soonest = at
		}
	}
	return soonest
}

func (r *run) quietSince(began time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lastWrite.After(began) {
		return r.lastWrite
	}
	return began
}

func (r *run) written() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes
}

// quiesce waits until no manager has anything left to do before time passes. One that was killed is followed by another.
func (r *run) quiesce() {
	r.t.Helper()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	deadline := time.Now().Add(patience)
	for !r.isQuiet() {
		if err := r.failed(); err != nil {
			r.fail("%v", err)
		}
		if time.Now().After(deadline) {
			r.fail("it does not get anywhere within %v: %s", patience, r.state())
		}
		r.revive()
		if r.turns != nil {
			r.turns.give(r.living())
		}
		<-look.C
	}
}

func (r *run) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

// revive starts another manager where there is none any more.
func (r *run) revive() {
	r.t.Helper()
	if len(r.living()) > 0 {
		return
	}
	r.mu.Lock()
	dead := r.processes
	r.mu.Unlock()
	for _, p := range dead {
		if p.asking.Load() > 0 {
			return // what it has asked is about to break off
		}
	}
	r.start()
}

func (r *run) isQuiet() bool {
	living, before, after := r.living(), 0, 0
	if !idle(living) {
		return false
	}
	for _, p := range living {
		before += p.entries()
	}
	for _, p := range living {
		if !p.upToDate() {
			return false
		}
	}
	for _, p := range living {
		after += p.entries()
	}
	return idle(r.living()) && before == after
}

func idle(all []*process) bool {
	for _, p := range all {
		if working, ready := p.working(); !p.begun() || working+ready > 0 || p.concerned.Load() > 0 {
			return false
		}
	}
	return len(all) > 0
}

// state says what a run waits for.
func (r *run) state() string {
	text := ""
	for _, p := range r.living() {
		working, ready := p.working()
		text += fmt.Sprintf("process %d: begun %v, %d reconciles and %d calls under way, %d ready, up to date %v; ",
			p.number, p.begun(), working, p.concerned.Load(), ready, p.upToDate())
	}
	return text
}

// live is what the API server has of a resource: the versions of everything that the caches may show.
func (r *run) live(resource string) map[types.NamespacedName]string {
	live := map[types.NamespacedName]string{}
	namespaces := []string{r.namespace}
	if resource == secrets {
		namespaces = append(namespaces, r.own)
	}
	for _, namespace := range namespaces {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(watched[resource].GroupVersion().WithKind(watched[resource].Kind + "List"))
		if err := plane.admin.List(r.ctx, list, client.InNamespace(namespace)); err != nil {
			r.broken(fmt.Errorf("listing %s: %w", resource, err))
		}
		for i := range list.Items {
			live[client.ObjectKeyFromObject(&list.Items[i])] = version(&list.Items[i])
		}
	}
	return live
}

// lags holds caches back for a while from now on.
func (r *run) lags() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lag = lagLooks
}

// countDown brings the end of a lag nearer.
func (r *run) countDown() {
	r.mu.Lock()
	last := r.lag == 1
	if r.lag > 1 {
		r.lag--
	}
	r.mu.Unlock()
	if last {
		r.letGo()
	}
}

// letGo ends a lag. It tells whether there was one.
func (r *run) letGo() bool {
	r.mu.Lock()
	lagged, do := r.lag > 0, r.letGoes
	r.lag, r.letGoes = 0, nil
	r.mu.Unlock()
	if !lagged {
		return false
	}
	r.note("the caches are let go")
	if do != nil {
		do()
	}
	r.feed.showPast("", none)
	r.feed.hold(none)
	return true
}
