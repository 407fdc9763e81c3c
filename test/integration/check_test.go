package integration_test

import (
	"slices"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
)

// newChecking is a harness whose server is asked every five minutes whether the token of a session still holds.
func newChecking(t *testing.T, changes ...func(*v1.TerminalSessionSpec)) (*harness, *strict) {
	t.Helper()
	h := newHarness(t)
	s := newServing(h)
	s.refreshes = true
	h.provide(sessionProvider("remote", func(spec *v1.SessionProviderSpec) {
		spec.Embedded, spec.Webhook = nil, &v1.WebhookProvider{URL: "https://handler.test/sessions"}
	}))
	h.loggedIn(session("till-1", append(changes, at(v1.KindSessionProvider, "remote"))...))
	s.taken()
	return h, s
}

// later lets a time pass and looks every ten seconds.
func (h *harness) later(name string, d time.Duration) {
	h.t.Helper()
	for until := h.clock.Now().Add(d); h.clock.Now().Before(until); {
		h.step(10 * time.Second)
		h.settle(name)
	}
}

func TestATokenIsAskedAfterOnceAnIntervalAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	h, s := newChecking(t)
	h.wire.taken()
	h.later("till-1", 15*time.Minute)
	if calls := s.taken(); !slices.Equal(calls, []string{"Check", "Check", "Check"}) {
		t.Errorf("in 15 minutes, with an interval of 5, it was asked %v", calls)
	}
	h.expectWrites()
	h.restart()
	h.askOf(s)
	h.settle("till-1")
	if calls := s.taken(); len(calls) > 0 {
		t.Errorf("a restart asks %v", calls)
	}
}

func TestATokenThatHoldsNoMoreEndsItsSession(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*v1.TerminalSessionSpec)
		happen func(*family)
		is     string
	}{
		"signed out there, and the login may follow": {
			func(*v1.TerminalSessionSpec) {}, func(f *family) { f.dead = true }, established,
		},
		"signed out there, and the login waits for a request": {
			func(s *v1.TerminalSessionSpec) { s.Relogin = v1.ReloginOnRequest }, func(f *family) { f.dead = true },
			"NotLoggedIn, held Invalidated: Ready (GrantDead)",
		},
		"banned there": {func(*v1.TerminalSessionSpec) {}, func(f *family) { f.banned = true }, "Terminated: Stalled (Banned)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s := newChecking(t, test.change)
			id := h.get("till-1").Status.SessionID
			test.happen(s.last())
			h.later("till-1", 5*time.Minute)
			h.expect("till-1", test.is)
			st := h.get("till-1").Status
			if len(st.Recent) != 1 || st.Recent[0].SessionID != id || st.SessionID == id {
				t.Errorf("the session that ended is not remembered: %+v", st.Recent)
			}
			if st.Phase == v1.PhaseTerminated && st.Error.Code != "UserBlocked" {
				t.Errorf("the error is %+v", st.Error)
			}
			if st.Token == nil && (h.secret("till-1-token") != nil || h.secret("till-1-grant") != nil) {
				t.Error("a Secret of the session is left")
			}
		})
	}
}

func TestAQuestionThatFailsSaysNothingOfTheSession(t *testing.T) {
	t.Parallel()
	h, s := newChecking(t)
	s.fails = &provider.Error{Kind: provider.Unavailable, Message: "out of reach"}
	h.wire.taken()
	h.later("till-1", 20*time.Minute)
	h.expect("till-1", established)
	h.expectWrites()
	if calls := s.taken(); len(calls) != 4 {
		t.Errorf("it was asked %v", calls)
	}
}
