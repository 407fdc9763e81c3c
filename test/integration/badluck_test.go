package integration_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "terminals.dev/session-controller/api/v1"
)

// The table of bad input. Each row spoils one answer of a server, shows what a person reads then, and that the session is established when the
// server is in order again.
func TestWhatAServerSaysWrongIsAConditionThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	oauth := func(s *unlucky) func(*v1.SessionProviderSpec) { return s.oauth2("idp") }
	hook := func(s *unlucky) func(*v1.SessionProviderSpec) {
		return func(spec *v1.SessionProviderSpec) {
			s.webhook("idp")(spec)
			spec.Webhook.TimeoutSeconds = 1
		}
	}
	review := `{"apiVersion": "terminals.dev/v1", "kind": "SessionReview", "response": %s}`
	for _, test := range []struct {
		name  string
		of    func(*unlucky) func(*v1.SessionProviderSpec)
		at    string
		wrong func(t *testing.T, s *unlucky, other *elsewhere) http.HandlerFunc
		// provider and session are how they stand then, and says is what is to be read.
		provider, session string
		says              []string
	}{
		{
			"discovery is never answered", oauth, atDiscovery, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc { return silence },
			"False (DiscoveryFailed)", providerNotReady, []string{"the discovery document gave no answer in time"},
		},
		{
			"discovery has 100 MB", oauth, atDiscovery, func(t *testing.T, _ *unlucky, _ *elsewhere) http.HandlerFunc { return endless(t) },
			"False (DiscoveryFailed)", providerNotReady, []string{"the discovery document has more than 1048576 bytes"},
		},
		{
			"discovery is a web page", oauth, atDiscovery, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc { return says(200, "text/html", page) },
			"False (DiscoveryFailed)", providerNotReady, []string{"is a web page (HTML) and not JSON: check the issuer URL"},
		},
		{
			"discovery redirects", oauth, atDiscovery, redirects,
			"False (DiscoveryFailed)", providerNotReady, []string{"redirects elsewhere (307), which is not followed: set the URL that it leads to"},
		},
		{
			"discovery names another issuer", oauth, atDiscovery, func(_ *testing.T, s *unlucky, _ *elsewhere) http.HandlerFunc {
				return saysJSON(200, `{"issuer": "https://%s.example", "token_endpoint": "%s/token"}`, marker, s.URL)
			},
			"False (DiscoveryFailed)", providerNotReady, []string{"is another issuer's than the one configured: it must be the same to the letter"},
		},
		{
			"the token endpoint never answers", oauth, atToken, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc { return silence },
			ready, outOfReach, []string{"the token endpoint gave no answer in time"},
		},
		{
			"the token endpoint answers 100 MB", oauth, atToken, func(t *testing.T, _ *unlucky, _ *elsewhere) http.HandlerFunc { return endless(t) },
			ready, outOfReach, []string{"the token endpoint answered with more than 1048576 bytes"},
		},
		{
			"the token endpoint answers a web page", oauth, atToken, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc { return says(200, "text/html", page) },
			ready, outOfReach, []string{"answered with something that is no token answer: not JSON"},
		},
		{
			"a web page stands before the token endpoint", oauth, atToken, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc { return says(403, "text/html", page) },
			ready, misconfigured, []string{"answered 403 without an OAuth error: check that the URL leads to the server itself"},
		},
		{
			"the token endpoint redirects", oauth, atToken, redirects,
			ready, misconfigured, []string{"the token endpoint redirects elsewhere (307), which is not followed"},
		},
		{
			"the token endpoint fails with words of its own", oauth, atToken, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc {
				return saysJSON(500, `{"error": "%[1]s %[1]s", "error_description": "%[1]s", "error_uri": "https://%[1]s.example"}`, marker)
			},
			ready, outOfReach, []string{"the token endpoint failed on its own side (500)"},
		},
		{
			"the grant is not allowed to this client", oauth, atToken, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc {
				return saysJSON(400, `{"error": "unauthorized_client", "error_description": "%s"}`, marker)
			},
			ready, misconfigured, []string{"does not let this client use the grant (unauthorized_client): allow it there, or choose another"},
		},
		{
			"the webhook never answers", hook, atWebhook, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc { return silence },
			ready, outOfReach, []string{"did not answer within 1s"},
		},
		{
			"the webhook answers 100 MB", hook, atWebhook, func(t *testing.T, _ *unlucky, _ *elsewhere) http.HandlerFunc { return endless(t) },
			ready, misconfigured, []string{"answers with more than 1 MiB: look at its url and at the handler"},
		},
		{
			"the webhook answers a web page", hook, atWebhook, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc { return says(200, "text/html", page) },
			ready, misconfigured, []string{"answers with a page of HTML", "and not with JSON: look at its url and at the handler"},
		},
		{
			"the webhook redirects", hook, atWebhook, redirects,
			ready, misconfigured, []string{"redirects elsewhere (HTTP status 307), which is not followed: put the final URL into spec.webhook.url"},
		},
		{
			"the webhook answers another's question", hook, atWebhook, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc {
				return saysJSON(200, review, `{"uid": "`+marker+`", "result": "Issued", "user": {"email": "anna@acme.example"},
					"token": {"value": "`+marker+`", "expiresInSeconds": 3600}}`)
			},
			ready, misconfigured, []string{"answers with another uid than it was asked with: look at its url and at the handler"},
		},
		{
			"the webhook's answer is another kind", hook, atWebhook, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc {
				return saysJSON(200, `{"kind": "%s"}`, marker)
			},
			ready, misconfigured, []string{"something else than a SessionReview of terminals.dev/v1"},
		},
		{
			"the webhook refuses the credentials", hook, atWebhook, func(*testing.T, *unlucky, *elsewhere) http.HandlerFunc { return says(401, "text/plain", marker) },
			ready, misconfigured, []string{"refuses the controller's credentials (HTTP status 401): look at spec.webhook.authentication"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, srv, other := newHarness(t), newUnlucky(t), newElsewhere(t)
			srv.at(test.at, test.wrong(t, srv, other))
			h.apply(opaque("idp", "secret", "hunter2"))
			p := sessionProvider("remote", test.of(srv))
			h.provide(p)
			h.apply(session("till-1", at(v1.KindSessionProvider, "remote"), anybody(p)))
			h.settled(p)
			h.expectTrouble(p, test.provider, test.session, test.says...)
			h.expectUntold("hunter2")
			other.expectNobody(t)

			srv.front.Instead(nil)
			h.step(11 * time.Minute)
			h.look(p)
			h.settle("till-1")
			h.expectProvider(p, ready)
			h.expect("till-1", established)
			other.expectNobody(t)
		})
	}
}

// A server whose certificate is another's is sent nothing, wherever its name stands.
func TestAServerWithACertificateForAnotherNameIsAConditionThatSaysSo(t *testing.T) {
	t.Parallel()
	// The certificate is for 127.0.0.1 and example.com.
	wrongName := func(s *unlucky) string { return strings.Replace(s.URL, "127.0.0.1", "localhost", 1) }
	for _, test := range []struct {
		name              string
		spoil             func(s *unlucky, spec *v1.SessionProviderSpec)
		provider, session string
		says              string
	}{
		{
			"in the issuer URL", func(s *unlucky, spec *v1.SessionProviderSpec) {
				s.oauth2("idp")(spec)
				spec.OAuth2.IssuerURL = wrongName(s)
			}, "False (CertificateUnknown)", providerNotReady, "the certificate of the discovery document is not trusted for its name: check the CA bundle, the URL",
		},
		{
			"in a discovered endpoint", func(s *unlucky, spec *v1.SessionProviderSpec) {
				s.oauth2("idp")(spec)
				s.metadata["token_endpoint"] = wrongName(s) + "/token"
			}, ready, misconfigured, "the certificate of the token endpoint is not trusted for its name: check the CA bundle, the URL",
		},
		{
			"in a webhook's URL", func(s *unlucky, spec *v1.SessionProviderSpec) {
				s.webhook("idp")(spec)
				spec.Webhook.URL = wrongName(s) + "/sessions"
			}, ready, misconfigured, "shows a certificate that is for another name: use a name that it has in the url",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, srv := newHarness(t), newUnlucky(t)
			p := sessionProvider("remote", func(spec *v1.SessionProviderSpec) { test.spoil(srv, spec) })
			h.apply(opaque("idp", "secret", "hunter2"))
			h.provide(p)
			h.apply(session("till-1", at(v1.KindSessionProvider, "remote"), anybody(p)))
			h.settled(p)
			h.expectTrouble(p, test.provider, test.session, test.says)
			h.expectUntold("hunter2")
			if _, proofs := srv.taken(); len(proofs) > 0 {
				t.Errorf("it was shown %q", proofs)
			}
			if at := meta.FindStatusCondition(h.get("till-1").Status.Conditions, v1.ConditionStalled); at == nil {
				t.Error("nobody is told that only a change helps")
			}
		})
	}
}

func TestAServerThatTakesConnectionsAndSaysNothingIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // whose connections nobody accepts but the kernel
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	h := newHarness(t)
	p := sessionProvider("remote", func(spec *v1.SessionProviderSpec) {
		spec.Embedded, spec.Webhook = nil, &v1.WebhookProvider{URL: "https://" + listener.Addr().String(), TimeoutSeconds: 1}
	})
	h.provide(p)
	h.apply(session("till-1", at(v1.KindSessionProvider, "remote")))
	h.settle("till-1")
	h.expectTrouble(p, ready, outOfReach, "did not answer within 1s")
}
