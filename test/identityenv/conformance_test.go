package identityenv_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
	"terminals.dev/session-controller/internal/provider/providertest"
	"terminals.dev/session-controller/test/identityenv"
)

// sessionScope begins the scope that tells at the server which session a token is of: OAuth has no place for it.
const sessionScope = "session."

var sessions atomic.Int64

// another is a request about another session each time.
func another(scopes ...string) provider.Request {
	req := request(scopes...)
	n := sessions.Add(1)
	req.Session.ID = fmt.Sprintf("0197f3d2-0000-7000-8000-%012d", n)
	req.IdempotencyKey = fmt.Sprintf("0f8f0a4e-6e9b-4d3e-8d5c-2f6f0c1a7b11/%d", n)
	req.Session.Scopes = append(req.Session.Scopes, sessionScope+req.Session.ID)
	return req
}

// sessionOf is the session that a server has a token of.
func sessionOf(t testing.TB, said identityenv.Introspection, err error) string {
	t.Helper()
	must(t, err)
	for scope := range strings.FieldsSeq(said.Scope) {
		if id, ok := strings.CutPrefix(scope, sessionScope); ok {
			return id
		}
	}
	return ""
}

// harness is what all grants have. As in the controller, clients know from before a start what the server can do.
func (s *stage) harness(t *testing.T, config oauth2.Config) providertest.Harness {
	t.Helper()
	config.CABundle, config.DialContext, config.Timeout = s.bundle(), s.dial, time.Minute
	config.Errors = map[string]oauth2.Meaning{"user_disabled": {Kind: provider.Banned, Code: "UserBanned"}}
	var err error
	config.Known, err = newProvider(t, config).Discover(t.Context())
	must(t, err)
	secret := string(config.Authentication.Secret)
	return providertest.Harness{
		New: func(t testing.TB) provider.Provider { return newProvider(t, config) },
		Impatient: func(t testing.TB) provider.Provider {
			config := config
			config.Timeout = 500 * time.Millisecond
			p := newProvider(t, config)
			var err error
			for range 20 { // the machine may be slower than that
				if _, err = p.Discover(t.Context()); err == nil {
					return p
				}
			}
			t.Fatal(err)
			return nil
		},
		Secrets: []string{
			secret, url.QueryEscape(secret),
			base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(config.ClientID) + ":" + url.QueryEscape(secret))),
		},
		Calls:     func() int { return int(s.calls.Load()) },
		Scenarios: s.scenarios(config),
	}
}

func TestOIDCConformance(t *testing.T) {
	server := startOIDC(t)
	stage := newStage(t, server.front)
	harness := func(t *testing.T, grant oauth2.Grant) providertest.Harness {
		h := stage.harness(t, server.config(grant))
		h.SessionOf = func(t testing.TB, token string) string {
			said, err := server.Introspect(t.Context(), token)
			return sessionOf(t, said, err)
		}
		h.Live = func(t testing.TB, sessionID string) int {
			n, err := server.Grants(t.Context(), sessionScope+sessionID)
			must(t, err)
			return n
		}
		return h
	}
	t.Run("client credentials", func(t *testing.T) {
		h := harness(t, oauth2.ClientCredentials)
		h.Request = func(testing.TB) provider.Request { return another("payments") }
		providertest.Run(t, h)
	})
	t.Run("device code", func(t *testing.T) {
		h := harness(t, oauth2.DeviceCode)
		h.Request = func(testing.TB) provider.Request { return another("openid", "email", "offline_access") }
		h.Confirm = func(t testing.TB, pending provider.Pending) {
			must(t, server.Approve(t.Context(), pending.UserCode, "anna"))
		}
		h.Scenarios[providertest.Forgetting] = stage.as(forgetting)
		providertest.Run(t, h)
	})
	t.Run("token exchange", func(t *testing.T) {
		h := harness(t, oauth2.TokenExchange)
		token := func(t testing.TB) string {
			made, err := server.Token(t.Context(), "anna", "openid")
			must(t, err)
			return made
		}
		h.Request = func(t testing.TB) provider.Request {
			req := another("openid", "email")
			req.AuthToken = token(t)
			return req
		}
		h.Stale = func(t testing.TB) []string {
			revoked := token(t)
			must(t, h.New(t).Revoke(t.Context(), provider.Request{Token: revoked}))
			return []string{revoked, "unknown.0123456789abcdef"} // without the dot the library may take it for one of its own, and panic
		}
		providertest.Run(t, h)
	})
	t.Run("JWT bearer", func(t *testing.T) {
		h := harness(t, oauth2.JWTBearer)
		private, public := key(t, "anna-1")
		anna := identityenv.User{Email: "anna@acme.example", Verified: true, Keys: map[string]any{"anna-1": public}}
		must(t, server.SetUser(t.Context(), "anna", anna))
		signed := func(t testing.TB, expiry time.Time) string {
			return assertion(t, private, claims("anna", server.Issuer, expiry))
		}
		h.Request = func(t testing.TB) provider.Request {
			req := another("openid", "email")
			req.AuthToken = signed(t, time.Now().Add(5*time.Minute))
			return req
		}
		// One that is signed with another key is a server_error to this server, which cannot be told from a failure of its own.
		h.Stale = func(t testing.TB) []string { return []string{signed(t, time.Now().Add(-time.Minute))} }
		providertest.Run(t, h)
	})
}

func claims(issuer, audience string, expiry time.Time) jwt.Claims {
	return jwt.Claims{
		Issuer: issuer, Subject: "anna", Audience: jwt.Audience{audience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(expiry.Add(-10 * time.Minute)), Expiry: jwt.NewNumericDate(expiry),
	}
}

func TestHydraConformance(t *testing.T) {
	server := startHydra(t)
	stage := newStage(t, server.Front)
	stage.turn = new(sync.Mutex) // SQLite has one writer: of eight assertions at once Hydra answers some with 500, or invalid_client
	must(t, server.AddClient(t.Context(), map[string]any{
		"client_id": "till-fleet", "client_secret": hydraSecret, "scope": "payments openid offline_access email " + sessionScope + "*",
		"grant_types":    []string{"client_credentials", "refresh_token", "authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"response_types": []string{"code"}, "redirect_uris": []string{"https://till.example/back"},
	}))
	harness := func(t *testing.T, grant oauth2.Grant) providertest.Harness {
		h := stage.harness(t, hydraConfig(server, grant, "till-fleet"))
		h.Request = func(testing.TB) provider.Request { return another("payments") }
		h.SessionOf = func(t testing.TB, token string) string {
			var said identityenv.Introspection
			var err error
			stage.inTurn(func() { said, err = server.Introspect(t.Context(), token) })
			return sessionOf(t, said, err)
		}
		h.Live = func(t testing.TB, sessionID string) int {
			return stage.live(t, sessionScope+sessionID, server.Introspect)
		}
		return h
	}
	t.Run("client credentials", func(t *testing.T) { providertest.Run(t, harness(t, oauth2.ClientCredentials)) })
	t.Run("refresh token", func(t *testing.T) {
		h := harness(t, oauth2.ClientCredentials)
		h.Established = func(t testing.TB, req provider.Request) provider.Token {
			began := hydraRefreshToken(t, server, sessionScope+req.Session.ID)
			return provider.Token{Value: began.Token, RefreshToken: began.RefreshToken}
		}
		h.Scenarios[providertest.Forgetting] = stage.as(forgetting)
		providertest.Run(t, h)
	})
	t.Run("JWT bearer", func(t *testing.T) {
		h := harness(t, oauth2.JWTBearer)
		private, public := key(t, "company-1")
		other, _ := key(t, "company-1")
		must(t, server.TrustIssuer(t.Context(), map[string]any{
			"issuer": "https://company.example", "subject": "anna", "scope": []string{"payments", sessionScope + "*"}, "jwk": public,
			"expires_at": time.Now().Add(time.Hour).Format(time.RFC3339),
		}))
		signed := func(t testing.TB, key jose.JSONWebKey, expiry time.Time) string {
			return assertion(t, key, claims("https://company.example", server.URL+"/oauth2/token", expiry))
		}
		h.Again = func(t testing.TB, req provider.Request) provider.Request { // Hydra takes an assertion once
			req.AuthToken = signed(t, private, time.Now().Add(5*time.Minute))
			return req
		}
		request := h.Request
		h.Request = func(t testing.TB) provider.Request { return h.Again(t, request(t)) }
		h.Stale = func(t testing.TB) []string {
			used := h.Request(t)
			_, err := h.New(t).Login(t.Context(), used)
			must(t, err)
			return []string{used.AuthToken, signed(t, private, time.Now().Add(-time.Minute)), signed(t, other, time.Now().Add(5*time.Minute))}
		}
		providertest.Run(t, h)
	})
}
