package oauth2_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
)

var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// What must not be found in any error. Every server here puts said into whatever it answers.
const (
	clientSecret = "SECRET-client-7f2a91"
	authToken    = "SECRET-auth-token-0c44"
	accessToken  = "SECRET-access-token-51de"
	refreshToken = "SECRET-refresh-token-9b07"
	deviceCode   = "SECRET-device-code-e6a1"
	said         = "SECRET-said-by-the-server"
)

// idp is a real HTTPS server that answers as it is told. It keeps what it was asked.
type idp struct {
	*httptest.Server
	mu       sync.Mutex
	now      time.Time // ours
	ahead    time.Duration
	metadata map[string]any
	answers  map[string]http.HandlerFunc
	asked    []request
	key      *ecdsa.PrivateKey
}

type request struct {
	path         string
	form         url.Values
	user, secret string
	header       http.Header
}

func newIDP(t testing.TB) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &idp{now: start, key: key, answers: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = log.New(testLog{}, "", 0)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	s.metadata = map[string]any{
		"issuer": s.URL, "token_endpoint": s.URL + "/token", "device_authorization_endpoint": s.URL + "/device",
		"revocation_endpoint": s.URL + "/revoke", "introspection_endpoint": s.URL + "/introspect", "userinfo_endpoint": s.URL + "/userinfo",
		"jwks_uri": s.URL + "/jwks", "id_token_signing_alg_values_supported": []string{"ES256", "none", "HS256"},
		"grant_types_supported": []string{"refresh_token"},
	}
	s.on("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) { write(w, 200, s.metadata) })
	s.on("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		write(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Use: "sig", Algorithm: "ES256"}}})
	})
	s.on("/token", gives(token()))
	s.on("/device", gives(deviceAnswer(s)))
	s.on("/revoke", func(http.ResponseWriter, *http.Request) {})
	s.on("/introspect", gives(fields{"active": true}))
	s.on("/userinfo", refuses(403, "insufficient_scope"))
	return s
}

type testLog struct{}

func (testLog) Write(p []byte) (int, error) { return len(p), nil }

type fields = map[string]any

func token(more ...fields) fields {
	answer := fields{"access_token": accessToken, "token_type": "Bearer", "expires_in": 2592000}
	for _, m := range more {
		maps.Copy(answer, m)
	}
	return answer
}

func deviceAnswer(s *idp) fields {
	return fields{
		"device_code": deviceCode, "user_code": "WDJB-MJHT", "verification_uri": s.URL + "/go",
		"verification_uri_complete": s.URL + "/go?user_code=WDJB-MJHT", "expires_in": 900, "interval": 7,
	}
}

func (s *idp) serve(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	user, secret, _ := r.BasicAuth()
	s.mu.Lock()
	s.asked = append(s.asked, request{r.URL.Path, r.PostForm, user, secret, r.Header})
	answer := s.answers[r.URL.Path]
	w.Header().Set("Date", s.now.Add(s.ahead).UTC().Format(http.TimeFormat))
	s.mu.Unlock()
	if answer == nil {
		http.Error(w, said, http.StatusNotFound)
		return
	}
	answer(w, r)
}

func (s *idp) on(path string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = answer
}

func (s *idp) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *idp) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// to returns what was asked of a path.
func (s *idp) to(path string) []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []request
	for _, r := range s.asked {
		if r.path == path {
			found = append(found, r)
		}
	}
	return found
}

func (s *idp) last(t testing.TB, path string) request {
	t.Helper()
	asked := s.to(path)
	if len(asked) == 0 {
		t.Fatalf("nothing was asked of %s", path)
	}
	return asked[len(asked)-1]
}

func (s *idp) config(change ...func(*oauth2.Config)) oauth2.Config {
	config := oauth2.Config{
		IssuerURL: s.URL, ClientID: "till fleet", Grant: oauth2.ClientCredentials, Now: s.Now,
		Authentication: oauth2.Authentication{Method: oauth2.ClientSecretBasic, Secret: []byte(clientSecret)},
		CABundle:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
	}
	for _, c := range change {
		c(&config)
	}
	return config
}

func (s *idp) provider(t testing.TB, change ...func(*oauth2.Config)) *oauth2.Provider {
	t.Helper()
	p, err := oauth2.New(s.config(change...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func grant(g oauth2.Grant) func(*oauth2.Config) {
	return func(c *oauth2.Config) { c.Grant = g }
}

// idToken signs claims over the usual ones.
func (s *idp) idToken(t testing.TB, more fields) string {
	t.Helper()
	claims := fields{"iss": s.URL, "sub": "anna-1", "aud": "till fleet", "iat": s.Now().Unix(), "exp": s.Now().Add(5 * time.Minute).Unix()}
	maps.Copy(claims, more)
	return signed(t, s.key, "k1", claims)
}

func signed(t testing.TB, key *ecdsa.PrivateKey, kid string, claims fields) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func write(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func gives(answer fields) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { write(w, 200, answer) }
}

func refuses(status int, code string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		write(w, status, fields{"error": code, "error_description": said, "error_uri": said})
	}
}

func says(status int, contentType, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// hangs accepts and says nothing.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func session() provider.Request {
	return provider.Request{
		IdempotencyKey: "uid/7", AuthToken: authToken, Token: accessToken,
		Session: provider.Session{
			Namespace: "acme", Name: "till-07", ID: "0197f3d2", TerminalID: "T-0042", SerialNumber: "SN-93AX", UserEmail: "anna@acme.example",
			Scopes: []string{"payments", "openid"}, Audiences: []string{"https://pay.example", "stock"}, Lifetime: 720 * time.Hour,
		},
	}
}

func login(t testing.TB, p *oauth2.Provider, req provider.Request) provider.Token {
	t.Helper()
	result, err := p.Login(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if result.Token == nil || result.Pending != nil {
		t.Fatalf("Login answered with %+v, want a token alone", result)
	}
	return *result.Token
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// wantError checks kind and code, and that nothing that is secret or was said by the server stands anywhere in it.
func wantError(t testing.TB, err error, kind provider.Kind, code string) {
	t.Helper()
	e, ok := errors.AsType[*provider.Error](err)
	if !ok {
		t.Fatalf("error is %v, want a *provider.Error", err)
	}
	if e.Kind != kind || e.Code != code {
		t.Errorf("error is %v, want %s with code %q", e, kind, code)
	}
	if e.Message == "" || len(e.Message) > 256 {
		t.Errorf("the message has %d bytes: %q", len(e.Message), e.Message)
	}
	wantClean(t, err)
}

// wantClean looks through an error and all that it wraps, printed in every way.
func wantClean(t testing.TB, err error) {
	t.Helper()
	for _, text := range []string{fmt.Sprintf("%v", err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%q", err)} {
		for _, secret := range []string{clientSecret, authToken, accessToken, refreshToken, deviceCode, said} {
			for i := 0; i+8 <= len(secret); i++ {
				if part := secret[i : i+8]; part != "SECRET-s" && strings.Contains(text, part) {
					t.Errorf("%q has a part of %s in it", text, secret)
				}
			}
		}
	}
	switch wraps := err.(type) { //nolint:errorlint // the chain is walked by hand
	case interface{ Unwrap() error }:
		if inner := wraps.Unwrap(); inner != nil {
			wantClean(t, inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range wraps.Unwrap() {
			wantClean(t, inner)
		}
	}
}

func ended(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// serve runs a plain server on loopback and returns its URL.
func serve(t *testing.T, server *http.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}
