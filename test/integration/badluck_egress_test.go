package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/egress"
)

// inside are addresses that no message may tell, whatever led there.
var inside = regexp.MustCompile(`127\.0\.0\.1|\[?::1|169\.254|10\.0\.0\.1|fd00:|0\.0\.0\.0`)

// expectNoAddress checks that a provider and a session tell no address of the inside. What a tenant has written is not looked at: it is in spec.
func (h *harness) expectNoAddress(p *v1.SessionProvider, name string) {
	h.t.Helper()
	h.again(p)
	s := h.get(name)
	told := []string{message(p, v1.ConditionReady), message(s, v1.ConditionReady), message(s, v1.ConditionEstablished), strings.Join(h.events, "\n")}
	for line := range strings.Lines(h.log.String()) {
		if !strings.Contains(line, `"level"=`) || strings.Contains(line, `"level"=0`) { // the others have the API server's answers, spec and all
			told = append(told, line)
		}
	}
	if e := s.Status.Error; e != nil {
		told = append(told, e.Message, e.Code)
	}
	for _, text := range told {
		if found := inside.FindString(text); found != "" {
			h.t.Errorf("the address %s is told: %s", found, text)
		}
	}
}

const flags = "--allow-private-providers for private ones, or --allow-loopback-providers for its own machine"

// With the manager's default policy none of these is connected to, however a tenant writes it.
func TestNoURLOfATenantsLeadsInside(t *testing.T) {
	t.Parallel()
	h, srv, other := newHarness(t), newServer(t), newElsewhere(t)
	h.providers.Egress = egress.Allow{}
	h.apply(opaque("idp", "secret", "hunter2"))
	for i, name := range []string{
		"127.0.0.1:port", "localhost:port", "LOCALHOST:port", "127.8.9.10:port", "[::1]:port", "[::ffff:127.0.0.1]:port", "0.0.0.0:port", "[::]:port",
		"169.254.169.254", "169.254.170.2", "[fe80::1]", "[fd00:ec2::254]", "100.100.100.200", "10.0.0.1", "172.16.0.1", "192.168.1.1:6443", "[fc00::1]", "[64:ff9b::7f00:1]",
	} {
		host := strings.Replace(name, "port", strconv.Itoa(other.port()), 1)
		t.Run(name, func(t *testing.T) {
			for kind, spec := range map[string]func(*v1.SessionProviderSpec){
				"oauth2": func(s *v1.SessionProviderSpec) {
					srv.oauth2("idp")(s)
					s.OAuth2.IssuerURL = "https://" + host
				},
				"webhook": func(s *v1.SessionProviderSpec) {
					srv.webhook("idp")(s)
					s.Webhook.URL = "https://" + host + "/sessions"
				},
			} {
				name := fmt.Sprintf("%s-%d", kind, i)
				p := sessionProvider(name, spec)
				h.provide(p)
				h.apply(session(name, at(v1.KindSessionProvider, name), anybody(p)))
				h.settle(name)
				is := misconfigured
				if kind == "oauth2" {
					h.expectProvider(p, "False (DiscoveryFailed)")
					h.expectMessage(p, flags)
					is = providerNotReady
				}
				h.expect(name, is)
				h.expectMessage(h.get(name), flags)
				h.expectNoAddress(p, name)
			}
			other.expectNobody(t)
		})
	}
}

// The address is checked at each dial, so that a server which may be asked leads nobody on.
func TestNoServerLeadsInside(t *testing.T) {
	t.Parallel()
	closed := func(place string) func(*unlucky) {
		return func(s *unlucky) { s.metadata["token_endpoint"] = "https://" + place }
	}
	for _, test := range []struct {
		name  string
		grant v1.Grant
		leads func(s *unlucky)
		says  string
	}{
		{"a token endpoint at the metadata service", "", closed("169.254.169.254/latest/meta-data"), flags},
		{"a token endpoint in a private range", "", closed("10.0.0.1/token"), flags},
		{"a token endpoint at the metadata service, by IPv6", "", closed("[fd00:ec2::254]/token"), flags},
		{
			"a device authorization endpoint", v1.GrantDeviceCode,
			func(s *unlucky) { s.metadata["device_authorization_endpoint"] = "https://169.254.169.254/device" }, flags,
		},
		{
			"userinfo, with a token that was just given", v1.GrantTokenExchange,
			func(s *unlucky) { s.metadata["userinfo_endpoint"] = "https://169.254.169.254/userinfo" }, flags,
		},
		{
			"a redirect of the token endpoint", "", func(s *unlucky) {
				s.at(atToken, func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "https://169.254.169.254/"+marker, http.StatusTemporaryRedirect)
				})
			}, "the token endpoint redirects elsewhere (307), which is not followed",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, srv := newHarness(t), newUnlucky(t)
			test.leads(srv)
			h.apply(opaque("idp", "secret", "hunter2"), opaque("anna-auth", "token", "proof-of-anna"))
			p := sessionProvider("remote", srv.oauth2("idp"), func(s *v1.SessionProviderSpec) {
				s.OAuth2.Grant = test.grant
			})
			h.providers.Wrap = nil // which knows no device codes
			h.provide(p)
			h.expectProvider(p, ready)
			h.apply(session("till-1", at(v1.KindSessionProvider, "remote"), withAuthToken("anna-auth")))
			h.settle("till-1")
			h.expectTrouble(p, ready, misconfigured, test.says)
			h.expectNoAddress(p, "till-1")
			h.expectUntold("hunter2", "proof-of-anna")
		})
	}
}

// A tenant names Secrets by name alone, and each is looked for in the tenant's own namespace.
func TestATenantsProviderIsShownNobodyElsesCredentials(t *testing.T) {
	t.Parallel()
	for kind, of := range map[string]func(*server, string) func(*v1.SessionProviderSpec){"oauth2": (*server).oauth2, "webhook": (*server).webhook} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			acme, rival, srv := newHarness(t), newHarness(t), newUnlucky(t)
			var mu sync.Mutex
			var shown []string
			srv.front.Instead(func(_ http.ResponseWriter, r *http.Request) bool {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				mu.Lock()
				defer mu.Unlock()
				shown = append(shown, r.Header.Get("Authorization")+" "+string(body))
				return false
			})
			acme.apply(opaque("idp", "secret", "hunter2-of-acme"), opaque("anna-auth", "token", "proof-of-anna"))
			acme.loggedIn(session("till-1"))

			p := sessionProvider("remote", of(srv.server, "idp"))
			rival.provide(p)
			rival.expectProvider(p, "False (CredentialsMissing)")
			rival.apply(opaque("idp", "secret", "hunter2-of-rival"))
			rival.look(p)
			rival.expectProvider(p, ready)
			rival.apply(session("till-1", at(v1.KindSessionProvider, "remote"), withAuthToken("anna-auth"), anybody(p)))
			rival.settle("till-1")
			rival.expect("till-1", established)
			// The namesake in acme has a token of its own, which a renewal here must not hand in.
			rival.untilRenewal("till-1")
			rival.settle("till-1")
			rival.expect("till-1", established)
			rival.delete(rival.get("till-1"))
			rival.settle("till-1")

			mu.Lock()
			defer mu.Unlock()
			all := strings.Join(shown, "\n")
			if len(shown) == 0 {
				t.Error("nobody has asked the server")
			}
			for _, word := range []string{"hunter2-of-acme", "proof-of-anna", acme.token("till-1-token")} {
				if strings.Contains(all, word) {
					t.Errorf("the rival's server was shown %.16s... of acme's", word)
				}
			}
			rival.expectUntold("hunter2-of-acme", "hunter2-of-rival", "proof-of-anna")
		})
	}
}

// A provider of the cluster's has credentials of the platform's: who may not use it has no question asked with them.
func TestAProviderOfTheClustersIsNotAskedForWhoMayNotUseIt(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newUnlucky(t)
	name := "idp-of-" + h.namespace
	secret := opaque(name, "secret", "hunter2")
	secret.Namespace = systemNamespace
	if err := h.api.Create(h.ctx, secret); err != nil {
		t.Fatal(err)
	}
	p := h.clusterProvider(v1.AllowRule{MerchantIDs: []string{"another"}})
	srv.oauth2(name)(&p.Spec.SessionProviderSpec)
	h.provide(p)
	h.expectProvider(p, ready)
	srv.taken()
	h.apply(session("till-1", at(v1.KindClusterSessionProvider, p.Name), nobodyInParticular))
	h.settle("till-1")
	h.expect("till-1", "NotLoggedIn: Stalled (ProviderNotAllowed)")
	h.step(time.Hour)
	h.settle("till-1")
	if asked, _ := srv.taken(); slices.Contains(asked, askToken) {
		t.Errorf("the server was asked %v", asked)
	}
}
