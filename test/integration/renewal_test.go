package integration_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

// untilRenewal lets time pass until a session's renewal is due.
func (h *harness) untilRenewal(name string) {
	h.t.Helper()
	h.clock.SetTime(h.get(name).Status.Token.RenewAt.Time)
}

func TestATokenIsRenewedAtItsTimeAndNotBefore(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	before, first := h.get("till-1").Status, h.secret("till-1-token")

	h.clock.SetTime(before.Token.RenewAt.Add(-time.Second))
	if result := h.reconcile("till-1"); result.RequeueAfter != time.Second {
		t.Errorf("the session is looked at again in %s, want in a second", result.RequeueAfter)
	}
	h.expectCalls()
	h.expectWrites()

	h.step(time.Second)
	h.reconcile("till-1")

	h.expectCalls("Renew")
	h.expectWrites("patch Secret till-1-token", "patch TerminalSession/status till-1")
	h.expect("till-1", "Established: Ready (Established)")
	after, second := h.get("till-1").Status, h.secret("till-1-token")
	if after.SessionID != before.SessionID || !after.EstablishedAt.Equal(before.EstablishedAt) {
		t.Errorf("the renewal has made another session of it: %s since %s", after.SessionID, after.EstablishedAt)
	}
	if after.Token.Renewals != 1 || after.Attempt.Number != 2 {
		t.Errorf("%d renewals and attempt %d, want 1 and 2", after.Token.Renewals, after.Attempt.Number)
	}
	if want := seconds(h.clock.Now().Add(month)); !after.Token.ExpiresAt.Equal(&want) || !after.Token.RenewAt.After(h.clock.Now()) {
		t.Errorf("the token's times are %+v", after.Token)
	}
	if second.UID != first.UID || string(second.Data["token"]) == string(first.Data["token"]) {
		t.Error("want the same Secret with another token in it")
	}
	h.claims(h.issuerURL(), h.token("till-1-token"))
}

func TestRenewalsAreCounted(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	id := h.get("till-1").Status.SessionID

	for range 5 {
		h.untilRenewal("till-1")
		h.reconcile("till-1")
	}

	if st := h.get("till-1").Status; st.Token.Renewals != 5 || st.SessionID != id || len(st.Recent) != 0 {
		t.Errorf("%d renewals of session %s, and %d that ended, want 5 of %s and none", st.Token.Renewals, st.SessionID, len(st.Recent), id)
	}
}

func TestARenewalOnRequest(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.annotate("till-1", v1.AnnotationRenewRequested, "now")

	h.reconcile("till-1")

	h.expectCalls("Renew")
	h.expectWrites("patch Secret till-1-token", "patch TerminalSession/status till-1")
	if st := h.get("till-1").Status; st.Token.Renewals != 1 || st.LastHandledRenewRequest != "now" {
		t.Errorf("%d renewals, handled request %q", st.Token.Renewals, st.LastHandledRenewRequest)
	}
	h.reconcile("till-1")
	h.expectCalls() // once
	h.expectWrites()
}

func TestARenewalRequestIsHandledAlsoWhereTheProviderFails(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.annotate("till-1", v1.AnnotationRenewRequested, "now")
	h.answers.say(unavailable)

	h.reconcile("till-1")
	h.reconcile("till-1")

	h.expectCalls("Renew") // not time and again
	h.expect("till-1", "Established: Reconciling (ProviderUnavailable)")
}

func TestAFailedRenewalOnRequestIsTriedAgainUntilTheTokenIsRenewed(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.annotate("till-1", v1.AnnotationRenewRequested, "now")
	h.answers.say(unavailable)
	h.reconcile("till-1")
	h.answers.say(nil)

	h.untilBackoffIsOver("till-1")
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	if st := h.get("till-1").Status; st.Token.Renewals != 1 {
		t.Errorf("%d renewals, want the one that was asked for", st.Token.Renewals)
	}
}

func TestALoginRequestConfirmsAnEstablishedSession(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	token := h.token("till-1-token")
	h.annotate("till-1", v1.AnnotationLoginRequested, "1")

	h.reconcile("till-1")

	h.expectCalls()
	h.expectWrites("patch TerminalSession/status till-1")
	h.expect("till-1", "Established: Ready (Established)")
	if got := h.get("till-1").Status.LastHandledLoginRequest; got != "1" || h.token("till-1-token") != token {
		t.Errorf("handled request %q; the token is the same: %v", got, h.token("till-1-token") == token)
	}
}

func TestARequestMayHaveAnyValue(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	long := make([]byte, 5000)
	for i := range long {
		long[i] = 'x'
	}
	h.annotate("till-1", v1.AnnotationRenewRequested, string(long))

	h.settle("till-1")

	h.expectCalls("Renew")
	h.expect("till-1", "Established: Ready (Established)")
}

func TestTheRenewalsTimeFollowsSpec(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	before := h.get("till-1").Status.Token
	h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.Token.RenewBefore = lasting(24 * time.Hour) })

	result := h.reconcile("till-1")

	h.expectCalls()
	h.expectWrites("patch TerminalSession/status till-1")
	after := h.get("till-1").Status.Token
	latest := after.ExpiresAt.Add(-24 * time.Hour)
	if at := after.RenewAt; at.After(latest) || at.Time.Before(latest.Add(-month/10)) || at.Equal(before.RenewAt) {
		t.Errorf("the renewal is planned for %s, want up to %s before %s", at, month/10, latest)
	}
	if want := after.RenewAt.Sub(h.clock.Now()); result.RequeueAfter != want {
		t.Errorf("the session is looked at again in %s, want in %s", result.RequeueAfter, want)
	}
}

func TestLabelsThatOthersPutOnTheSecretOutliveARenewal(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	labelled := h.secret("till-1-token")
	change(h, labelled, func(s *corev1.Secret) { s.Labels["backup"], s.Annotations["team"] = "yes", "payments" })

	h.untilRenewal("till-1")
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	got := h.secret("till-1-token")
	if got.Labels["backup"] != "yes" || got.Annotations["team"] != "payments" {
		t.Errorf("labels %v, annotations %v", got.Labels, got.Annotations)
	}
	if got.UID != labelled.UID {
		t.Error("the Secret is another")
	}
}
