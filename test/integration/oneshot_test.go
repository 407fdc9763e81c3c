package integration_test

import (
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

func TestAOneShotSessionIsOverAtItsExpiry(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.apply(session("till-1", oneShot))
	result := h.reconcile("till-1")
	h.expect("till-1", "Established: Ready (Established)")
	st := h.get("till-1").Status
	if st.History != v1.HistoryLoggedInOneShot || st.Token.RenewAt != nil {
		t.Errorf("history %s, renewal planned for %v", st.History, st.Token.RenewAt)
	}
	if want := st.Token.ExpiresAt.Sub(h.clock.Now()); result.RequeueAfter != want {
		t.Errorf("the session is looked at again in %s, want at its expiry in %s", result.RequeueAfter, want)
	}
	h.wire.taken()
	h.answers.taken()

	h.clock.SetTime(st.Token.ExpiresAt.Add(-time.Second))
	h.reconcile("till-1")
	h.expectWrites()

	h.step(time.Second)
	h.reconcile("till-1")

	h.expect("till-1", "NotLoggedIn, held Finished: Ready (Finished)")
	h.expectNo("till-1-token")
	h.expectWrites("delete Secret till-1-token", "patch TerminalSession/status till-1")
	h.expectCalls()
	if end := h.get("till-1").Status.Recent[0]; end.SessionID != st.SessionID || end.End != "Finished" {
		t.Errorf("what ended is %+v", end)
	}
}

func TestAOneShotSessionIsNeverRenewed(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", oneShot))
	h.annotate("till-1", v1.AnnotationRenewRequested, "now")

	h.settle("till-1")

	h.expectCalls()
	h.expect("till-1", "Established: Ready (Established)")
	if got := h.get("till-1").Status.LastHandledRenewRequest; got != "now" {
		t.Errorf("the request is still open: %q was handled last", got)
	}
}

func TestALoginRequestLiftsTheHoldOfAFinishedSession(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", oneShot))
	first := h.get("till-1").Status.SessionID
	h.step(month)
	h.settle("till-1")
	h.annotate("till-1", v1.AnnotationLoginRequested, "again")

	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls("Login")
	st := h.get("till-1").Status
	if st.SessionID == first || st.LastHandledLoginRequest != "again" || st.Attempt.Number != 2 {
		t.Errorf("status is %+v", st)
	}
	h.step(month)
	h.settle("till-1")
	h.expect("till-1", "NotLoggedIn, held Finished: Ready (Finished)") // the same request lifts one hold
}

func TestHoldsAreLiftedByAnotherUserAndByALogout(t *testing.T) {
	t.Parallel()
	for name, lift := range map[string]func(h *harness){
		"another user": func(h *harness) {
			h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.User.Email = "bob@acme.example" })
		},
		"logged out and in": func(h *harness) {
			h.edit("till-1", to(loggedOut))
			h.settle("till-1")
			h.expect("till-1", "NotLoggedIn: Ready (LoggedOut)")
			h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.loggedIn(session("till-1", oneShot))
			h.step(month)
			h.settle("till-1")

			lift(h)
			h.settle("till-1")

			h.expect("till-1", "Established: Ready (Established)")
		})
	}
}

func TestAOneShotSessionThatBecomesContinuousIsAnotherSession(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", oneShot))
	h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.Type = v1.Continuous })

	h.settle("till-1")

	h.expectCalls("Login")
	st := h.get("till-1").Status
	if st.Token.RenewAt == nil || st.History != v1.HistoryLoggedIn || st.Recent[0].End != v1.ReasonHandedOver {
		t.Fatalf("status is %+v", st)
	}
	h.untilRenewal("till-1")
	h.settle("till-1")
	h.expectCalls("Renew")
}
