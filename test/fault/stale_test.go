package fault_test

import (
	"net/http"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
)

// behind are the caches that can be behind: all of them, or one kind while the others are up to date.
var behind = []struct {
	name string
	of   func(resource string) bool
}{
	{"everything", all},
	{"sessions", only("terminalsessions")},
	{"secrets", only(secrets)},
}

func TestStaleReads(t *testing.T) {
	eachScenario(t, 23, func(t *testing.T, s scenario, pick picker) {
		for _, b := range behind {
			pick(t, "restarts_into_the_past_with_"+b.name+"_before_it_all", func(t *testing.T) { restartsBeforeItAll(t, s, b.of) })
			for _, where := range changing(stepsOf(t, s)) {
				pick(t, "goes_on_behind_with_"+b.name+"_from_"+where.title(), func(t *testing.T) { goesOn(t, s, where, b.of) })
				pick(t, "restarts_behind_with_"+b.name+"_before_"+where.title(), func(t *testing.T) { restartsBehind(t, s, where, b.of) })
				pick(t, "restarts_into_the_past_with_"+b.name+"_of_"+where.title(), func(t *testing.T) { restartsIntoThePast(t, s, where, b.of) })
			}
		}
	})
}

// goesOn has the caches learn nothing more from a step on, for a while, and the manager goes on.
func goesOn(t *testing.T, s scenario, where step, of func(string) bool) {
	disturbed(t, s, where, func(p *process, _ step, send func() (*http.Response, error)) (*http.Response, error) {
		p.run.note("the caches are held back")
		p.run.lags()
		p.run.feed.hold(of)
		return send()
	})
}

// restartsBehind kills the manager right after a step, and the next one does not see for a while what that step has changed.
func restartsBehind(t *testing.T, s scenario, where step, of func(string) bool) {
	disturbed(t, s, where, func(p *process, _ step, send func() (*http.Response, error)) (*http.Response, error) {
		past := p.run.version()
		if answer, err := send(); err == nil {
			answer.Body.Close()
		}
		p.run.excuse()
		p.run.note("process %d is killed, and the next sees version %s", p.number, past)
		p.run.lagFrom(past, of)
		p.kill()
		return nil, errDead
	})
}

// restartsIntoThePast restarts the manager when all is done, and has it see for a while how everything, or one kind, was before a step.
func restartsIntoThePast(t *testing.T, s scenario, where step, of func(string) bool) {
	disturbed(t, s, where, func(p *process, _ step, send func() (*http.Response, error)) (*http.Response, error) {
		past := p.run.version()
		p.run.afterwards(func(r *run) { r.restartInto(past, of) })
		return send()
	})
}

// restartsBeforeItAll is the same, with how things were before people did anything.
func restartsBeforeItAll(t *testing.T, s scenario, of func(string) bool) {
	t.Parallel()
	tally.run(t)
	perform(t, s, func(r *run) {
		past := r.version()
		r.afterwards(func(r *run) { r.restartInto(past, of) })
	})
}

// restartInto restarts the manager, and has it see a version for a while.
func (r *run) restartInto(past string, of func(string) bool) {
	r.note("the manager is killed, and the next sees version %s", past)
	r.lagFrom(past, of)
	for _, p := range r.living() {
		p.kill()
	}
	r.settle()
}

// version is the one that the API server is at.
func (r *run) version() string {
	list := &v1.TerminalSessionList{}
	if err := plane.admin.List(r.ctx, list, client.InNamespace(r.namespace), client.Limit(1)); err != nil {
		r.broken(err)
	}
	return list.ResourceVersion
}

// lagFrom has the managers that are started from now on see, for a while, how things were at a version.
func (r *run) lagFrom(past string, of func(string) bool) {
	r.lags()
	r.feed.hold(of)
	r.feed.showPast(past, of)
}
