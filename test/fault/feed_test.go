package fault_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// feed is what the caches of a run's managers are fed from: their watches, and the lists that they begin with. It can hold them back, cut
// them, show them the past, and tell them twice.
type feed struct {
	mu      sync.Mutex
	streams []*stream
	// held is whether watches of a resource are held back.
	held func(resource string) bool
	// expired are the resources whose next watch is told that its version is too old.
	expired map[string]bool
	// past is, where it is set, the version that new lists show.
	past string
	// pastOf is which resources it is shown of.
	pastOf func(resource string) bool
}

func newFeed() *feed { return &feed{held: none, expired: map[string]bool{}, pastOf: none} }

func none(string) bool { return false }
func all(string) bool  { return true }

// only is whether a resource is the one.
func only(one string) func(string) bool {
	return func(resource string) bool { return resource == one }
}

// watch begins one. Events come as JSON, one in a line, so that they can be told apart.
func (f *feed) watch(p *process, q request, r *http.Request, next http.RoundTripper) (*http.Response, error) {
	query := r.URL.Query()
	initial := query.Get("sendInitialEvents") == "true"
	f.mu.Lock()
	past, expired := f.past != "" && f.pastOf(q.resource), !initial && f.expired[q.resource]
	if expired {
		delete(f.expired, q.resource)
	}
	f.mu.Unlock()
	if past && initial { // as a server without that feature answers; a list follows, which can be one of the past
		return refusal(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "sendInitialEvents: Forbidden"), nil
	}
	if expired {
		return refusal(http.StatusGone, metav1.StatusReasonExpired, "too old resource version: "+query.Get("resourceVersion")), nil
	}
	asked := r.Clone(r.Context())
	asked.Header.Set("Accept", inJSON(r.Header.Get("Accept")))
	answer, err := next.RoundTrip(asked)
	if err != nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	s := newStream(q.resource, answer.Body)
	f.mu.Lock()
	s.hold(f.held(q.resource))
	f.streams = append(slices.DeleteFunc(f.streams, (*stream).isClosed), s)
	f.mu.Unlock()
	if p.isDead() {
		s.cut()
	}
	answer.Body = s
	return answer, nil
}

// list is the list that a cache begins with.
func (f *feed) list(q request, r *http.Request, next http.RoundTripper) (*http.Response, error) {
	f.mu.Lock()
	past := ""
	if f.pastOf(q.resource) {
		past = f.past
	}
	f.mu.Unlock()
	if past == "" {
		return next.RoundTrip(r)
	}
	query := r.URL.Query()
	for _, other := range []string{"limit", "continue"} {
		query.Del(other)
	}
	query.Set("resourceVersion", past)
	query.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchExact))
	asked := r.Clone(r.Context())
	asked.URL = new(url.URL)
	*asked.URL = *r.URL
	asked.URL.RawQuery = query.Encode()
	return next.RoundTrip(asked)
}

// hold holds back the watches of some resources, those that are begun later as well, and lets go of the others.
func (f *feed) hold(of func(resource string) bool) {
	f.each(func() { f.held = of }, func(s *stream) { s.hold(of(s.resource)) })
}

// showPast has the caches of managers that are started from now on begin with how things were at a version.
func (f *feed) showPast(version string, of func(resource string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.past, f.pastOf = version, of
}

// cut breaks every watch off. Where they have expired, the next ones are told that they come too late.
func (f *feed) cut(expired bool) {
	f.each(func() {}, func(s *stream) {
		f.expired[s.resource] = f.expired[s.resource] || expired
		s.cut()
	})
}

// replay tells every watch its last events once more.
func (f *feed) replay(last int) { f.each(func() {}, func(s *stream) { s.replay(last) }) }

func (f *feed) each(before func(), do func(*stream)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before()
	for _, s := range f.streams {
		if !s.isClosed() {
			do(s)
		}
	}
}

func (f *feed) isHeld(resource string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held(resource)
}

// inJSON leaves of what a client accepts what is JSON.
func inJSON(accept string) string {
	kinds := slices.DeleteFunc(strings.Split(accept, ","), func(kind string) bool { return !strings.Contains(kind, "application/json") })
	if len(kinds) == 0 {
		return "application/json"
	}
	return strings.Join(kinds, ",")
}

// refusal is an answer of the API server's that something is not done.
func refusal(code int, reason metav1.StatusReason, message string) *http.Response {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	}
	body, err := json.Marshal(status)
	if err != nil {
		panic(err) // it is made of texts and numbers
	}
	return &http.Response{
		StatusCode: code, Status: fmt.Sprintf("%d %s", code, http.StatusText(code)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}
