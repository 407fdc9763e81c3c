package integration_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider/embedded"
	"terminals.dev/session-controller/internal/tokenstore"
)

// serve sends a request to the issuers' address, with a form if there is one, and decodes the answer.
func (h *harness) serve(method, address string, form url.Values, into any) (status int) {
	h.t.Helper()
	h.sync()
	r := httptest.NewRequestWithContext(h.ctx, method, address, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	embedded.NewHandler(embedded.HandlerConfig{Lookup: h.providers.Issuer, Active: h.providers.Active}).ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), into); w.Code == http.StatusOK && err != nil {
		h.t.Fatalf("%s answers %q: %v", address, w.Body, err)
	}
	return w.Code
}

// claims verifies a token as its users do: with the keys that are served, by a JOSE library. It returns what the token says.
func (h *harness) claims(issuerURL, token string) embedded.Claims {
	h.t.Helper()
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if status := h.serve("GET", issuerURL+"/.well-known/openid-configuration", nil, &metadata); status != http.StatusOK || metadata.Issuer != issuerURL {
		h.t.Fatalf("discovery at %s answers %d, %+v", issuerURL, status, metadata)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		h.t.Fatal("the token is no JWT")
	}
	var standard jwt.Claims
	var claims embedded.Claims
	if err := parsed.Claims(h.keys(metadata.JWKSURI), &standard, &claims); err != nil {
		h.t.Fatalf("the token does not verify: %v", err)
	}
	if err := standard.ValidateWithLeeway(jwt.Expected{Issuer: issuerURL, Time: h.clock.Now()}, 0); err != nil {
		h.t.Fatalf("the token is not valid: %v", err)
	}
	return claims
}

// keyID is the ID of the key that a token was signed with.
func keyID(t *testing.T, token string) string {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal("the token is no JWT")
	}
	return parsed.Headers[0].KeyID
}

func (h *harness) keys(address string) jose.JSONWebKeySet {
	h.t.Helper()
	var set jose.JSONWebKeySet
	if status := h.serve("GET", address, nil, &set); status != http.StatusOK {
		h.t.Fatalf("%s answers %d", address, status)
	}
	return set
}

// active asks the issuer's introspection about a token.
func (h *harness) active(issuerURL, token string) bool {
	h.t.Helper()
	var answer struct{ Active bool }
	if status := h.serve("POST", issuerURL+"/introspect", url.Values{"token": {token}}, &answer); status != http.StatusOK {
		h.t.Fatalf("introspection answers %d", status)
	}
	return answer.Active
}

func (h *harness) issuerURL() string {
	return "https://sessions.test" + embedded.Path(h.namespace, issuer)
}

func TestTheTokenVerifiesWithTheServedKeysAndNamesTheSession(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", func(s *v1.TerminalSessionSpec) {
		s.Token.Scopes, s.Token.Audiences = []string{"payments"}, []string{"https://pay.example"}
	}))

	got := h.claims(h.issuerURL(), h.token("till-1-token"))

	status := h.get("till-1").Status
	want := embedded.Claims{
		Issuer: h.issuerURL(), Subject: "anna@acme.example", Audience: []string{"https://pay.example"}, ClientID: "T-0042", Scope: "payments",
		SessionID: status.SessionID, MerchantID: "acme", SerialNumber: "SN-93AX", Namespace: h.namespace, Purpose: "Login",
		IssuedAt: status.Token.IssuedAt.Unix(), ExpiresAt: status.Token.ExpiresAt.Unix(), ID: got.ID,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the token says something else (-want +got):\n%s", diff)
	}
}

func TestATokenIsActiveOnlyWhileItsSessionIsEstablished(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(h *harness){
		"logged out": func(h *harness) {
			h.edit("till-1", to(loggedOut))
			h.reconcile("till-1")
		},
		"deleted": func(h *harness) { h.delete(h.get("till-1")) },
		"being deleted": func(h *harness) {
			h.edit("till-1", func(s *v1.TerminalSession) { s.Finalizers = []string{"example.com/audit"} })
			h.delete(h.get("till-1"))
		},
		"logged in anew": func(h *harness) {
			h.delete(h.secret("till-1-token"))
			h.reconcile("till-1")
		},
		"expired": func(h *harness) { h.step(month) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.loggedIn(session("till-1"))
			token := h.token("till-1-token")
			if !h.active(h.issuerURL(), token) {
				t.Error("the token of an established session is inactive")
			}
			end(h)
			if h.active(h.issuerURL(), token) {
				t.Error("the token is still active")
			}
		})
	}
}

func TestAnIssuerSpeaksForNoSessionOfAnothers(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	token := h.token("till-1-token")
	h.provide(sessionProvider("other"))
	other := h.provider("other").Status
	if h.active(other.IssuerURL, token) {
		t.Error("an issuer takes the token of another for its own")
	}

	// Whoever may read a key can sign what he likes with it.
	claims := h.claims(h.issuerURL(), token)
	claims.Issuer = other.IssuerURL
	secret := h.secret(tokenstore.SigningKeyName("other", other.KeyIDs[0]))
	forged := forge(t, secret.Data[tokenstore.KeyPrivateKey], other.KeyIDs[0], claims)
	if h.active(other.IssuerURL, forged) {
		t.Error("an issuer says that a session of another's is active")
	}
	claims = h.claims(other.IssuerURL, h.otherToken())
	if !h.active(other.IssuerURL, forge(t, secret.Data[tokenstore.KeyPrivateKey], other.KeyIDs[0], claims)) {
		t.Error("the forgery is not as good as it could be")
	}
}

// otherToken is a token of the provider named other.
func (h *harness) otherToken() string {
	h.t.Helper()
	if h.secret("at-other-token") == nil {
		h.loggedIn(session("at-other", at(v1.KindSessionProvider, "other")))
	}
	return h.token("at-other-token")
}

// forge signs claims as an issuer does.
func forge(t *testing.T, key []byte, keyID string, claims embedded.Claims) string {
	t.Helper()
	block, _ := pem.Decode(key)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: keyID}},
		(&jose.SignerOptions{}).WithType("at+jwt"),
	)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
