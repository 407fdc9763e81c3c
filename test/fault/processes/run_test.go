package processes

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"terminals.dev/session-controller/test/identityenv"
)

const (
	// warm is how many steps are done before a fault, and again when it is over.
	warm = 40
	// recovery is how soon after a fault the load goes on.
	recovery = time.Minute
)

// account is what there was before a fault.
type account struct {
	at            time.Time
	logins, asked int
}

// scene is what a fault is done to.
type scene struct {
	load     *load
	server   server
	replicas []*replica
	// found is what there was when all was at rest last.
	found found
}

// fault does its worst while the load goes on, and returns when calls were interrupted by it, exits of managers aside.
type fault func(t *testing.T, s *scene) []crash

// under does a fault under load, and checks what came of it.
func (s *scene) under(t *testing.T, do fault) {
	t.Helper()
	before := s.account(t)
	s.load.begin(t.Context())
	t.Cleanup(func() {
		for _, r := range s.replicas {
			if m := r.current(); m != nil && t.Failed() {
				t.Logf("the last words of %s:\n%s", r.name, m.Tail(20))
			}
		}
	})
	s.goesOn(t)
	began, steps := time.Now(), s.load.done.Load()
	crashes := do(t, s)
	over := time.Now()
	steps = s.load.done.Load() - steps
	s.goesOn(t)
	s.load.end(t)
	ended := time.Now()
	var since time.Time
	s.found, since = rest(t, s.load)
	exits, restarts := s.exits(before.at)
	came, err := s.judge(t.Context(), s.found, before, slices.Concat(crashes, exits))
	must(t, err)
	for _, wrong := range came.wrong {
		t.Errorf("%s: %s", s.load.where(), wrong)
		for _, till := range s.load.tills {
			if strings.Contains(wrong, till.name+",") {
				t.Logf("the managers have said of it:\n%s", told(s.replicas, till.name))
			}
		}
	}
	t.Logf("| %s | %d | %d in %.0f s | %d | %.1f | %d | %d |", strings.ReplaceAll(path.Base(t.Name()), "_", " "),
		len(s.found.sessions), steps, over.Sub(began).Seconds(), restarts, max(since.Sub(ended).Seconds(), 0), came.orphans, came.lost)
}

// account takes down what there is, at rest.
func (s *scene) account(t *testing.T) account {
	t.Helper()
	left := 0
	for _, till := range s.load.tills {
		now := s.found.sessions[till.name]
		till.left = till.wish == wishIn && now != nil
		if till.left {
			till.seen = now.Status.SessionID
			left++
		}
	}
	if left < size/3 {
		t.Fatalf("only %d of %d sessions are in use, which is too few to tell", left, size)
	}
	book, err := s.server.Audit(t.Context(), identityenv.ClientBasic, nil, nil)
	must(t, err)
	return account{at: time.Now(), logins: book.Logins, asked: s.load.logins()}
}

// goesOn waits until the load has got on.
func (s *scene) goesOn(t *testing.T) {
	t.Helper()
	enough := s.load.done.Load() + warm
	until(t, recovery, fmt.Sprintf("%s: the load gets on", s.load.where()), func() bool { return s.load.done.Load() >= enough })
}

// exits are those of managers since a time: how many there were, and which of them may have interrupted calls.
func (s *scene) exits(since time.Time) (crashes []crash, n int) {
	for _, r := range s.replicas {
		for _, e := range r.exitsSince(since) {
			n++
			if e.crash {
				crashes = append(crashes, interrupted(e.at, e.at))
			}
		}
	}
	return crashes, n
}

// logins is how many logins what was asked for can have caused.
func (l *load) logins() (n int) {
	for _, till := range l.tills {
		n += till.logins
	}
	return n
}
