package fault_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// disturbance is what is done to a step in place of just making the call.
type disturbance func(p *process, s step, do func() (*http.Response, error)) (*http.Response, error)

// run is one scenario, once: with a namespace, a namespace for the controller's own Secrets, an issuer and a clock of its own.
type run struct {
	t              *testing.T
	ctx            context.Context
	scenario       scenario
	namespace, own string
	clock          *stepped
	feed           *feed
	issuer         *issuer
	// disturb, where it is set, is asked at each step of the scenario.
	disturb disturbance
	// turns, where it is set, says in which order two leaders make their calls.
	turns *turns

	mu        sync.Mutex
	processes []*process
	started   int
	trace     []string
	failure   error
	// acting is whether the scenario has begun: steps are counted from then on.
	acting bool
	steps  []step
	nth    map[string]int
	// changes counts the writes to each resource, by whomever; writes are those of managers, and calls those of the provider.
	changes       map[string]int
	writes, calls int
	lastWrite     time.Time
	// kept are the access tokens that were ever written to a Secret, and the session that each is of; none where it is to be revoked.
	kept map[string]string
	// interrupted is whether people have done what they do while the provider is asked.
	interrupted bool
	// lastCall is the last call of the provider, overlaps how many calls for tokens two leaders made, and admitted how many orphans all that
	// excuses.
	lastCall           string
	overlaps, admitted int
	// finally is what is done to a run that has come to rest, before it is checked.
	finally func(*run)
	// leading is for how long people look on at each thing that they do while there are two leaders; zero for there are none.
	leading time.Duration
	// letGoes is what is done when caches that were held back are let go.
	letGoes func()
	// lag counts down the looks until what is held back is let go; zero for nothing is.
	lag int
}

func newRun(t *testing.T, s scenario) *run {
	t.Helper()
	r := &run{
		t: t, ctx: t.Context(), scenario: s, clock: newStepped(), feed: newFeed(),
		nth: map[string]int{}, changes: map[string]int{}, kept: map[string]string{},
	}
	r.namespace = r.makeNamespace("run-")
	r.own = r.makeNamespace("own-")
	r.issuer = &issuer{name: r.namespace, url: plane.identity.URL + "/" + r.namespace, seam: r.asked, given: r.meanwhile, book: &book{clock: r.clock}}
	plane.identity.open(r.issuer)
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("what happened:\n%s", strings.Join(r.told(), "\n"))
		}
	})
	return r
}

func (r *run) makeNamespace(prefix string) string {
	r.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}
	if err := plane.admin.Create(r.ctx, ns); err != nil {
		r.t.Fatal(err)
	}
	return ns.Name
}

// stop ends everything that a run has.
func (r *run) stop() {
	for _, p := range r.living() {
		p.kill()
	}
	plane.identity.close(r.issuer)
}

// afterwards has something done once a run has come to rest, before it is checked.
func (r *run) afterwards(do func(*run)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finally = do
}

// whenLetGo has something done when caches that are held back are let go.
func (r *run) whenLetGo(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.letGoes = do
}

// then has something else done to the steps that follow.
func (r *run) then(d disturbance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disturb = d
}

// step makes one call of a manager's, or does to it what is to be done.
func (r *run) step(p *process, name string, do func() (*http.Response, error)) (*http.Response, error) {
	r.mu.Lock()
	if !r.acting {
		r.mu.Unlock()
		r.note("process %d: %s, before the scenario", p.number, name)
		return do()
	}
	r.nth[name]++
	s := step{number: len(r.steps) + 1, nth: r.nth[name], name: name}
	r.steps = append(r.steps, s)
	disturb, order := r.disturb, r.turns
	r.mu.Unlock()
	if order != nil {
		order.wait()
	}
	r.note("process %d: step %d, %s", p.number, s.number, name)
	if disturb == nil {
		disturb = undisturbed
	}
	answer, err := disturb(p, s, do)
	switch {
	case err != nil:
		r.note("process %d: step %d ended with: %v", p.number, s.number, err)
	case answer.StatusCode >= 400:
		r.note("process %d: step %d was answered with %d", p.number, s.number, answer.StatusCode)
	}
	return answer, err
}

func undisturbed(_ *process, _ step, do func() (*http.Response, error)) (*http.Response, error) {
	return do()
}

// asked is around each call of the provider.
func (r *run) asked(call string, do func() (*http.Response, error)) (*http.Response, error) {
	living := r.living()
	if len(living) == 0 {
		return nil, errDead
	}
	if call == askDiscovery || call == askIntrospect { // at times of their own, whatever the scenario is
		return do()
	}
	r.mu.Lock()
	r.calls++
	r.mu.Unlock()
	p := living[len(living)-1]
	answer, err := r.step(p, call, func() (*http.Response, error) {
		r.mu.Lock()
		r.lastCall = call
		r.mu.Unlock()
		return do()
	})
	if err == nil && p.isDead() {
		answer.Body.Close()
		return nil, errDead
	}
	return answer, err
}

// wrote notes a write of a manager's that was carried out.
func (r *run) wrote(q request) {
	session, token := tokenIn(q)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes[q.kind()]++
	r.writes++
	r.lastWrite = r.clock.Now()
	if token != "" {
		r.kept[token] = session
	}
}

// touch notes a write of somebody else's.
func (r *run) touch(resource string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes[resource]++
}

func (r *run) changeOf(resource string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changes[resource]
}

func (r *run) living() (living []*process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.processes {
		if !p.isDead() {
			living = append(living, p)
		}
	}
	return living
}

// note puts a line into the trace.
func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trace = append(r.trace, fmt.Sprintf(r.clock.Now().Format("15:04:05.000 ")+format, args...))
}

func (r *run) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trace
}

// broken has the run fail for something that is wrong with a manager as a whole.
func (r *run) broken(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure == nil {
		r.failure = err
	}
}

func (r *run) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf(format+"\nonce more: %s", append(args, again(r.t))...)
}
