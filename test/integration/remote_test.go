package integration_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/egress"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/test/testenv"
)

// nobodyInParticular is a session of whoever logs in.
func nobodyInParticular(s *v1.TerminalSessionSpec) { s.User = nil }

// expectAsked checks what a server was asked since the last time.
func (h *harness) expectAsked(s *server, want ...string) {
	h.t.Helper()
	asked, _ := s.taken()
	if diff := cmp.Diff(want, asked, cmpopts.EquateEmpty()); diff != "" {
		h.t.Errorf("the server was asked something else (-want +got):\n%s", diff)
	}
}

// expectHeals checks whether a provider that is not ready waits for something to be over by itself.
func (h *harness) expectHeals(p v1.Provider, want bool) {
	h.t.Helper()
	h.again(p)
	if got := meta.IsStatusConditionTrue(p.ProviderStatus().Conditions, v1.ConditionReconciling); got != want {
		h.t.Errorf("provider %s is reconciling: %v, want %v", p.GetName(), got, want)
	}
}

const (
	askMetadata = "GET /.well-known/openid-configuration"
	askProof    = "POST /revoke" // of a token that nobody has
	askToken    = "POST /token"
)

// pair is a certificate and its key.
func pair(t *testing.T) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	if err := testenv.Certificate(dir); err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{}
	for _, name := range []string{"tls.crt", "tls.key"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		data[name] = content
	}
	return data
}

func TestAProviderWithoutItsCredentialsSaysWhatToCreateAndIsReadyWhenTheyAreThere(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		name string
		spec func(*server, string) func(*v1.SessionProviderSpec)
		data func(*testing.T) map[string][]byte
		// key is the last that it needs, and what is in it.
		key, what string
	}{
		{
			"oauth2", (*server).oauth2, func(*testing.T) map[string][]byte { return map[string][]byte{"secret": []byte("hunter2")} },
			"secret", "the client's secret",
		},
		{
			"webhook", (*server).webhook, func(*testing.T) map[string][]byte { return map[string][]byte{"secret": []byte("hunter2")} },
			"secret", "the bearer token",
		},
		{"webhook with a client certificate", (*server).certified, pair, "tls.key", "its private key"},
	} {
		for _, test := range []struct {
			name  string
			spoil func(*corev1.Secret) *corev1.Secret
			says  []string
		}{
			{"no Secret", func(*corev1.Secret) *corev1.Secret { return nil }, []string{"Secret idp does not exist: create it", "under the key "}},
			{"no key", func(s *corev1.Secret) *corev1.Secret {
				delete(s.Data, kind.key)
				return s
			}, []string{"Secret idp has no key " + kind.key + ": add it, with " + kind.what}},
			{"nothing in the key", func(s *corev1.Secret) *corev1.Secret {
				s.Data[kind.key] = []byte(" \n")
				return s
			}, []string{"The key " + kind.key + " of Secret idp is empty: put " + kind.what + " there"}},
		} {
			t.Run(kind.name+", "+test.name, func(t *testing.T) {
				t.Parallel()
				h, srv := newHarness(t), newServer(t)
				whole := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "idp"}, Data: kind.data(t)}
				if spoilt := test.spoil(whole.DeepCopy()); spoilt != nil {
					h.apply(spoilt)
				}
				p := sessionProvider("remote", kind.spec(srv, "idp"))
				h.provide(p)
				h.apply(session("till-1", at(v1.KindSessionProvider, "remote")))
				h.settle("till-1")

				h.expectProvider(p, "False (CredentialsMissing)")
				h.expectHeals(p, false)
				h.expectMessage(p, test.says...)
				h.expect("till-1", "NotLoggedIn: Stalled (ProviderNotReady)")
				h.expectMessage(h.get("till-1"), test.says...)
				for range 3 {
					if result := h.look(p); result.RequeueAfter != 0 {
						t.Errorf("it is looked at again in %s though only a person can help", result.RequeueAfter)
					}
				}
				h.expectAsked(srv)

				h.wire.taken()
				if there := h.secret("idp"); there != nil {
					change(h, there, func(s *corev1.Secret) { s.Data = whole.Data })
				} else {
					h.apply(whole)
				}
				h.look(p)
				h.settle("till-1")
				h.expectProvider(p, "True (Ready)")
				h.expect("till-1", "Established: Ready (Established)")
				_, reads := h.wire.taken()
				if n := len(slices.DeleteFunc(reads, func(r string) bool { return r != "get Secret idp" })); n != 1 {
					t.Errorf("its Secret was read %d times, want once", n)
				}
			})
		}
	}
}

func TestAClusterProvidersCredentialsAreInTheControllersNamespace(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	name := "idp-of-" + h.namespace
	p := h.clusterProvider(v1.AllowRule{})
	srv.oauth2(name)(&p.Spec.SessionProviderSpec)
	h.apply(opaque(name, "secret", "the wrong one"))
	h.provide(p)
	h.expectProvider(p, "False (CredentialsMissing)")
	h.expectMessage(p, "Secret "+systemNamespace+"/"+name+" does not exist: create it, with the client's secret under the key secret")

	right := opaque(name, "secret", "hunter2")
	right.Namespace = systemNamespace
	if err := h.api.Create(h.ctx, right); err != nil {
		t.Fatal(err)
	}
	h.look(p)
	h.expectProvider(p, "True (Ready)")
	h.apply(session("till-1", at(v1.KindClusterSessionProvider, p.Name), nobodyInParticular))
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
	if _, proofs := srv.taken(); !slices.Equal(proofs, []string{"hunter2"}) {
		t.Errorf("the server was shown %q", proofs)
	}
}

func TestANamespacedProviderCannotNameASecretElsewhere(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	name := "idp-of-" + h.namespace
	elsewhere := opaque(name, "secret", "hunter2")
	elsewhere.Namespace = systemNamespace
	if err := h.api.Create(h.ctx, elsewhere); err != nil {
		t.Fatal(err)
	}
	p := sessionProvider("remote", srv.oauth2(name))
	h.provide(p)
	h.expectProvider(p, "False (CredentialsMissing)")
	h.expectMessage(p, "Secret "+name+" does not exist")
	if strings.Contains(message(p, v1.ConditionReady), systemNamespace) {
		t.Errorf("the message tells of the controller's namespace: %s", message(p, v1.ConditionReady))
	}
	h.expectAsked(srv)

	slashed := sessionProvider("slashed", srv.oauth2(systemNamespace+"/"+name))
	slashed.Namespace = h.namespace
	if err := h.api.Create(h.ctx, slashed); err == nil || !strings.Contains(err.Error(), "must be the name of a Secret") {
		t.Errorf("a name with a namespace in it: %v", err)
	}
}

func TestNewCredentialsAreANewClientAndNoSessionIsWritten(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]func(*server, string) func(*v1.SessionProviderSpec){"oauth2": (*server).oauth2, "webhook": (*server).webhook} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, srv := newHarness(t), newServer(t)
			before, after := "before", "after"
			if name == "webhook" {
				before, after = "Bearer before", "Bearer after"
			}
			h.apply(opaque("idp", "secret", "before"))
			p := sessionProvider("remote", kind(srv, "idp"))
			h.provide(p)
			h.expectProvider(p, "True (Ready)")
			remote := at(v1.KindSessionProvider, "remote")
			h.loggedIn(session("till-1", remote))
			srv.taken()

			change(h, h.secret("idp"), putting("secret", "after"))
			h.wire.taken()
			h.reconcile("till-1")
			h.look(p)
			h.reconcile("till-1")
			writes, reads := h.wire.taken()
			if diff := cmp.Diff([]string{}, writes, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("it is written (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"get Secret idp"}, reads, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("what is read is something else (-want +got):\n%s", diff)
			}
			h.loggedIn(session("till-2", remote))
			if _, proofs := srv.taken(); !slices.Equal(proofs, []string{after}) {
				t.Errorf("the server was shown %q after %q, want %q", proofs, before, after)
			}
		})
	}
}

func TestASessionThatWasRejectedIsTriedAgainWithNewCredentials(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	h.apply(opaque("idp", "secret", "before"))
	h.provide(sessionProvider("remote", srv.oauth2("idp")))
	h.answers.say(rejected)
	h.apply(session("till-1", at(v1.KindSessionProvider, "remote")))
	h.settle("till-1")
	h.expect("till-1", "NotLoggedIn, held Rejected: Stalled (Rejected)")
	h.answers.say(nil)
	h.settle("till-1")
	h.expect("till-1", "NotLoggedIn, held Rejected: Stalled (Rejected)")

	change(h, h.secret("idp"), putting("secret", "after"))
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
}

func TestWhatIsWrongWithAServerIsSaidAsItIs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		wrong func(h *harness, s *server, spec *v1.SessionProviderSpec)
		is    string
		says  string
		heals bool
	}{
		{
			"another CA", func(h *harness, _ *server, spec *v1.SessionProviderSpec) {
				dir := h.t.TempDir()
				if err := testenv.Certificate(dir); err != nil {
					h.t.Fatal(err)
				}
				spec.OAuth2.CABundle, _ = os.ReadFile(filepath.Join(dir, "ca.crt"))
			}, "False (CertificateUnknown)", "check the CA bundle", false,
		},
		{
			"a CA bundle that is none", func(_ *harness, _ *server, spec *v1.SessionProviderSpec) { spec.OAuth2.CABundle = []byte("hello") },
			"False (CertificateUnknown)", "the CA bundle has no certificate", false,
		},
		{
			"another issuer", func(_ *harness, s *server, _ *v1.SessionProviderSpec) {
				s.metadata["issuer"] = "https://another.example.com"
			},
			"False (DiscoveryFailed)", "another issuer's", false,
		},
		{
			"a server that is down", func(_ *harness, s *server, _ *v1.SessionProviderSpec) { s.down = true },
			"False (DiscoveryFailed)", "cannot be reached", true,
		},
		{
			"credentials that the server does not know", func(_ *harness, s *server, _ *v1.SessionProviderSpec) { s.wants = "another" },
			"False (CredentialsRefused)", "check client ID, method and secret", false,
		},
		{
			"an address that is closed", func(h *harness, _ *server, _ *v1.SessionProviderSpec) { h.providers.Egress = egress.Allow{} },
			"False (DiscoveryFailed)", "--allow-loopback-providers", false,
		},
		{
			"plain http", func(_ *harness, s *server, spec *v1.SessionProviderSpec) {
				spec.OAuth2.IssuerURL = strings.Replace(s.URL, "https", "http", 1)
			}, "False (ProviderMisconfigured)", "--allow-http-providers", false,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, srv := newHarness(t), newServer(t)
			p := sessionProvider("remote", srv.oauth2("idp"))
			test.wrong(h, srv, &p.Spec)
			h.apply(opaque("idp", "secret", "hunter2"))
			h.provide(p)
			h.expectProvider(p, test.is)
			h.expectHeals(p, test.heals)
			h.expectMessage(p, test.says)
			text := message(p, v1.ConditionReady)
			if strings.Contains(text, "127.0.0.1") || strings.Contains(text, "hunter2") {
				t.Errorf("the message tells too much: %s", text)
			}
			h.apply(session("till-1", at(v1.KindSessionProvider, "remote")))
			h.settle("till-1")
			h.expect("till-1", "NotLoggedIn: Stalled (ProviderNotReady)")
		})
	}
}

func TestAWebhookAtAClosedAddressIsNotAskedAndItsSessionsSayWhichFlagOpensIt(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	h.providers.Egress = egress.Allow{Private: true}
	h.apply(opaque("hook", "secret", "hunter2"))
	h.provide(sessionProvider("remote", srv.webhook("hook")))
	h.apply(session("till-1", at(v1.KindSessionProvider, "remote")))
	h.settle("till-1")
	h.expect("till-1", "NotLoggedIn: Stalled (ProviderMisconfigured)")
	h.expectMessage(h.get("till-1"), "--allow-loopback-providers")
	h.expectAsked(srv)
}

func TestPlainHTTPIsForManagersThatAllowIt(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	plain := httptest.NewServer(srv.Config.Handler)
	t.Cleanup(plain.Close)
	for _, name := range []string{"issuer", "token_endpoint", "revocation_endpoint", "introspection_endpoint"} {
		srv.metadata[name] = plain.URL + map[string]string{"issuer": ""}[name] + "/" + strings.TrimSuffix(name, "_endpoint")
	}
	srv.metadata["issuer"] = plain.URL
	h.providers.AllowHTTP = true
	p := sessionProvider("remote", srv.public, func(s *v1.SessionProviderSpec) { s.OAuth2.IssuerURL = plain.URL })
	h.provide(p)
	h.expectProvider(p, "True (Ready)")
	h.loggedIn(session("till-1", at(v1.KindSessionProvider, "remote"), nobodyInParticular))
}

func TestAServerThatIsDownIsLookedAtEverMoreSeldomAndItsProviderIsReadyWhenItIsBack(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	srv.down = true
	p := sessionProvider("remote", srv.public)
	h.apply(p)
	for _, want := range []time.Duration{2, 4, 8, 16, 30, 30} {
		want *= time.Second
		if result := h.look(p); result.RequeueAfter != want {
			t.Errorf("it is looked at again in %s, want %s", result.RequeueAfter, want)
		}
		h.expectProvider(p, "False (DiscoveryFailed)")
		h.expectHeals(p, true)
		h.expectAsked(srv, askMetadata)

		h.step(want - time.Second) // something else wakes it
		if result := h.look(p); result.RequeueAfter != time.Second {
			t.Errorf("woken before its time it is looked at again in %s", result.RequeueAfter)
		}
		h.expectAsked(srv)
		h.step(time.Second)
	}
	if writes, _ := h.wire.taken(); len(writes) != 1 {
		t.Errorf("there were writes %v, want one", writes)
	}
	srv.set(func(s *server) { s.down = false })
	h.look(p)
	h.expectProvider(p, "True (Ready)")
	h.expectHeals(p, false)
	want := []v1.ProviderFeature{v1.FeatureRevocation}
	if diff := cmp.Diff(want, p.Status.Supports); diff != "" {
		t.Errorf("it can do something else (-want +got):\n%s", diff)
	}
}

func TestAProviderTellsWhatItCanDo(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	h.apply(opaque("idp", "secret", "hunter2"))
	srv.metadata["grant_types_supported"] = []string{"refresh_token"}
	srv.metadata["device_authorization_endpoint"] = srv.URL + "/device"
	device := func(s *v1.SessionProviderSpec) { s.OAuth2.Grant = v1.GrantDeviceCode }
	for _, test := range []struct {
		provider *v1.SessionProvider
		want     []v1.ProviderFeature
	}{
		{sessionProvider("oauth2", srv.oauth2("idp")), []v1.ProviderFeature{v1.FeatureRevocation, v1.FeatureIntrospection}},
		{sessionProvider("device", srv.oauth2("idp"), device), []v1.ProviderFeature{
			v1.FeatureRevocation, v1.FeatureIntrospection, v1.FeatureDeviceCode, v1.FeatureRefreshToken,
		}},
		{sessionProvider("webhook", srv.webhook("idp")), []v1.ProviderFeature{
			v1.FeatureIdempotency, v1.FeatureRevocation, v1.FeatureIntrospection, v1.FeatureDeviceCode,
		}},
	} {
		h.provide(test.provider)
		h.expectProvider(test.provider, "True (Ready)")
		if diff := cmp.Diff(test.want, test.provider.Status.Supports); diff != "" {
			t.Errorf("%s can do something else (-want +got):\n%s", test.provider.Name, diff)
		}
	}
}

func TestARestartWithProvidersThatAreReadyAsksNobodyAndWritesAndReadsNothing(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	h.apply(opaque("idp", "secret", "hunter2"))
	providers := []*v1.SessionProvider{sessionProvider("oauth2", srv.oauth2("idp")), sessionProvider("webhook", srv.webhook("idp"))}
	for i, name := range []string{"till-1", "till-2"} {
		h.provide(providers[i])
		h.loggedIn(session(name, at(v1.KindSessionProvider, providers[i].Name)))
	}
	srv.taken()
	for _, which := range []string{"resync", "restart"} {
		if which == "restart" {
			h.restart()
		}
		h.sync()
		h.wire.taken()
		for range 2 {
			for i, name := range []string{"till-1", "till-2"} {
				h.reconcile(name)
				h.look(providers[i])
			}
		}
		writes, reads := h.wire.taken()
		if diff := cmp.Diff([]string{}, append(writes, reads...), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("a %s is not free (-want +got):\n%s", which, diff)
		}
		h.expectAsked(srv)
	}
	// What is needed then is there then.
	h.untilRenewal("till-1")
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
	h.expectAsked(srv, askMetadata, askToken)
}

func TestAServerThatIsInOrderIsLookedAtEveryTenMinutes(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	h.apply(opaque("idp", "secret", "hunter2"))
	p := sessionProvider("remote", srv.oauth2("idp"))
	h.provide(p)
	h.expectAsked(srv, askMetadata, askProof)
	h.step(11 * time.Minute)
	if after := h.look(p).RequeueAfter; after < 9*time.Minute || after > 10*time.Minute {
		t.Errorf("it is looked at again in %s", after)
	}
	h.expectAsked(srv) // the document is kept for an hour
	h.step(time.Hour)
	srv.set(func(s *server) { s.metadata["issuer"] = "https://another.example.com" })
	h.look(p)
	h.expectAsked(srv, askMetadata)
	h.expectProvider(p, "False (DiscoveryFailed)")

	h.restart() // a process that knows nothing does not believe in one that is not ready
	srv.set(func(s *server) { delete(s.metadata, "issuer") })
	h.look(p)
	h.expectProvider(p, "True (Ready)")
	h.expectAsked(srv, askMetadata, askProof)
}

func TestACallThatFailsForTheWholeProviderHasItLookedAt(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	h.apply(opaque("idp", "secret", "hunter2"))
	p := sessionProvider("remote", srv.oauth2("idp"))
	h.provide(p)
	h.expectProvider(p, "True (Ready)")
	srv.set(func(s *server) { s.wants = "another" })
	h.apply(session("till-1", at(v1.KindSessionProvider, "remote")))
	h.reconcile("till-1")
	if after := h.look(p).RequeueAfter; after != 2*time.Second { // it was looked at just now
		t.Errorf("it is looked at in %s", after)
	}
	h.step(2 * time.Second)
	h.look(p)
	h.expectProvider(p, "False (CredentialsRefused)")

	srv.set(func(s *server) { s.wants = "" })
	change(h, h.secret("idp"), putting("secret", "another"))
	h.look(p)
	h.expectProvider(p, "True (Ready)")
	h.settle("till-1")
	h.expect("till-1", "Established: Ready (Established)")
}

// After a restart nobody has looked at what was altered meanwhile: it shows when it is needed.
func TestCredentialsThatWereSpoiltWhileTheControllerWasDownAreFoundWhenTheyAreNeeded(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	h.apply(opaque("hook", "secret", "hunter2"))
	p := sessionProvider("remote", srv.webhook("hook"))
	h.provide(p)
	change(h, h.secret("hook"), putting("secret", ""))
	h.restart()
	h.look(p)
	h.expectProvider(p, "True (Ready)")
	h.apply(session("till-1", at(v1.KindSessionProvider, "remote")))
	h.reconcile("till-1")
	h.step(2 * time.Second)
	h.look(p)
	h.expectProvider(p, "False (CredentialsMissing)")
	h.settle("till-1")
	h.expect("till-1", "NotLoggedIn: Stalled (ProviderNotReady)")
	h.expectMessage(h.get("till-1"), "The key secret of Secret hook is empty")
	h.expectAsked(srv)

	// One that is gone shows at once.
	h.delete(h.secret("hook"))
	h.restart()
	h.settle("till-1")
	h.look(p)
	h.expectProvider(p, "False (CredentialsMissing)")
	h.expectMessage(p, "Secret hook does not exist")
}

func TestAProviderThatFailsIsLeftAloneAndItsMetricsTell(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newServer(t)
	h.metrics.MustRegister(telemetry.NewProviderCollector(h.providers.Health))
	p := sessionProvider("remote", srv.public)
	h.provide(p)
	began := h.clock.Now()
	h.expectCircuit(0, began)
	h.step(time.Minute)
	srv.set(func(s *server) { s.down = true })
	srv.taken()
	names := []string{"till-1", "till-2", "till-3", "till-4", "till-5", "till-6", "till-7"}
	for _, name := range names {
		h.apply(session(name, at(v1.KindSessionProvider, "remote")))
		h.step(time.Millisecond)
		h.reconcile(name)
	}
	h.expectAsked(srv, askToken, askToken, askToken, askToken, askToken)
	h.expect("till-7", "Establishing: Reconciling (ProviderUnavailable)")
	h.expectMessage(h.get("till-7"), "SessionProvider remote was left alone after 5 failures in a row")
	h.expectCircuit(2, began)
	h.step(2 * time.Second)
	h.expectCircuit(1, began)

	srv.set(func(s *server) { s.down = false })
	h.step(time.Minute)
	h.settle(names...)
	for _, name := range names {
		h.expect(name, "Established: Ready (Established)")
	}
	h.expectCircuit(0, h.clock.Now())

	h.delete(p)
	if _, err := h.tryLook(p); err != nil {
		t.Fatal(err)
	}
	families, err := h.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "terminalsession_provider_circuit") || strings.HasPrefix(family.GetName(), "terminalsession_provider_last") {
			for _, m := range family.Metric {
				for _, l := range m.Label {
					if l.GetName() == "namespace" && l.GetValue() == h.namespace {
						t.Errorf("a provider that is gone is still in %s", family.GetName())
					}
				}
			}
		}
	}
}

// expectCircuit checks the two metrics of the test's one provider with a server.
func (h *harness) expectCircuit(state float64, reached time.Time) {
	h.t.Helper()
	got := map[string]float64{}
	h.sync()
	families, err := h.metrics.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.Metric {
			for _, l := range m.Label {
				if l.GetName() == "namespace" && l.GetValue() == h.namespace {
					got[family.GetName()] = m.GetGauge().GetValue()
				}
			}
		}
	}
	if got["terminalsession_provider_circuit_state"] != state {
		h.t.Errorf("the circuit's state is %v, want %v", got["terminalsession_provider_circuit_state"], state)
	}
	at := got["terminalsession_provider_last_reached_timestamp_seconds"]
	if d := at - float64(reached.UnixMilli())/1000; d > 0.01 || d < -0.01 {
		h.t.Errorf("it was last reached %gs off", d)
	}
}

// TestAProviderThatHangsHoldsUpNoOther runs the controllers by themselves, and alone: see TestWhatWakesASession.
func TestAProviderThatHangsHoldsUpNoOther(t *testing.T) {
	h, hangs, works := newHarness(t), newServer(t), newServer(t)
	h.manage()
	h.apply(sessionProvider("hangs", hangs.public), sessionProvider("works", works.public), sessionProvider("late", hangs.public))
	ready := func(name string) func() (string, bool) {
		return func() (string, bool) {
			p := h.provider(name)
			is := meta.FindStatusCondition(p.Status.Conditions, v1.ConditionReady)
			return name + " is not ready", is != nil && is.Status == metav1.ConditionTrue && p.Status.ObservedGeneration == p.Generation
		}
	}
	for _, name := range []string{"hangs", "works", "late"} {
		h.awaitThat(t, ready(name))
	}
	hangs.hang()
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		h.apply(session("hangs-"+name, at(v1.KindSessionProvider, "hangs"), nobodyInParticular))
	}
	h.awaitThat(t, func() (string, bool) {
		hangs.mu.Lock()
		defer hangs.mu.Unlock()
		return "nobody asks the one that hangs", slices.Contains(hangs.asked, askToken)
	})
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		h.apply(session("works-"+name, at(v1.KindSessionProvider, "works"), nobodyInParticular))
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		h.await(t, "works-"+name, "Established: Ready (Established)")
	}
	// A change of one has its server asked, which hangs; that of another is done meanwhile.
	change(h, h.provider("late"), func(p *v1.SessionProvider) { p.Spec.OAuth2.Scopes = []string{"a"} })
	change(h, h.provider("works"), func(p *v1.SessionProvider) { p.Spec.OAuth2.Scopes = []string{"a"} })
	h.awaitThat(t, ready("works"))
	if s := h.get("hangs-a"); s.Status.Phase == v1.PhaseEstablished {
		t.Error("the one that hangs has answered")
	}
}

// TestWhatWakesAProviderAndItsSessions is about the watches: see TestWhatWakesASession.
func TestWhatWakesAProviderAndItsSessions(t *testing.T) {
	h, srv := newHarness(t), newServer(t)
	h.manage()
	cluster := h.clusterProvider(v1.AllowRule{})
	name := "idp-of-" + h.namespace
	srv.oauth2(name)(&cluster.Spec.SessionProviderSpec)
	h.apply(cluster, sessionProvider("remote", srv.oauth2("idp")),
		session("till-1", at(v1.KindSessionProvider, "remote"), nobodyInParticular),
		session("till-2", at(v1.KindClusterSessionProvider, cluster.Name), nobodyInParticular))
	const established = "Established: Ready (Established)"
	t.Run("its Secret", func(t *testing.T) {
		h.await(t, "till-1", "NotLoggedIn: Stalled (ProviderNotReady)")
		srv.set(func(s *server) { s.down = true })
		h.apply(opaque("idp", "secret", "hunter2"))
		h.awaitThat(t, func() (string, bool) {
			p := h.provider("remote")
			return message(p, v1.ConditionReady), meta.IsStatusConditionTrue(p.Status.Conditions, v1.ConditionReconciling)
		})
	})
	t.Run("its server, which is back", func(t *testing.T) {
		srv.set(func(s *server) { s.down = false })
		h.await(t, "till-1", established)
	})
	t.Run("a cluster provider's Secret", func(t *testing.T) {
		h.await(t, "till-2", "NotLoggedIn: Stalled (ProviderNotReady)")
		secret := opaque(name, "secret", "hunter2")
		secret.Namespace = systemNamespace
		if err := h.api.Create(h.ctx, secret); err != nil {
			t.Fatal(err)
		}
		h.await(t, "till-2", established)
	})
	t.Run("a call that was refused for the whole provider", func(t *testing.T) {
		srv.set(func(s *server) { s.wants = "hunter3" })
		h.apply(session("till-3", at(v1.KindSessionProvider, "remote"), nobodyInParticular))
		h.await(t, "till-3", "NotLoggedIn: Stalled (ProviderNotReady)")
	})
	t.Run("credentials that are right again", func(t *testing.T) {
		change(h, h.secret("idp"), putting("secret", "hunter3"))
		h.await(t, "till-3", established)
	})
}
