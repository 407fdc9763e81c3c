package integration_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

func TestATokenSecretThatSomebodySpoilsIsMadeGood(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(h *harness, s *corev1.Secret){
		"deleted":              func(h *harness, s *corev1.Secret) { h.delete(s) },
		"another token":        func(h *harness, s *corev1.Secret) { change(h, s, putting("token", "forged")) },
		"another session ID":   func(h *harness, s *corev1.Secret) { change(h, s, putting("sessionID", "forged")) },
		"another expiry":       func(h *harness, s *corev1.Secret) { change(h, s, putting("expiresAt", "2099-01-01T00:00:00Z")) },
		"the token taken away": func(h *harness, s *corev1.Secret) { change(h, s, func(s *corev1.Secret) { delete(s.Data, "token") }) },
		"emptied":              func(h *harness, s *corev1.Secret) { change(h, s, func(s *corev1.Secret) { s.Data = nil }) },
		"the annotations taken away": func(h *harness, s *corev1.Secret) {
			change(h, s, func(s *corev1.Secret) { s.Annotations = nil })
		},
		"replaced by one of the same name and owner": func(h *harness, s *corev1.Secret) {
			h.delete(s)
			s.ObjectMeta = metav1.ObjectMeta{Name: s.Name, Labels: s.Labels, OwnerReferences: s.OwnerReferences}
			s.Data["token"] = []byte("forged")
			h.apply(s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.loggedIn(session("till-1"))
			before, token := h.get("till-1").Status, h.token("till-1-token")

			spoil(h, h.secret("till-1-token"))
			h.settle("till-1")

			h.expect("till-1", "Established: Ready (Established)")
			h.expectCalls("Login")
			after := h.get("till-1").Status
			if after.SessionID == before.SessionID || h.token("till-1-token") == token || after.Attempt.Number != 2 {
				t.Errorf("session %s goes on as %s, attempt %d", before.SessionID, after.SessionID, after.Attempt.Number)
			}
			if len(after.Recent) != 1 || after.Recent[0].SessionID != before.SessionID || after.Recent[0].End != v1.ReasonSecretChanged {
				t.Errorf("what ended is %+v, want session %s", after.Recent, before.SessionID)
			}
			h.claims(h.issuerURL(), h.token("till-1-token"))
		})
	}
}

func TestASpoiledSecretEndsAOneShotSession(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(h *harness, s *corev1.Secret){
		"deleted": func(h *harness, s *corev1.Secret) { h.delete(s) },
		"altered": func(h *harness, s *corev1.Secret) { change(h, s, putting("token", "forged")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.loggedIn(session("till-1", oneShot))

			spoil(h, h.secret("till-1-token"))
			h.settle("till-1")

			h.expect("till-1", "NotLoggedIn, held Finished: Ready (Finished)")
			h.expectNo("till-1-token")
			h.expectCalls()
		})
	}
}

func TestAddingToATokenSecretHarmsNothing(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(*corev1.Secret){
		"a label":              func(s *corev1.Secret) { s.Labels["backup"] = "yes" },
		"an annotation":        func(s *corev1.Secret) { s.Annotations["team"] = "payments" },
		"a key":                func(s *corev1.Secret) { s.Data["ca.crt"] = []byte("certificate") },
		"another finalizer":    func(s *corev1.Secret) { s.Finalizers = []string{"example.com/audit"} },
		"a second owner":       func(s *corev1.Secret) { s.OwnerReferences = append(s.OwnerReferences, coOwner) },
		"a resourceVersion":    func(s *corev1.Secret) { s.Annotations["touched"] = "1" },
		"the Secret is sealed": func(s *corev1.Secret) { s.Immutable = new(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.loggedIn(session("till-1"))
			before := h.get("till-1").Status
			secret := h.secret("till-1-token")
			change(h, secret, add)

			h.settle("till-1")

			h.expectCalls()
			h.expectWrites("patch TerminalSession/status till-1") // its new version
			h.expect("till-1", "Established: Ready (Established)")
			if diff := cmp.Diff(secret, h.secret("till-1-token")); diff != "" {
				t.Errorf("what was added is not kept (-want +got):\n%s", diff)
			}
			after := h.get("till-1").Status
			before.Token.SecretVersion, after.Token.SecretVersion = "", ""
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("status is another (-want +got):\n%s", diff)
			}
			change(h, secret, func(s *corev1.Secret) { s.Finalizers = nil })
		})
	}
}

var coOwner = metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "other", UID: "7a1b8c1e-0000-4000-8000-000000000001"}

func TestSomebodyElsesSecretIsNeitherOverwrittenNorDeleted(t *testing.T) {
	t.Parallel()
	for name, theirs := range map[string]func(*corev1.Secret){
		"plain":            func(*corev1.Secret) {},
		"of the same type": func(s *corev1.Secret) { s.Type = "terminals.dev/token" },
		"with our label":   func(s *corev1.Secret) { s.Labels = map[string]string{"terminals.dev/session": "till-1"} },
		"with other owners": func(s *corev1.Secret) {
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "till-1", UID: coOwner.UID, Controller: new(true)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			foreign := opaque("till-1-token", "token", "precious")
			theirs(foreign)
			h.apply(foreign, session("till-1"))

			untouched := func(when string) {
				t.Helper()
				h.settle("till-1")
				if diff := cmp.Diff(foreign, h.secret("till-1-token")); diff != "" {
					t.Errorf("%s the Secret is another (-want +got):\n%s", when, diff)
				}
			}
			untouched("while a login is wanted")
			h.expect("till-1", "NotLoggedIn: Stalled (SecretNameTaken)")
			h.expectMessage(h.get("till-1"), "Secret till-1-token", "set spec.token.secretName to another name, or remove that Secret")
			h.expectCalls()
			h.edit("till-1", to(loggedOut))
			untouched("after a logout")
			h.expect("till-1", "NotLoggedIn: Ready (LoggedOut)")
			h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn })
			untouched("after another login")

			h.delete(foreign)
			h.settle("till-1")
			h.expect("till-1", "Established: Ready (Established)")
		})
	}
}

func TestSomebodyElsesSecretOutlivesTheSession(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	foreign := opaque("till-1-token", "token", "precious")
	foreign.Labels = map[string]string{"terminals.dev/session": "till-1"}
	s := session("till-1")
	h.apply(foreign, s)
	h.settle("till-1")
	h.delete(s)

	h.settle("till-1")

	if diff := cmp.Diff(foreign, h.secret("till-1-token")); diff != "" {
		t.Errorf("the Secret is another (-want +got):\n%s", diff)
	}
}

func TestASealedTokenSecretIsReplacedByARenewal(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	before := h.get("till-1").Status
	change(h, h.secret("till-1-token"), func(s *corev1.Secret) { s.Immutable = new(true) })
	h.untilRenewal("till-1")

	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls("Renew")
	if after := h.get("till-1").Status; after.SessionID != before.SessionID || after.Token.Renewals != 1 {
		t.Errorf("status is %+v", after)
	}
}

func TestASecretThatComesUpDuringALoginIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	foreign := opaque("till-1-token", "token", "precious")
	h.apply(session("till-1"))
	h.answers.say(meanwhile(func() { h.apply(foreign) }))

	if _, err := h.try("till-1"); err == nil {
		t.Error("it is not tried again")
	}
	h.answers.say(nil)
	h.settle("till-1")

	h.expect("till-1", "NotLoggedIn: Stalled (SecretNameTaken)")
	if diff := cmp.Diff(foreign, h.secret("till-1-token")); diff != "" {
		t.Errorf("the Secret is another (-want +got):\n%s", diff)
	}
}

func TestASecretThatIsReplacedDuringARenewalIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.untilRenewal("till-1")
	foreign := opaque("till-1-token", "token", "precious")
	h.answers.say(meanwhile(func() {
		h.delete(h.secret("till-1-token"))
		h.apply(foreign)
	}))

	if _, err := h.try("till-1"); err == nil {
		t.Error("it is not tried again")
	}
	h.answers.say(nil)
	h.settle("till-1")

	h.expect("till-1", "NotLoggedIn: Stalled (SecretNameTaken)")
	if diff := cmp.Diff(foreign, h.secret("till-1-token")); diff != "" {
		t.Errorf("the Secret is another (-want +got):\n%s", diff)
	}
}

func TestATokenSecretThatSomebodyTakesOverIsTheirs(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	secret := h.secret("till-1-token")
	change(h, secret, func(s *corev1.Secret) { s.OwnerReferences = nil })

	h.settle("till-1")

	h.expect("till-1", "NotLoggedIn: Stalled (SecretNameTaken)")
	if diff := cmp.Diff(secret, h.secret("till-1-token")); diff != "" {
		t.Errorf("the Secret is another (-want +got):\n%s", diff)
	}
	h.delete(secret)
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
}

func TestOfTwoSessionsThatNameOneSecretOneHasItForGood(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-2", inSecret("shared")))
	h.apply(session("till-1", inSecret("shared")))
	check := func(when string) {
		t.Helper()
		h.settle("till-1", "till-2")
		h.settle("till-2", "till-1")
		t.Log(when)
		h.expect("till-2", "Established: Ready (Established)")
		h.expect("till-1", "NotLoggedIn: Stalled (SecretNameTaken)")
		h.expectMessage(h.get("till-1"), "that of session till-2")
	}
	check("at first")
	h.restart()
	check("after a restart")
	h.delete(h.secret("shared"))
	check("after the Secret was deleted")
	h.untilRenewal("till-2")
	check("after a renewal")

	h.delete(h.get("till-2"))
	h.settle("till-2", "till-1")
	h.expect("till-1", "Established: Ready (Established)")
}

func TestTheHolderOfASecretKeepsItThroughAnOutage(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.apply(session("till-1", loggedOut)) // the older one, and the first by name
	h.loggedIn(session("till-2", inSecret("shared")))
	h.edit("till-1", func(s *v1.TerminalSession) {
		s.Spec.DesiredState, s.Spec.Token.SecretName = v1.LoggedIn, "shared"
	})
	h.settle("till-1", "till-2")
	h.expect("till-1", "NotLoggedIn: Stalled (SecretNameTaken)")
	h.answers.say(unavailable)
	h.delete(h.secret("shared"))
	h.settle("till-2", "till-1")
	h.answers.say(nil)

	h.untilBackoffIsOver("till-2")
	h.settle("till-1", "till-2")

	h.expect("till-2", "Established: Ready (Established)")
	h.expect("till-1", "NotLoggedIn: Stalled (SecretNameTaken)")
}
