package fault_test

import (
	"errors"
	"net/http"
)

// errCut is how a call ends whose connection breaks, and errDead how those of a manager end that was killed.
var (
	errCut  = errors.New("the connection broke")
	errDead = errors.New("the process was killed")
)

// wire lies between one manager and the API server. What the caches ask goes through the run's feed, and everything else is a step of the
// run, at which it can be disturbed.
type wire struct {
	process *process
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.process.isDead() {
		return nil, errDead
	}
	q, err := read(r)
	if err != nil {
		return nil, err
	}
	run := w.process.run
	send := func() (*http.Response, error) { return w.next.RoundTrip(r) }
	switch {
	case q.resource == "":
		return send()
	case q.verb == verbWatch:
		return run.feed.watch(w.process, q, r, w.next)
	case q.verb == verbList && r.URL.Query().Has("resourceVersion"):
		return run.feed.list(q, r, w.next)
	}
	answer, err := run.step(w.process, q.String(), func() (*http.Response, error) {
		answer, err := send()
		if err == nil && q.writes() && answer.StatusCode < 300 {
			run.wrote(q)
		}
		return answer, err
	})
	if w.process.isDead() { // whatever came back, nobody is there to see it
		if err == nil {
			answer.Body.Close()
		}
		return nil, errDead
	}
	return answer, err
}
