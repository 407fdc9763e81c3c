package integration_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider/embedded"
)

// expectProvider checks a provider's condition Ready: "True (Ready)", "False (SigningKeyMissing)".
func (h *harness) expectProvider(p v1.Provider, want string) {
	h.t.Helper()
	h.again(p)
	ready := meta.FindStatusCondition(p.ProviderStatus().Conditions, v1.ConditionReady)
	if ready == nil {
		h.t.Fatalf("nobody has looked at provider %s", p.GetName())
	}
	if got := string(ready.Status) + " (" + ready.Reason + ")"; got != want {
		h.t.Errorf("provider %s is ready: %s, want %s: %s", p.GetName(), got, want, ready.Message)
	}
	stalled := meta.IsStatusConditionTrue(p.ProviderStatus().Conditions, v1.ConditionStalled)
	reconciling := meta.IsStatusConditionTrue(p.ProviderStatus().Conditions, v1.ConditionReconciling)
	if stalled && reconciling || (stalled || reconciling) == (ready.Status == metav1.ConditionTrue) || p.ProviderStatus().ObservedGeneration != p.GetGeneration() {
		h.t.Errorf("provider %s contradicts itself: %+v", p.GetName(), p.ProviderStatus())
	}
}

// again reads an object anew.
func (h *harness) again(obj client.Object) {
	h.t.Helper()
	if err := h.api.Get(h.ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
		h.t.Fatal(err)
	}
}

func TestASessionHealsWhenTheCauseGoes(t *testing.T) {
	t.Parallel()
	north := func(ns *corev1.Namespace) { ns.Labels = map[string]string{"region": "north"} }
	for name, test := range map[string]struct {
		cause func(h *harness) v1.Provider
		is    string
		says  []string
		cure  func(h *harness, p v1.Provider)
	}{
		"the provider is created": {
			cause: func(*harness) v1.Provider { return sessionProvider("late") },
			is:    "NotLoggedIn: Stalled (ProviderNotFound)",
			says:  []string{"SessionProvider late", "create it"},
			cure:  func(h *harness, p v1.Provider) { h.provide(p) },
		},
		"the controller looks at the provider": {
			cause: func(h *harness) v1.Provider {
				p := sessionProvider("new")
				h.apply(p)
				return p
			},
			is:   "NotLoggedIn: Reconciling (ProviderPending)",
			says: []string{"SessionProvider new"},
			cure: func(h *harness, p v1.Provider) { h.look(p) },
		},
		"the provider becomes ready": {
			cause: func(h *harness) v1.Provider {
				p := sessionProvider("webhook", unusable)
				h.provide(p)
				return p
			},
			is:   "NotLoggedIn: Stalled (ProviderNotReady)",
			says: []string{"SessionProvider webhook", "CredentialsMissing", "Secret nowhere does not exist: create it"},
			cure: func(h *harness, p v1.Provider) {
				change(h, p.(*v1.SessionProvider), func(p *v1.SessionProvider) {
					p.Spec.Webhook, p.Spec.Embedded = nil, &v1.EmbeddedProvider{}
				})
				h.look(p)
			},
		},
		"the provider allows somebody": {
			cause: func(h *harness) v1.Provider {
				p := h.clusterProvider()
				h.provide(p)
				return p
			},
			is:   "NotLoggedIn: Stalled (ProviderNotAllowed)",
			says: []string{"spec.allow", "ClusterSessionProvider"},
			cure: func(h *harness, p v1.Provider) {
				change(h, p.(*v1.ClusterSessionProvider), func(p *v1.ClusterSessionProvider) {
					p.Spec.Allow = []v1.AllowRule{{MerchantIDs: []string{"other"}}, {MerchantIDs: []string{"acme"}}}
				})
				h.look(p)
			},
		},
		"the namespace gets the label that is allowed": {
			cause: func(h *harness) v1.Provider {
				selector := &metav1.LabelSelector{MatchLabels: map[string]string{"region": "north"}}
				p := h.clusterProvider(v1.AllowRule{NamespaceSelector: selector})
				h.provide(p)
				return p
			},
			is:   "NotLoggedIn: Stalled (ProviderNotAllowed)",
			says: []string{"spec.allow"},
			cure: func(h *harness, _ v1.Provider) {
				change(h, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}}, north)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			p := test.cause(h)
			h.apply(session("till-1", at(v1.ProviderKind(kindOf(p)), p.GetName())))
			h.settle("till-1")
			h.expect("till-1", test.is)
			h.expectMessage(h.get("till-1"), test.says...)
			h.expectCalls()

			test.cure(h, p)
			h.settle("till-1")

			h.expect("till-1", "Established: Ready (Established)")
			h.expectCalls("Login")
			if got := h.get("till-1").Generation; got != 1 {
				t.Errorf("the session was edited: generation %d", got)
			}
		})
	}
}

// unusable makes a provider one that is not ready: its credentials are nowhere.
func unusable(s *v1.SessionProviderSpec) {
	s.Embedded, s.Webhook = nil, &v1.WebhookProvider{
		URL:            "https://handler.example.com/sessions",
		Authentication: &v1.WebhookAuthentication{BearerTokenSecretRef: &v1.SecretKeyReference{Name: "nowhere", Key: "token"}},
	}
}

func TestAnEstablishedSessionOutlivesItsProvider(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	token := h.token("till-1-token")
	p := h.provider(issuer)
	h.delete(p)
	h.look(p)

	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)") // it needs none yet

	h.untilRenewal("till-1")
	h.settle("till-1")
	h.expect("till-1", "Established: Stalled (ProviderNotFound)")
	if h.token("till-1-token") != token {
		t.Error("the token is another")
	}
	h.step(month)
	h.settle("till-1")
	h.expect("till-1", "TokenExpired: Stalled (ProviderNotFound)")

	h.provide(sessionProvider(issuer))
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls("Renew")
}

func TestWithAccessToSingleNamespacesAClusterProviderIsOutOfReach(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.provide(h.clusterProvider(v1.AllowRule{}))
	h.providers.Namespaces = []string{h.namespace} // as --namespaces has it
	h.apply(session("till-1", at(v1.KindClusterSessionProvider, h.namespace)), session("till-2"))

	h.settle("till-1", "till-2")

	h.expect("till-1", "NotLoggedIn: Stalled (ProviderNotFound)")
	h.expectMessage(h.get("till-1"), "single namespaces", "set spec.providerRef.kind to SessionProvider")
	h.expect("till-2", "Established: Ready (Established)")
	var nothing any
	if status := h.serve("GET", "https://sessions.test"+embedded.Path("", h.namespace)+"/jwks", nil, &nothing); status != 404 {
		t.Errorf("the keys of a provider that is out of reach are answered with %d", status)
	}
}

func TestASessionIsServedByAClusterProviderThatAllowsIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rules []v1.AllowRule
		want  string
	}{
		"no rule":                    {nil, "NotLoggedIn: Stalled (ProviderNotAllowed)"},
		"the empty rule":             {[]v1.AllowRule{{}}, "Established: Ready (Established)"},
		"the merchant":               {[]v1.AllowRule{{MerchantIDs: []string{"acme"}}}, "Established: Ready (Established)"},
		"another merchant":           {[]v1.AllowRule{{MerchantIDs: []string{"apex"}}}, "NotLoggedIn: Stalled (ProviderNotAllowed)"},
		"the domain":                 {[]v1.AllowRule{{UserEmailDomains: []string{"ACME.example"}}}, "Established: Ready (Established)"},
		"another domain":             {[]v1.AllowRule{{UserEmailDomains: []string{"apex.example"}}}, "NotLoggedIn: Stalled (ProviderNotAllowed)"},
		"half of one rule":           {[]v1.AllowRule{{MerchantIDs: []string{"acme"}, UserEmailDomains: []string{"apex.example"}}}, "NotLoggedIn: Stalled (ProviderNotAllowed)"},
		"one rule of two":            {[]v1.AllowRule{{MerchantIDs: []string{"apex"}}, {Scopes: []string{"payments"}}}, "Established: Ready (Established)"},
		"a scope that is not listed": {[]v1.AllowRule{{Scopes: []string{"refunds"}}}, "NotLoggedIn: Stalled (ProviderNotAllowed)"},
		"the audience":               {[]v1.AllowRule{{Audiences: []string{"https://pay.example"}}}, "Established: Ready (Established)"},
		"another audience":           {[]v1.AllowRule{{Audiences: []string{"https://stock.example"}}}, "NotLoggedIn: Stalled (ProviderNotAllowed)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.provide(h.clusterProvider(test.rules...))
			h.apply(session("till-1", at(v1.KindClusterSessionProvider, h.namespace), func(s *v1.TerminalSessionSpec) {
				s.Token.Scopes, s.Token.Audiences = []string{"payments"}, []string{"https://pay.example"}
			}))

			h.settle("till-1")

			h.expect("till-1", test.want)
		})
	}
}

// unseen is a cache that does not have some objects yet.
type unseen struct{ client.Reader }

func (unseen) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(v1.GroupVersion.WithResource(strings.ToLower(kindOf(obj))).GroupResource(), key.Name)
}

func TestNobodyIsAllowedInANamespaceThatTheCacheDoesNotHaveYet(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.provide(h.clusterProvider())
	h.apply(session("till-1", at(v1.KindClusterSessionProvider, h.namespace)))
	h.wire.frozen = map[string]client.Reader{"Namespace": unseen{}}

	if _, err := h.try("till-1"); err == nil {
		t.Error("it is not tried again")
	}
	h.expectCalls()
	h.expectNo("till-1-token")

	h.wire.frozen = nil
	h.settle("till-1")
	h.expect("till-1", "NotLoggedIn: Stalled (ProviderNotAllowed)")
}

func TestTwoProvidersWithOneIssuerURL(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	url := "https://sessions.example.com/" + h.namespace
	same := func(s *v1.SessionProviderSpec) { s.Embedded.IssuerURL = url }
	first, second := sessionProvider("first", same), sessionProvider("second", same)
	h.apply(first, second)
	h.look(first)
	h.look(second)
	has, waits := first, second
	if first.CreationTimestamp.Equal(&second.CreationTimestamp) && second.UID < first.UID {
		has, waits = second, first // made within one second, the UID decides
		h.look(second)
		h.look(first)
	}
	h.apply(session("till-1", at(v1.KindSessionProvider, has.Name)), session("till-2", at(v1.KindSessionProvider, waits.Name)))
	h.settle("till-1", "till-2")

	h.expectProvider(has, "True (Ready)")
	h.expectProvider(waits, "False (IssuerURLTaken)")
	h.expectMessage(waits, "SessionProvider "+h.namespace+"/"+has.Name, "spec.embedded.issuerURL")
	h.expect("till-1", "Established: Ready (Established)")
	h.expect("till-2", "NotLoggedIn: Stalled (ProviderNotReady)")

	h.delete(has)
	h.look(waits)
	h.settle("till-2")
	h.expectProvider(waits, "True (Ready)")
	h.expect("till-2", "Established: Ready (Established)")
}

func TestAProvidersStatusTellsWhatItIs(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	cluster := h.clusterProvider(v1.AllowRule{})
	h.provide(cluster)
	for _, p := range []v1.Provider{h.provider(issuer), cluster} {
		h.expectProvider(p, "True (Ready)")
		st := p.ProviderStatus()
		if want := "https://sessions.test" + embedded.Path(p.GetNamespace(), p.GetName()); st.IssuerURL != want {
			t.Errorf("the issuer URL is %s, want %s", st.IssuerURL, want)
		}
		if len(st.KeyIDs) != 1 {
			t.Errorf("the keys are %v, want one", st.KeyIDs)
		}
	}
}
