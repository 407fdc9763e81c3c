package integration_test

import (
	"testing"

	v1 "terminals.dev/session-controller/api/v1"
)

func TestTheSecretMovesWithItsToken(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	before, token := h.get("till-1").Status, h.token("till-1-token")
	h.edit("till-1", to(inSecret("moved")))

	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls()
	h.expectWrites("create Secret moved", "patch TerminalSession/status till-1", "delete Secret till-1-token")
	after := h.get("till-1").Status
	if h.token("moved") != token || after.SessionID != before.SessionID || after.Token.SecretName != "moved" || after.Token.Renewals != 0 {
		t.Errorf("the session or its token is another: %+v", after)
	}
	h.expectNo("till-1-token")
	h.expectMessage(h.get("till-1"), "Secret moved")
}

func TestAMoveKeepsTheRenewalsTime(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.untilRenewal("till-1")
	h.reconcile("till-1")
	before := h.get("till-1").Status.Token
	h.edit("till-1", to(inSecret("moved")))

	h.settle("till-1")

	after := h.get("till-1").Status.Token
	if !after.RenewAt.Equal(before.RenewAt) || !after.ExpiresAt.Equal(&before.ExpiresAt) || after.Renewals != 1 {
		t.Errorf("the token is %+v, was %+v", after, before)
	}
}

func TestAMoveWhileARenewalIsDueDoesBoth(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.untilRenewal("till-1")
	h.edit("till-1", to(inSecret("moved")))

	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls("Renew")
	h.expectNo("till-1-token")
	if st := h.get("till-1").Status; st.Token.SecretName != "moved" || st.Token.Renewals != 1 {
		t.Errorf("the token is %+v", st.Token)
	}
}

func TestAMoveToATakenNameWaits(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	token := h.token("till-1-token")
	foreign := opaque("taken", "a", "b")
	h.apply(foreign)
	h.edit("till-1", to(inSecret("taken")))

	h.settle("till-1")

	h.expect("till-1", "Established: Stalled (SecretNameTaken)")
	h.expectMessage(h.get("till-1"), "Secret taken")
	h.expectCalls()
	if h.token("till-1-token") != token || string(h.secret("taken").Data["a"]) != "b" {
		t.Error("a Secret has been touched")
	}

	h.delete(foreign)
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectNo("till-1-token")
	if h.token("taken") != token {
		t.Error("the token is another")
	}
}

func TestASessionThatMayNotMoveIsRenewedWhereItIs(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.apply(opaque("taken", "a", "b"))
	h.edit("till-1", to(inSecret("taken")))
	h.settle("till-1")

	h.untilRenewal("till-1")
	h.settle("till-1")

	h.expect("till-1", "Established: Stalled (SecretNameTaken)")
	h.expectCalls("Renew")
}

func TestAMoveThereAndBackComesToRest(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	token := h.token("till-1-token")
	h.edit("till-1", to(inSecret("moved")))
	h.reconcile("till-1") // the old Secret is still there
	h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.Token.SecretName = "" })

	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectNo("moved")
	h.expectCalls()
	if h.token("till-1-token") != token {
		t.Error("the token is another")
	}
}

func TestALogoutDuringAMoveLeavesNoSecret(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.edit("till-1", to(inSecret("moved")))
	if !h.killed(moment{write: 1, after: true}, func() { h.reconcile("till-1") }) {
		t.Fatal("the controller lives")
	}
	h.restart()
	h.edit("till-1", to(loggedOut))

	h.settle("till-1")

	h.expect("till-1", "NotLoggedIn: Ready (LoggedOut)")
	h.expectNo("till-1-token")
	h.expectNo("moved")
}

func TestTwoSessionsCanSwapTheirSecretsByWayOfAThird(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", inSecret("a")), session("till-2", inSecret("b")))
	one, two := h.token("a"), h.token("b")
	for _, step := range []struct{ name, to string }{{"till-1", "c"}, {"till-2", "a"}, {"till-1", "b"}} {
		h.edit(step.name, to(inSecret(step.to)))
		h.settle("till-1", "till-2")
	}

	h.expect("till-1", "Established: Ready (Established)")
	h.expect("till-2", "Established: Ready (Established)")
	h.expectCalls()
	if h.token("b") != one || h.token("a") != two {
		t.Error("the tokens are others")
	}
	h.expectNo("c")
}
