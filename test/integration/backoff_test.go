package integration_test

import (
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
)

func busyFor(d time.Duration) answer {
	return refuse(&provider.Error{Kind: provider.Busy, Message: "the provider is busy", RetryAfter: d})
}

// untilBackoffIsOver lets time pass until the next attempt is due.
func (h *harness) untilBackoffIsOver(name string) {
	h.t.Helper()
	if a := h.get(name).Status.Attempt; a != nil && a.NotBefore != nil {
		h.clock.SetTime(a.NotBefore.Time)
	}
}

// failing creates a session whose first login fails.
func (h *harness) failing(with answer) {
	h.t.Helper()
	h.apply(session("till-1"))
	h.answers.say(with)
	h.reconcile("till-1")
	h.answers.taken()
	h.wire.taken()
}

// changeProvider changes the spec of the issuer that every test has, in a way that changes no answer.
func (h *harness) changeProvider() {
	h.t.Helper()
	p := h.provider(issuer)
	change(h, p, func(p *v1.SessionProvider) { p.Spec.RateLimit.Burst++ })
	h.look(p)
}

func TestABackoffOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.failing(unavailable)
	h.expect("till-1", "Establishing: Reconciling (ProviderUnavailable)")
	wait := h.get("till-1").Status.Attempt.NotBefore.Sub(h.clock.Now())
	h.answers.say(nil)

	h.restart()
	if result := h.reconcile("till-1"); result.RequeueAfter != wait {
		t.Errorf("the session is looked at again in %s, want in %s", result.RequeueAfter, wait)
	}
	h.expectCalls()

	h.untilBackoffIsOver("till-1")
	h.reconcile("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls("Login")
	if a := h.get("till-1").Status.Attempt; a.Number != 2 || a.Failures != 0 || a.NotBefore != nil {
		t.Errorf("the attempt is %+v", a)
	}
}

func TestWaitsGrowUpToALimit(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.failing(unavailable)
	var last time.Duration
	for n := range 12 {
		a := h.get("till-1").Status.Attempt
		wait := a.NotBefore.Sub(h.clock.Now())
		if int(a.Failures) != n+1 {
			t.Fatalf("%d failures, want %d", a.Failures, n+1)
		}
		if wait < last-time.Second || wait > 11*time.Minute {
			t.Errorf("after %d failures the wait is %s, after one less it was %s", a.Failures, wait, last)
		}
		last = wait
		h.untilBackoffIsOver("till-1")
		h.reconcile("till-1")
	}
	if last < 10*time.Minute {
		t.Errorf("after 12 failures the wait is %s", last)
	}
}

func TestRetryAfterIsRespected(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.failing(busyFor(time.Hour))
	h.expect("till-1", "Establishing: Reconciling (ProviderBusy)")

	h.step(time.Hour - time.Millisecond)
	h.reconcile("till-1")
	h.expectCalls()
	h.step(time.Second) // status is in whole seconds
	h.reconcile("till-1")
	h.expectCalls("Login")
}

func TestABackoffIsLiftedByWhatMayHelp(t *testing.T) {
	t.Parallel()
	for name, lift := range map[string]func(h *harness){
		"a change of spec": func(h *harness) {
			h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.Token.Scopes = []string{"payments"} })
		},
		"a change of the provider": func(h *harness) {
			h.changeProvider()
		},
		"a login request": func(h *harness) { h.annotate("till-1", v1.AnnotationLoginRequested, "1") },
	} {
		for kind, failure := range map[string]answer{"out of reach": unavailable, "busy": busyFor(24 * time.Hour)} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				h.failing(failure)
				h.answers.say(nil)

				lift(h)
				h.settle("till-1")

				h.expect("till-1", "Established: Ready (Established)")
				h.expectCalls("Login")
			})
		}
	}
}

func TestTheBackoffOfARenewalIsLiftedByARequest(t *testing.T) {
	t.Parallel()
	for _, annotation := range []string{v1.AnnotationRenewRequested, v1.AnnotationLoginRequested} {
		t.Run(annotation, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.loggedIn(session("till-1"))
			h.step(month)
			h.answers.say(unavailable)
			h.settle("till-1")
			h.expect("till-1", "TokenExpired: Reconciling (ProviderUnavailable)")
			h.answers.say(nil)

			h.annotate("till-1", annotation, "1")
			h.settle("till-1")

			h.expect("till-1", "Established: Ready (Established)")
			h.expectCalls("Renew", "Renew")
		})
	}
}

func TestWhatChangesNothingLiftsNoBackoff(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.failing(unavailable)
	h.edit("till-1", func(s *v1.TerminalSession) { s.Labels = map[string]string{"shop": "north"} })
	p := h.provider(issuer)
	change(h, p, func(p *v1.SessionProvider) { p.Labels = map[string]string{"team": "identity"} })
	h.look(p)
	h.apply(opaque("unrelated", "a", "b"))

	h.settle("till-1")

	h.expectCalls()
}

func TestARejectionHoldsUntilSomethingChanges(t *testing.T) {
	t.Parallel()
	for name, lift := range map[string]func(h *harness){
		"the provider": func(h *harness) {
			h.changeProvider()
		},
		"a login request": func(h *harness) { h.annotate("till-1", v1.AnnotationLoginRequested, "1") },
		"the user": func(h *harness) {
			h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.User.Email = "bob@acme.example" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.failing(rejected)
			h.expect("till-1", "NotLoggedIn, held Rejected: Stalled (Rejected)")
			if e := h.get("till-1").Status.Error; e == nil || e.Code != "NoContract" {
				t.Errorf("the error is %+v, want the provider's code", e)
			}
			h.answers.say(nil)
			h.step(100 * 24 * time.Hour)
			h.settle("till-1")
			h.expectCalls() // time changes nothing

			lift(h)
			h.settle("till-1")

			h.expect("till-1", "Established: Ready (Established)")
		})
	}
}

func TestAFailureEndsWithASuccess(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.untilRenewal("till-1")
	h.answers.say(unavailable)
	h.reconcile("till-1")
	if e := h.get("till-1").Status.Error; e == nil || e.Code != "ProviderUnavailable" || e.Message != "The provider is out of reach" {
		t.Errorf("the error is %+v", e)
	}
	h.answers.say(nil)
	h.untilBackoffIsOver("till-1")

	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	if st := h.get("till-1").Status; st.Error != nil || st.Attempt.Failures != 0 || st.Attempt.NotBefore != nil {
		t.Errorf("status still has %+v, %+v", st.Error, st.Attempt)
	}
}
