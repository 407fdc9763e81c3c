package fault_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mostTries is how often a run is begun until the step comes at which something is to be done.
const mostTries = 8

// disturbed plays a scenario with something done to one of its steps. Where several calls are made at the same time the step may not come,
// and the run is made again; a run in which nothing was done is counted as missed.
func disturbed(t *testing.T, s scenario, where step, do disturbance) {
	t.Helper()
	t.Parallel()
	came := false
	for range mostTries {
		tally.run(t)
		disturb, done := at(where, do)
		perform(t, s, func(r *run) { r.disturb = disturb })
		if came = done(); came {
			return
		}
	}
	tally.missed(t)
}

// perform plays a scenario, with whatever prepare has in store for it once everything is as it was before, and checks what came of it.
func perform(t *testing.T, s scenario, prepare func(*run)) *run {
	t.Helper()
	r := newRun(t, s)
	r.bring()
	prepare(r)
	r.act()
	r.check()
	r.stop()
	return r
}

// bring brings about what is there before, with nothing going wrong.
func (r *run) bring() {
	r.t.Helper()
	r.start()
	r.provide()
	r.settleFor(time.Second)
	for _, a := range r.scenario.bring {
		a.do(r)
		r.settleFor(bringTime)
	}
}

// bringTime is longer than the time until a provider is looked at again, which is when status tells what was learnt of it.
const bringTime = 11 * time.Minute

// act has people do what they do.
func (r *run) act() {
	r.t.Helper()
	r.mu.Lock()
	r.acting = true
	r.mu.Unlock()
	for _, a := range r.scenario.act {
		a.do(r)
		switch look := max(a.look, r.leading); look {
		case 0:
			r.settle()
		default:
			r.settleFor(look)
		}
	}
	r.mu.Lock()
	finally := r.finally
	r.mu.Unlock()
	if finally != nil {
		finally(r)
	}
}

// check checks what there is now, and that a restart has nothing to do.
func (r *run) check() {
	r.t.Helper()
	seen := r.look()
	wrong, orphans := seen.violations()
	wrong = append(wrong, seen.differences(r.scenario.want)...)
	r.mu.Lock()
	admitted := r.admitted
	r.mu.Unlock()
	if len(orphans) > admitted {
		wrong = append(wrong, fmt.Sprintf("%v are live at the provider and nobody's, where %d orphans are excused", orphans, admitted))
	}
	if len(wrong) > 0 {
		r.fail("it does not keep what is promised:\n  %s", strings.Join(wrong, "\n  "))
	}
	tally.orphans(r.t, len(orphans))
	r.restartAtRest()
}

// restartAtRest restarts the manager where nothing is to be done.
func (r *run) restartAtRest() {
	r.t.Helper()
	r.mu.Lock()
	r.acting, r.disturb, r.turns = false, nil, nil
	writes, calls := r.writes, r.calls
	r.mu.Unlock()
	for _, p := range r.living() {
		p.kill()
	}
	r.settleFor(time.Minute)
	r.mu.Lock()
	writes, calls = r.writes-writes, r.calls-calls
	r.mu.Unlock()
	if writes > 0 || calls > 0 {
		r.fail("a restart at rest makes %d writes and %d calls of the provider, want none", writes, calls)
	}
}

// eachScenario runs a test for each scenario, all at a time. In the short version pick makes but one of so many runs of each.
func eachScenario(t *testing.T, many int, test func(t *testing.T, s scenario, pick picker)) {
	for i, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			test(t, s, every(many, i))
		})
	}
}

// picker makes a run, if it is among those that are made.
type picker func(t *testing.T, name string, play func(*testing.T))

// every is a picker of one of so many runs, not the same of each scenario.
func every(many, counted int) picker {
	return func(t *testing.T, name string, play func(*testing.T)) {
		counted++
		if *whole || counted%many == 0 {
			t.Run(name, play)
		}
	}
}

// stepsOf are the steps of a scenario in which nothing goes wrong.
func stepsOf(t *testing.T, s scenario) []step {
	t.Helper()
	if known, recorded := recordings.Load(s.name); recorded {
		return known.([]step)
	}
	r := perform(t, s, func(*run) {})
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.steps) == 0 {
		t.Fatal("the scenario has no steps")
	}
	recordings.Store(s.name, slices.Clone(r.steps))
	return r.steps
}

// recordings are the steps by the scenario's name. The tests come one after the other, so each is recorded once.
var recordings sync.Map

// at makes a disturbance of what is to be done at one step, and tells whether that came.
func at(where step, do disturbance) (d disturbance, came func() bool) {
	var mu sync.Mutex
	done := false
	return func(p *process, s step, send func() (*http.Response, error)) (*http.Response, error) {
			mu.Lock()
			here := s.is(where) && !done
			done = done || here
			mu.Unlock()
			if !here {
				return send()
			}
			return do(p, s, send)
		}, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return done
		}
}

// again is how a test is run again.
func again(t *testing.T) string {
	parts := strings.Split(t.Name(), "/")
	for i := range parts {
		parts[i] = "^" + parts[i] + "$"
	}
	return fmt.Sprintf("go test ./test/fault -run '%s' -args -whole -seed %d", strings.Join(parts, "/"), *seed)
}
