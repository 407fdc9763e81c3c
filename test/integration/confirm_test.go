package integration_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider"

	v1 "terminals.dev/session-controller/api/v1"
)

const confirming = "Establishing: Reconciling (UserInteraction)"

// newConfirming is a harness whose server wants a person to confirm each login, and a session that waits for one.
func newConfirming(t *testing.T) (*harness, *strict) {
	t.Helper()
	h := newHarness(t)
	s := newServing(h)
	s.confirms, s.refreshes = true, true
	h.apply(session("till-1"))
	h.settle("till-1")
	h.expect("till-1", confirming)
	return h, s
}

// polled lets an interval pass and looks.
func (h *harness) polled(name string) {
	h.t.Helper()
	h.step(5 * time.Second)
	h.settle(name)
}

func TestAPersonIsToldWhereToConfirmWhichCode(t *testing.T) {
	t.Parallel()
	h, _ := newConfirming(t)
	flow := h.get("till-1").Status.Flow
	if flow.State != v1.FlowUserInteraction || flow.VerificationURI != "https://idp.test/device" || flow.UserCode != "WDJB-MJHT" ||
		flow.VerificationURIComplete == "" || flow.ExpiresAt == nil {
		t.Errorf("the flow is %+v", flow)
	}
	h.expectWrites("patch TerminalSession till-1", "create Secret till-1-grant", "patch TerminalSession/status till-1")
	grant := h.secret("till-1-grant")
	if grant.Type != "terminals.dev/grant" || !strings.HasPrefix(string(grant.Data["deviceCode"]), "device-secret") {
		t.Errorf("the grant is of type %s with %v", grant.Type, grant.Data)
	}
	if h.secret("till-1-token") != nil {
		t.Error("there is a token before anybody has confirmed the login")
	}
}

func TestWaitingForAPersonKeepsTheIntervalAndWritesNothing(t *testing.T) {
	t.Parallel()
	h, s := newConfirming(t)
	h.wire.taken()
	s.taken()
	for range 10 {
		h.step(2 * time.Second)
		h.settle("till-1")
	}
	if polls := s.taken(); len(polls) != 4 { // at 6, 12, 18 seconds there is one; the next is not before the interval is over
		if len(polls) != 3 {
			t.Errorf("in 20 seconds it was asked %v, with an interval of 5 seconds and a look every 2", polls)
		}
	}
	h.expectWrites()
}

func TestAConfirmedLoginIsTheSessionThatWasBegun(t *testing.T) {
	t.Parallel()
	h, s := newConfirming(t)
	s.last().approved = true
	h.wire.taken()
	h.polled("till-1")
	h.expect("till-1", established)
	h.expectWrites("patch Secret till-1-grant", "create Secret till-1-token", "patch TerminalSession/status till-1")
	st := h.get("till-1").Status
	if st.Flow.State != v1.FlowActive || st.Flow.UserCode != "" || st.History != v1.HistoryLoggedIn {
		t.Errorf("flow and history are %+v and %s", st.Flow, st.History)
	}
	h.expectLive(s)

	h.untilRenewal("till-1")
	s.taken()
	h.settle("till-1")
	if calls := s.taken(); !slices.Equal(calls, []string{"Renew"}) {
		t.Errorf("the renewal asks %v", calls)
	}
	h.expectLive(s)
}

func TestALoginThatIsDeniedOrNotConfirmedInTimeIsAborted(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]func(*harness, *strict){
		"denied":                func(h *harness, s *strict) { s.last().denied = true; h.polled("till-1") },
		"not confirmed in time": func(h *harness, _ *strict) { h.step(10 * time.Minute); h.settle("till-1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s := newConfirming(t)
			ends(h, s)
			h.expect("till-1", "NotLoggedIn, held Aborted: Ready (Aborted)")
			if st := h.get("till-1").Status; st.History != v1.HistoryAborted || st.Flow.State != v1.FlowError || st.Flow.UserCode != "" {
				t.Errorf("flow and history are %+v and %s", st.Flow, st.History)
			}
			if h.secret("till-1-grant") != nil {
				t.Error("the code is still kept")
			}
			s.taken()
			h.step(time.Hour)
			h.settle("till-1")
			if calls := s.taken(); len(calls) > 0 {
				t.Errorf("it goes on asking: %v", calls)
			}
			h.annotate("till-1", v1.AnnotationLoginRequested, "again")
			h.settle("till-1")
			h.expect("till-1", confirming)
			s.last().approved = true
			h.polled("till-1")
			h.expect("till-1", established)
		})
	}
}

func TestSomebodyElseWhoConfirmsIsNotLoggedIn(t *testing.T) {
	t.Parallel()
	h, s := newConfirming(t)
	s.person, s.last().approved = "mallory@acme.example", true
	h.polled("till-1")
	h.expect("till-1", "NotLoggedIn, held Rejected: Stalled (IdentityMismatch)")
	if h.secret("till-1-token") != nil || h.secret("till-1-grant") != nil {
		t.Error("something of the other's is kept")
	}
	h.expectLive(s)
}

func TestWhileAPersonIsWaitedForTheProviderMayFail(t *testing.T) {
	t.Parallel()
	h, s := newConfirming(t)
	code := h.get("till-1").Status.Flow.UserCode
	s.fails = &provider.Error{Kind: provider.Unavailable, Message: "the provider is out of reach"}
	h.polled("till-1")
	h.expect("till-1", "Establishing: Reconciling (ProviderUnavailable)")
	if got := h.get("till-1").Status.Flow.UserCode; got != code {
		t.Errorf("the code is %q, want still %q", got, code)
	}
	s.fails, s.last().approved = nil, true
	h.step(time.Minute)
	h.settle("till-1")
	h.expect("till-1", established)
}

func TestALoginThatWaitsEndsAsAnyOther(t *testing.T) {
	t.Parallel()
	for _, test := range ends {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, s := newConfirming(t)
			test.end(h)
			h.settle("till-1")
			if test.is != "" {
				h.expect("till-1", test.is)
			}
			if h.secret("till-1-grant") != nil {
				t.Error("the code is still kept")
			}
			s.taken()
			s.last().approved = true
			if test.is != "" {
				h.polled("till-1")
			}
			if calls := s.taken(); len(calls) > 0 {
				t.Errorf("it goes on asking: %v", calls)
			}
		})
	}
}

func TestAnotherTerminalIsAnotherLogin(t *testing.T) {
	t.Parallel()
	h, s := newConfirming(t)
	s.taken()
	h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.Terminal.ID = "T-0099" })
	h.settle("till-1")
	h.expect("till-1", confirming)
	if calls := s.taken(); !slices.Equal(calls, []string{"Login"}) {
		t.Errorf("it asks %v", calls)
	}
}

// expectLive checks that the server honours nothing that nobody owns: what is in the session's Secrets, and what is put aside to be revoked.
func (h *harness) expectLive(s *strict, admitted ...int) {
	h.t.Helper()
	owned := h.secretsOf()
	var orphans []string
	for _, token := range s.live() {
		if !slices.Contains(owned, token) {
			orphans = append(orphans, token)
		}
	}
	most := 0
	if len(admitted) > 0 {
		most = admitted[0]
	}
	if len(orphans) > most {
		h.t.Errorf("the server honours %v, which nobody owns", orphans)
	}
}
