package integration_test

import (
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

func TestAnOutageBeyondTheExpiryEndsNoSession(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	before := h.get("till-1").Status
	h.answers.say(unavailable)

	h.untilRenewal("till-1")
	h.settle("till-1")
	h.expect("till-1", "Established: Reconciling (ProviderUnavailable)")

	h.clock.SetTime(before.Token.ExpiresAt.Time)
	h.settle("till-1")
	h.expect("till-1", "TokenExpired: Reconciling (ProviderUnavailable)")
	if result := h.reconcile("till-1"); result.RequeueAfter <= 0 || result.RequeueAfter > 11*time.Minute {
		t.Errorf("the session is looked at again in %s, want soon", result.RequeueAfter)
	}

	h.answers.say(nil)
	h.untilBackoffIsOver("till-1")
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	after := h.get("till-1").Status
	if after.SessionID != before.SessionID || after.Token.Renewals != 1 || len(after.Recent) > 0 || after.Error != nil {
		t.Errorf("status is %+v, want the session to go on", after)
	}
}

func TestTheExpiryIsToldEvenWhileABackoffLasts(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	expiry := h.get("till-1").Status.Token.ExpiresAt.Time
	h.answers.say(busyFor(6 * time.Hour))
	h.clock.SetTime(expiry.Add(-time.Hour))

	if result := h.reconcile("till-1"); result.RequeueAfter != time.Hour {
		t.Errorf("the session is looked at again in %s, want at its expiry in an hour", result.RequeueAfter)
	}
	h.answers.taken()
	h.step(time.Hour)
	h.reconcile("till-1")

	h.expect("till-1", "TokenExpired: Reconciling (ProviderBusy)")
	h.expectCalls() // as the provider has asked
}

func TestADeadGrantIsFollowedByALogin(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	before := h.get("till-1").Status
	h.untilRenewal("till-1")
	h.answers.say(grantDead)
	h.reconcile("till-1")
	h.expectNo("till-1-token")
	h.expectWrites("delete Secret till-1-token", "patch TerminalSession/status till-1")
	h.answers.say(nil)

	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls("Renew", "Login")
	after := h.get("till-1").Status
	if after.SessionID == before.SessionID || after.Recent[0].SessionID != before.SessionID || after.Recent[0].End != v1.ReasonGrantDead {
		t.Errorf("status is %+v, want another session", after)
	}
}

func TestGrantsThatKeepDyingAreWaitedFor(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	dies := func() {
		h.annotate("till-1", v1.AnnotationRenewRequested, h.clock.Now().String())
		h.answers.say(grantDead)
		h.reconcile("till-1")
		h.answers.say(nil)
		h.step(time.Second)
		h.reconcile("till-1")
	}
	dies()
	h.expect("till-1", "Established: Ready (Established)")

	dies() // a second time within one lifetime

	h.expect("till-1", "Establishing: Reconciling (GrantDead)")
	h.untilBackoffIsOver("till-1")
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
}

func TestADeadGrantWaitsForARequestWhereSpecSaysSo(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", func(s *v1.TerminalSessionSpec) { s.Relogin = v1.ReloginOnRequest }))
	h.untilRenewal("till-1")
	h.answers.say(grantDead)
	h.settle("till-1")
	h.expect("till-1", "NotLoggedIn, held Invalidated: Ready (GrantDead)")
	h.expectNo("till-1-token")
	h.answers.say(nil)

	h.annotate("till-1", v1.AnnotationLoginRequested, "1")
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
}

func TestABanByTheProviderEndsTheSession(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.untilRenewal("till-1")
	h.answers.say(banned)

	h.settle("till-1")

	h.expect("till-1", "Terminated: Stalled (Banned)")
	h.expectNo("till-1-token")
	st := h.get("till-1").Status
	if st.Error == nil || st.Error.Code != "UserBanned" || st.Error.Message != "The user is barred" || st.Flow.State != v1.FlowError {
		t.Errorf("status is %+v", st)
	}
	h.step(100 * 24 * time.Hour)
	h.answers.taken()
	h.settle("till-1")
	h.expectCalls() // time lifts no ban
}

func TestAfterABanByTheProviderAnotherUserOrARequestIsTried(t *testing.T) {
	t.Parallel()
	for name, lift := range map[string]func(h *harness){
		"another user": func(h *harness) {
			h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.User.Email = "bob@acme.example" })
		},
		"a login request": func(h *harness) { h.annotate("till-1", v1.AnnotationLoginRequested, "1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.apply(session("till-1"))
			h.answers.say(banned)
			h.settle("till-1")
			h.expect("till-1", "Terminated: Stalled (Banned)")
			h.answers.say(nil)

			lift(h)
			h.settle("till-1")

			h.expect("till-1", "Established: Ready (Established)")
			if err := h.get("till-1").Status.Error; err != nil {
				t.Errorf("status still has the error %+v", err)
			}
		})
	}
}

func TestARejectedRenewalLeavesTheTokenUntilItsExpiry(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	token := h.token("till-1-token")
	h.untilRenewal("till-1")
	h.answers.say(rejected)

	h.settle("till-1")

	h.expect("till-1", "Established: Stalled (RenewalRejected)")
	if h.token("till-1-token") != token {
		t.Error("the token is another")
	}
	h.expectMessage(h.get("till-1"), "The merchant has no contract")
}
