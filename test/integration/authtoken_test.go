package integration_test

import (
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

func secureLogin(s *v1.SessionProviderSpec) { s.SecureLogin = new(true) }

func withAuthToken(secret string) func(*v1.TerminalSessionSpec) {
	return func(s *v1.TerminalSessionSpec) { s.AuthTokenSecretRef = &v1.TokenKeyReference{Name: secret} }
}

func TestSecureLoginWaitsForTheAuthToken(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.provide(sessionProvider("secure", secureLogin))
	h.apply(session("till-1", at(v1.KindSessionProvider, "secure"), withAuthToken("anna-auth")))

	h.reconcile("till-1")

	h.expect("till-1", "Establishing: Reconciling (AuthTokenMissing)")
	h.expectMessage(h.get("till-1"), "spec.authTokenSecretRef")
	h.step(10*time.Minute - time.Second)
	h.reconcile("till-1")
	if n := h.get("till-1").Status.Attempt.Failures; n != 1 {
		t.Errorf("%d attempts within 10 minutes, want one", n)
	}

	h.apply(opaque("anna-auth", "token", "proof-of-anna"))
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls("Login")
}

func TestAnAuthTokenMustBeWhereSpecSays(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.provide(sessionProvider("secure", secureLogin))
	secret := opaque("anna-auth", "other", "proof-of-anna")
	h.apply(secret, session("till-1", at(v1.KindSessionProvider, "secure"), withAuthToken("anna-auth")))
	h.settle("till-1")
	h.expect("till-1", "Establishing: Reconciling (AuthTokenMissing)")

	change(h, h.secret("anna-auth"), putting("token", "proof-of-anna"))
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
}

func TestSecureLoginWithoutAReferenceSaysWhatToDo(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.provide(sessionProvider("secure", secureLogin))
	h.apply(session("till-1", at(v1.KindSessionProvider, "secure")), opaque("anna-auth", "token", "proof-of-anna"))
	h.settle("till-1")
	h.expect("till-1", "Establishing: Reconciling (AuthTokenMissing)")
	h.expectMessage(h.get("till-1"), "spec.authTokenSecretRef")

	h.edit("till-1", to(withAuthToken("anna-auth")))
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
}

func TestARenewalWithoutTheAuthTokenLeavesTheTokenAlone(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.provide(sessionProvider("secure", secureLogin))
	secret := opaque("anna-auth", "token", "proof-of-anna")
	h.apply(secret)
	h.loggedIn(session("till-1", at(v1.KindSessionProvider, "secure"), withAuthToken("anna-auth")))
	h.delete(secret)

	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
	h.untilRenewal("till-1")
	h.settle("till-1")
	h.expect("till-1", "Established: Reconciling (AuthTokenMissing)")
	h.expectCalls()

	h.apply(opaque("anna-auth", "token", "new-proof-of-anna"))
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls("Renew")
}

func TestAChangeOfTheAuthTokenLiftsARejection(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.apply(opaque("anna-auth", "token", "proof-of-anna"))
	h.apply(session("till-1", withAuthToken("anna-auth")))
	h.answers.say(rejected)
	h.settle("till-1")
	h.expect("till-1", "NotLoggedIn, held Rejected: Stalled (Rejected)")
	h.answers.say(nil)

	change(h, h.secret("anna-auth"), putting("token", "new-proof-of-anna"))
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
}
