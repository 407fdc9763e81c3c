package integration_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider/embedded"
	"terminals.dev/session-controller/internal/tokenstore"
)

// keySecret returns the Secret of the only signing key of the issuer that every test has.
func (h *harness) keySecret() *corev1.Secret {
	h.t.Helper()
	ids := h.provider(issuer).Status.KeyIDs
	if len(ids) != 1 {
		h.t.Fatalf("the issuer has the keys %v, want one", ids)
	}
	secret := h.secret(tokenstore.SigningKeyName(issuer, ids[0]))
	if secret == nil {
		h.t.Fatalf("there is no Secret of key %s", ids[0])
	}
	return secret
}

// signingKeys returns the names of a provider's signing key Secrets.
func (h *harness) signingKeys(namespace, provider string) []string {
	h.t.Helper()
	list := &corev1.SecretList{}
	if err := h.api.List(h.ctx, list, client.InNamespace(namespace), client.MatchingLabels{tokenstore.LabelProvider: provider}); err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}

func TestASigningKeyIsKeptInASecretOfItsProvider(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	p, secret := h.provider(issuer), h.keySecret()
	if secret.Type != "terminals.dev/signing-key" || secret.Immutable == nil || !*secret.Immutable {
		t.Errorf("type %s, immutable %v", secret.Type, secret.Immutable)
	}
	if owner := metav1.GetControllerOf(secret); owner == nil || owner.UID != p.UID || owner.Kind != "SessionProvider" {
		t.Errorf("the owner is %v", owner)
	}

	cluster := h.clusterProvider(v1.AllowRule{})
	h.provide(cluster)
	if names := h.signingKeys(systemNamespace, cluster.Name); len(names) != 1 {
		t.Errorf("a ClusterSessionProvider's keys in the controller's namespace are %v, want one", names)
	}
	if names := h.signingKeys(h.namespace, cluster.Name); len(names) != 0 {
		t.Errorf("a ClusterSessionProvider's keys in a tenant's namespace are %v", names)
	}
}

func TestASigningKeyThatIsGoneIsMissedAndNotMadeAnew(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.apply(session("till-2"))
	secret, p := h.keySecret(), h.provider(issuer)
	h.delete(secret)

	h.look(p)
	h.settle("till-1", "till-2")

	h.expectProvider(p, "False (SigningKeyMissing)")
	h.expectMessage(p, secret.Name, "restore it", "status.keyIDs")
	if names := h.signingKeys(h.namespace, issuer); len(names) > 0 {
		t.Errorf("there are keys: %v", names)
	}
	h.expect("till-1", "Established: Ready (Established)")
	h.expect("till-2", "NotLoggedIn: Stalled (ProviderNotReady)")
	h.expectMessage(h.get("till-2"), "SigningKeyMissing", secret.Name)
	h.untilRenewal("till-1")
	h.settle("till-1")
	h.expect("till-1", "Established: Stalled (ProviderNotReady)")
	h.expectMessage(h.get("till-1"), "SigningKeyMissing", secret.Name)

	h.restart()
	h.look(p)
	h.expectProvider(p, "False (SigningKeyMissing)")

	secret.ObjectMeta = metav1.ObjectMeta{Name: secret.Name, Labels: secret.Labels, OwnerReferences: secret.OwnerReferences}
	h.apply(secret) // as from a backup
	h.look(p)
	h.settle("till-1", "till-2")
	h.expectProvider(p, "True (Ready)")
	h.expect("till-1", "Established: Ready (Established)")
	h.expect("till-2", "Established: Ready (Established)")
}

func TestALostSigningKeyCanBeGivenUp(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	p := h.provider(issuer)
	lost := p.Status.KeyIDs[0]
	h.delete(h.keySecret())
	h.look(p)

	h.again(p)
	before := p.DeepCopy()
	p.Status.KeyIDs = nil
	if err := h.api.Status().Patch(h.ctx, p, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	h.look(p)

	h.expectProvider(p, "True (Ready)")
	if len(p.Status.KeyIDs) != 1 || p.Status.KeyIDs[0] == lost {
		t.Errorf("the keys are %v, want another than %s", p.Status.KeyIDs, lost)
	}
	h.loggedIn(session("till-1"))
	h.claims(h.issuerURL(), h.token("till-1-token"))
}

func TestASigningKeyThatWasReplacedIsBroken(t *testing.T) {
	t.Parallel()
	another, err := embedded.NewKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := another.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, with := range map[string][]byte{"garbage": []byte("garbage"), "nothing": nil, "another key": pem} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.loggedIn(session("till-1"))
			h.apply(session("till-2"))
			secret, p := h.keySecret(), h.provider(issuer)
			right := secret.Data
			replace := func(data map[string][]byte) {
				h.delete(secret)
				secret.ObjectMeta = metav1.ObjectMeta{Name: secret.Name, Labels: secret.Labels, OwnerReferences: secret.OwnerReferences}
				secret.Data = data
				h.apply(secret)
			}
			replace(map[string][]byte{tokenstore.KeyPrivateKey: with})

			h.look(p)
			h.settle("till-1", "till-2")

			h.expectProvider(p, "False (SigningKeyBroken)")
			h.expectMessage(p, secret.Name, "restore it")
			h.expect("till-1", "Established: Ready (Established)")
			h.expect("till-2", "NotLoggedIn: Stalled (ProviderNotReady)")
			h.expectMessage(h.get("till-2"), "SigningKeyBroken", secret.Name)
			h.restart()
			h.look(p)
			h.expectProvider(p, "False (SigningKeyBroken)")

			replace(right)
			h.look(p)
			h.settle("till-2")
			h.expectProvider(p, "True (Ready)")
			h.expect("till-2", "Established: Ready (Established)")
		})
	}
}

func TestASigningKeyIsMadeOnceWhereverTheControllerIsKilled(t *testing.T) {
	t.Parallel()
	for _, at := range []moment{{1, false}, {1, true}, {2, false}, {2, true}} {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			p := sessionProvider("other")
			h.apply(p)

			if !h.killed(at, func() { h.look(p) }) {
				t.Fatal("the controller lives")
			}
			h.restart()
			h.look(p)

			h.expectProvider(p, "True (Ready)")
			if names := h.signingKeys(h.namespace, "other"); len(names) != 1 {
				t.Errorf("the keys are %v, want one", names)
			}
		})
	}
}

func TestNoKeyIsMissedWhereverTheControllerIsKilledWhileOneRetires(t *testing.T) {
	t.Parallel()
	for write := 1; ; write++ {
		for _, after := range []bool{false, true} {
			h := newHarness(t)
			p := sessionProvider("rotating", func(s *v1.SessionProviderSpec) { s.Embedded.KeyRotationInterval = lasting(8760 * time.Hour) })
			h.provide(p)
			h.again(p)
			first := p.Status.KeyIDs[0]
			h.step(8760 * time.Hour)
			h.look(p)
			h.step(8790 * time.Hour)
			if !h.killed(moment{write, after}, func() { h.look(p); h.look(p) }) {
				if write < 3 {
					t.Errorf("the key retires within %d writes", write-1)
				}
				return
			}

			h.restart()
			h.look(p)
			h.look(p)

			h.expectProvider(p, "True (Ready)")
			if slices.Contains(p.Status.KeyIDs, first) || h.secret(tokenstore.SigningKeyName("rotating", first)) != nil {
				t.Errorf("killed %s, key %s is still there", moment{write, after}, first)
			}
		}
	}
}

func TestKeysAreRotatedAndOldTokensKeepVerifying(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	p := sessionProvider("rotating", func(s *v1.SessionProviderSpec) { s.Embedded.KeyRotationInterval = lasting(month) })
	h.apply(p)
	wake := h.look(p)
	h.again(p)
	first, url := p.Status.KeyIDs[0], p.Status.IssuerURL
	h.loggedIn(session("till-1", at(v1.KindSessionProvider, "rotating"), func(s *v1.TerminalSessionSpec) { s.Token.Lifetime = lasting(8760 * time.Hour) }))
	old := h.token("till-1-token")

	// The next key is published a day before it signs.
	if want := month - 24*time.Hour; wake.RequeueAfter < want-2*time.Second || wake.RequeueAfter > want+2*time.Second {
		t.Errorf("the provider is looked at again in %s, want in %s", wake.RequeueAfter, want)
	}
	h.step(month - 23*time.Hour)
	wake = h.look(p)
	h.again(p)
	if len(p.Status.KeyIDs) != 2 || !slices.Contains(p.Status.KeyIDs, first) || !slices.IsSorted(p.Status.KeyIDs) {
		t.Fatalf("the keys are %v, want %s and another", p.Status.KeyIDs, first)
	}
	second := p.Status.KeyIDs[0]
	if second == first {
		second = p.Status.KeyIDs[1]
	}
	published := func() []string {
		var ids []string
		for _, key := range h.keys(url + "/jwks").Keys {
			ids = append(ids, key.KeyID)
		}
		slices.Sort(ids)
		return ids
	}
	if diff := cmp.Diff(p.Status.KeyIDs, published()); diff != "" {
		t.Errorf("other keys are served than status has (-status +served):\n%s", diff)
	}
	if got := h.signer("till-2", p); got != first {
		t.Errorf("key %s signs before it has been published for a day", got)
	}

	h.step(wake.RequeueAfter)
	h.look(p)
	if got := h.signer("till-3", p); got != second {
		t.Errorf("key %s signs, want %s", got, second)
	}
	for _, token := range []string{old, h.token("till-2-token"), h.token("till-3-token")} {
		h.claims(url, token)
	}
	h.restart()
	h.look(p)
	h.claims(url, old)

	// The first key goes when the last token that it can have signed is over.
	for range 14 {
		h.step(month)
		h.look(p) // status lets go of a key first, so that none is missed after a crash
		h.look(p)
	}
	if slices.Contains(published(), first) || h.secret(tokenstore.SigningKeyName("rotating", first)) != nil {
		t.Error("the first key is still there")
	}
	h.again(p)
	if diff := cmp.Diff(p.Status.KeyIDs, published()); diff != "" {
		t.Errorf("other keys are served than status has (-status +served):\n%s", diff)
	}
}

// signer logs a session in and returns the ID of the key that has signed its token.
func (h *harness) signer(name string, p v1.Provider) string {
	h.t.Helper()
	h.loggedIn(session(name, at(v1.KindSessionProvider, p.GetName())))
	return keyID(h.t, h.token(name+"-token"))
}
