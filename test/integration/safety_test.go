package integration_test

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider/embedded"
)

// TestAReplicaWithAnOldViewOfASessionDeletesNoLiveToken shows a replica Secrets as they are and the session as it was, as at a failover to one
// that lags: what it would take for left over is the newest token.
func TestAReplicaWithAnOldViewOfASessionDeletesNoLiveToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, since func(*harness)
		secret        string
	}{
		"since moved to another Secret": {
			before: func(*harness) {},
			since:  func(h *harness) { h.edit("till-1", to(inSecret("moved"))) },
			secret: "moved",
		},
		"since logged in again": {
			before: func(h *harness) { h.edit("till-1", to(loggedOut)) },
			since:  func(h *harness) { h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn }) },
			secret: "till-1-token",
		},
		"since deleted and made anew": {
			before: func(*harness) {},
			since: func(h *harness) {
				h.delete(h.get("till-1"))
				h.reconcile("till-1")
				h.apply(session("till-1"))
			},
			secret: "till-1-token",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.loggedIn(session("till-1"))
			test.before(h)
			h.settle("till-1")
			old := h.frozen()
			test.since(h)
			h.settle("till-1")
			h.expect("till-1", "Established: Ready (Established)")
			token := h.token(test.secret)

			h.restart()
			h.wire.frozen = map[string]client.Reader{"TerminalSession": old}
			for range 3 {
				_, _ = h.try("till-1")
			}
			h.wire.frozen = nil
			h.settle("till-1")

			h.expect("till-1", "Established: Ready (Established)")
			if h.token(test.secret) != token {
				t.Error("the token is another")
			}
		})
	}
}

func TestASecretThatIsThereDecidesWhichOfTwoSessionsHasItsName(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("a-elder"))
	h.apply(session("b-younger", inSecret("shared")))
	if !h.killed(moment{write: 1, after: true}, func() { h.reconcile("b-younger") }) {
		t.Fatal("the login takes no write")
	}
	h.restart()
	h.edit("a-elder", to(inSecret("shared")))
	h.settle("a-elder", "b-younger")

	h.expect("b-younger", "Established: Ready (Established)")
	h.holds("shared", h.get("b-younger").Status.SessionID)
	h.expect("a-elder", "Established: Stalled (SecretNameTaken)")
}

func TestWhoHasASecretsNameKeepsItWhenTheSecretIsAlteredOrItLogsOut(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("a-elder"), session("b-younger", inSecret("shared")))
	h.edit("a-elder", to(inSecret("shared")))
	h.settle("a-elder", "b-younger")

	change(h, h.secret("shared"), putting("token", "forged"))
	h.settle("b-younger", "a-elder")
	h.expect("b-younger", "Established: Ready (Established)")
	h.expect("a-elder", "Established: Stalled (SecretNameTaken)")

	h.edit("b-younger", to(loggedOut))
	h.settle("b-younger", "a-elder")
	h.expect("b-younger", "NotLoggedIn: Ready (LoggedOut)")
	h.expect("a-elder", "Established: Stalled (SecretNameTaken)")

	h.edit("b-younger", to(inSecret("another")))
	h.settle("b-younger", "a-elder")
	h.expect("a-elder", "Established: Ready (Established)")
}

func TestNoTenantTakesAnotherProvidersPlace(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	place := "https://sessions.test" + embedded.Path("", h.namespace)
	squatter := sessionProvider("squatter", func(s *v1.SessionProviderSpec) { s.Embedded.IssuerURL = place })
	h.provide(squatter)
	h.expectProvider(squatter, "False (IssuerURLTaken)")
	h.expectMessage(squatter, "another provider's place", "leave it out")

	victim := h.clusterProvider(v1.AllowRule{})
	h.provide(victim)
	h.look(squatter)
	h.look(victim)
	h.expectProvider(victim, "True (Ready)")
	h.expectProvider(squatter, "False (IssuerURLTaken)")
	if _, err := h.providers.Issuer(h.ctx, embedded.Path("", h.namespace)); err != nil {
		t.Errorf("the endpoints of the one whose place it is: %v", err)
	}
}

func TestAProviderThatIssuesWithAURLKeepsItFromOlderOnes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	url := "https://shop.example/" + h.namespace
	elder := sessionProvider("elder")
	h.provide(elder)
	younger := sessionProvider("younger", func(s *v1.SessionProviderSpec) { s.Embedded.IssuerURL = url })
	h.provide(younger)
	change(h, elder, func(p *v1.SessionProvider) { p.Spec.Embedded.IssuerURL = url })
	h.look(elder)
	h.look(younger)
	h.expectProvider(younger, "True (Ready)")
	h.expectProvider(elder, "False (IssuerURLTaken)")
}

// TestAKeyThatWasSwappedMeanwhileIsFoundWhenItIsNeeded replaces the signing key while nobody looks: it was seen to be well when the provider
// became ready, and a restart reads no Secret only to see whether it is unchanged.
func TestAKeyThatWasSwappedMeanwhileIsFoundWhenItIsNeeded(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	p, secret := h.provider(issuer), h.keySecret()
	h.loggedIn(session("till-0"))
	token := h.token("till-0-token")
	h.delete(secret)
	garbage := opaque(secret.Name, "key.pem", "garbage")
	garbage.Labels, garbage.OwnerReferences = secret.Labels, secret.OwnerReferences
	h.apply(garbage)
	h.restart()
	h.apply(session("till-1"))
	h.settle("till-1")
	h.expectMessage(h.get("till-1"), "Signing key Secret", "is broken")
	h.look(p)
	h.expectProvider(p, "False (SigningKeyBroken)")

	h.wire.taken()
	issuer, err := h.providers.Issuer(h.ctx, embedded.Path(h.namespace, issuer))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		_, _ = issuer.Verify(h.ctx, token)
	}
	if _, reads := h.wire.taken(); len(reads) > 0 {
		t.Errorf("ten verifications read %v", reads)
	}
}
