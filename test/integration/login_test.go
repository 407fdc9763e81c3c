package integration_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	lifecycle "terminals.dev/session-controller/internal/session"
)

func TestALoginIsOneSecretAndOneStatus(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.apply(session("till-1"))

	h.reconcile("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls("Login")
	writes, reads := h.wire.taken()
	if diff := cmp.Diff([]string{"create Secret till-1-token", "patch TerminalSession/status till-1"}, writes); diff != "" {
		t.Errorf("the writes are others (-want +got):\n%s", diff)
	}
	if len(reads) > 0 {
		t.Errorf("the API server was asked for %v, which the cache has", reads)
	}
}

func TestStatusAfterALogin(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.apply(session("till-1"))

	result := h.reconcile("till-1")

	now, secret, got := h.clock.Now(), h.secret("till-1-token"), h.get("till-1").Status
	expiresAt := seconds(now.Add(month))
	says := func(kind string) metav1.Condition {
		return metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: v1.ReasonEstablished, ObservedGeneration: 1, LastTransitionTime: seconds(now),
			Message: "The access token is in Secret till-1-token and is valid until " + expiresAt.Format(time.RFC3339) + ".",
		}
	}
	want := v1.TerminalSessionStatus{
		ObservedGeneration: 1,
		Phase:              v1.PhaseEstablished,
		SessionID:          string(secret.Data["sessionID"]),
		User:               &v1.UserStatus{Email: "anna@acme.example", Subject: "anna@acme.example"},
		EstablishedAt:      new(seconds(now)),
		Flow:               &v1.Flow{State: v1.FlowActive},
		History:            v1.HistoryLoggedIn,
		Token: &v1.TokenStatus{
			SecretName: "till-1-token", SecretVersion: secret.ResourceVersion,
			IssuedAt: seconds(now), ExpiresAt: expiresAt, RenewAt: got.Token.RenewAt,
		},
		Attempt:    &v1.Attempt{Number: 1},
		Binding:    &v1.Binding{Request: lifecycle.RequestOf(h.get("till-1")), Purpose: v1.PurposeLogin},
		Conditions: []metav1.Condition{says(v1.ConditionReady), says(v1.ConditionEstablished)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status is another (-want +got):\n%s", diff)
	}
	// A third of the lifetime ahead of the expiry, and up to a tenth of the lifetime earlier.
	latest := expiresAt.Add(-month / 3)
	if at := got.Token.RenewAt; at.After(latest) || at.Time.Before(latest.Add(-month/10)) {
		t.Errorf("the renewal is planned for %s, want up to %s before %s", at, month/10, latest)
	}
	if want := got.Token.RenewAt.Sub(now); result.RequeueAfter != want {
		t.Errorf("the session is looked at again in %s, want its renewal in %s", result.RequeueAfter, want)
	}
}

func TestTheTokenSecret(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", inSecret("anna.till-1")))

	s, secret := h.get("till-1"), h.secret("anna.till-1")
	if secret.Type != "terminals.dev/token" {
		t.Errorf("its type is %s", secret.Type)
	}
	if diff := cmp.Diff(map[string]string{"terminals.dev/session": "till-1"}, secret.Labels); diff != "" {
		t.Errorf("its labels are others (-want +got):\n%s", diff)
	}
	owner := []metav1.OwnerReference{{APIVersion: "terminals.dev/v1", Kind: "TerminalSession", Name: "till-1", UID: s.UID, Controller: new(true)}}
	if diff := cmp.Diff(owner, secret.OwnerReferences); diff != "" {
		t.Errorf("its owner is another (-want +got):\n%s", diff)
	}
	data := map[string][]byte{
		"token":     []byte(h.answers.tokens[0]),
		"expiresAt": []byte(s.Status.Token.ExpiresAt.UTC().Format(time.RFC3339)),
		"sessionID": []byte(s.Status.SessionID),
	}
	if diff := cmp.Diff(data, secret.Data); diff != "" {
		t.Errorf("it holds something else (-want +got):\n%s", diff)
	}
}

func TestTheControllerWritesNeitherSpecNorLabelsNorAnnotations(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := session("till-1")
	s.Labels, s.Annotations = map[string]string{"shop": "north"}, map[string]string{"note": "front desk"}
	h.apply(s)

	h.settle("till-1")

	got := h.get("till-1")
	if diff := cmp.Diff(s.Spec, got.Spec); diff != "" || got.Generation != 1 {
		t.Errorf("spec was written (-want +got):\n%s", diff)
	}
	if !cmp.Equal(s.Labels, got.Labels) || !cmp.Equal(s.Annotations, got.Annotations) || len(got.Finalizers) > 0 {
		t.Errorf("metadata was written: %v", got.ObjectMeta)
	}
}

func TestManySessionsAtOneProviderAreSessionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"), session("till-2"), session("till-3"))

	seen := map[string]bool{}
	for _, name := range []string{"till-1", "till-2", "till-3"} {
		seen[h.get(name).Status.SessionID] = true
		seen[h.token(name+"-token")] = true
	}
	if len(seen) != 6 {
		t.Errorf("three sessions have %d session IDs and tokens, want 6", len(seen))
	}
}

func TestAWrongIdentityIsRefusedAndRevoked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(h *harness)
		calls   []string
		writes  []string
	}{
		"at a login": {
			prepare: func(h *harness) { h.apply(session("till-1")) },
			calls:   []string{"Login"},
			writes:  []string{"patch TerminalSession till-1", "create Secret", "patch TerminalSession/status till-1"},
		},
		"at a renewal": {
			prepare: func(h *harness) {
				h.loggedIn(session("till-1"))
				h.step(month * 2 / 3)
			},
			calls:  []string{"Renew"},
			writes: []string{"create Secret", "create Secret", "delete Secret till-1-token", "patch TerminalSession/status till-1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newTelling(t)
			test.prepare(h)
			h.answers.say(wrongIdentity)

			h.reconcile("till-1")

			h.expect("till-1", "NotLoggedIn, held Rejected: Stalled (IdentityMismatch)")
			h.expectNo("till-1-token")
			h.expectCalls(test.calls...)
			h.expectAside(h.answers.tokens...)
			h.expectWrites(test.writes...)
		})
	}
}

func TestTheIdentityIsComparedWithoutRegardToCase(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.answers.say(identity("Anna@ACME.example"))
	h.apply(session("till-1"))

	h.reconcile("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	if got := h.get("till-1").Status.User.Email; got != "Anna@ACME.example" {
		t.Errorf("the user is %s, want whom the provider named", got)
	}
}

func TestWhoeverLogsInIsTakenWhereNoUserIsNamed(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.answers.say(identity("bob@acme.example"))
	h.apply(session("till-1", func(s *v1.TerminalSessionSpec) { s.User = nil }))

	h.reconcile("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	if got := h.get("till-1").Status.User.Email; got != "bob@acme.example" {
		t.Errorf("the user is %s, want whom the provider named", got)
	}
}

func TestATokenThatComesLateGoes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		meanwhile func(h *harness)
		want      string
	}{
		"after a logout": {
			meanwhile: func(h *harness) { h.edit("till-1", to(loggedOut)) },
			want:      "NotLoggedIn: Ready (LoggedOut)",
		},
		"after the session's deletion": {
			meanwhile: func(h *harness) { h.delete(h.get("till-1")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.apply(session("till-1"))
			h.answers.say(meanwhile(func() { test.meanwhile(h) }))

			_, _ = h.try("till-1")
			h.answers.say(nil)
			h.settle("till-1")

			h.expectNo("till-1-token")
			if test.want != "" {
				h.expect("till-1", test.want)
			}
			h.expectCalls("Login")
		})
	}
}

func TestATokenLifetimeBelowTheOneAskedForIsTaken(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.answers.say(lasts(time.Hour))
	h.apply(session("till-1", func(s *v1.TerminalSessionSpec) { s.Token.RenewBefore = lasting(240 * time.Hour) }))

	h.reconcile("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	token := h.get("till-1").Status.Token
	if want := seconds(h.clock.Now().Add(time.Hour)); !token.ExpiresAt.Equal(&want) {
		t.Errorf("it expires at %s, want %s", token.ExpiresAt, want)
	}
	if half := token.IssuedAt.Add(30 * time.Minute); token.RenewAt.Time.Before(half) || !token.RenewAt.Before(&token.ExpiresAt) {
		t.Errorf("it is renewed at %s, want between half of its time and its end at %s", token.RenewAt, token.ExpiresAt)
	}
}

func TestNamesMayHaveDots(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.provide(sessionProvider("acme.idp"))
	h.loggedIn(session("till.1", at(v1.KindSessionProvider, "acme.idp")))

	h.claims(h.provider("acme.idp").Status.IssuerURL, h.token("till.1-token"))
}
