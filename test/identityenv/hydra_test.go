package identityenv_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
	"terminals.dev/session-controller/test/identityenv"
)

const hydraSecret = "hydra:secret%/+ 7"

func startHydra(t *testing.T) *identityenv.Hydra {
	t.Helper()
	h, err := identityenv.StartHydra(t.Context(), t.TempDir())
	must(t, err)
	t.Cleanup(h.Stop)
	return h
}

func hydraConfig(h *identityenv.Hydra, grant oauth2.Grant, client string) oauth2.Config {
	return oauth2.Config{
		IssuerURL: h.URL, CABundle: h.CA, Grant: grant, ClientID: client,
		Authentication: oauth2.Authentication{Method: oauth2.ClientSecretBasic, Secret: []byte(hydraSecret)},
	}
}

// Starting Hydra takes seconds, so one serves all.
func TestHydra(t *testing.T) {
	h := startHydra(t)
	must(t, h.AddClient(t.Context(), map[string]any{
		"client_id": "till-fleet", "client_secret": hydraSecret, "scope": "payments openid offline_access email",
		"audience":       []string{"https://pay.example"},
		"grant_types":    []string{"client_credentials", "refresh_token", "authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"response_types": []string{"code"}, "redirect_uris": []string{"https://till.example/back"},
	}))
	t.Run("client credentials", func(t *testing.T) { hydraClientCredentials(t, h) })
	t.Run("private key", func(t *testing.T) { hydraPrivateKey(t, h) })
	t.Run("refresh token", func(t *testing.T) { hydraRefresh(t, h) })
	t.Run("JWT bearer", func(t *testing.T) { hydraJWTBearer(t, h) })
}

func hydraClientCredentials(t *testing.T, h *identityenv.Hydra) {
	p := newProvider(t, hydraConfig(h, oauth2.ClientCredentials, "till-fleet"))
	features, err := p.Discover(t.Context())
	must(t, err)
	if want := (oauth2.Features{Revocation: true, Introspection: true}); features != want {
		t.Errorf("features are %+v, want %+v", features, want)
	}
	req := request("payments")
	req.Session.Audiences = []string{"https://pay.example"}
	token := login(t, p, req)
	if token.ExpiresIn < 59*time.Minute || token.ExpiresIn > time.Hour {
		t.Errorf("the token lives for %s", token.ExpiresIn)
	}
	if said, err := h.Introspect(t.Context(), token.Value); err != nil || !slices.Equal(said.Audience, req.Session.Audiences) {
		t.Errorf("the token is for %v, want %v: %v", said.Audience, req.Session.Audiences, err)
	}
	wantActive(t, p, having(req, token), true)
	must(t, p.Revoke(t.Context(), having(req, token)))
	wantActive(t, p, having(req, token), false)
	must(t, p.Revoke(t.Context(), having(req, token)))

	_, err = p.Login(t.Context(), request("unknown"))
	wantError(t, err, provider.Rejected, "InvalidScope")
	req.Session.Audiences = []string{"https://other.example"}
	_, err = p.Login(t.Context(), req)
	if kind := provider.AsError(err).Kind; kind == provider.Unavailable || kind == provider.GrantDead {
		t.Errorf("an audience that is not allowed: %v", err)
	}
	wrong := hydraConfig(h, oauth2.ClientCredentials, "till-fleet")
	wrong.Authentication.Secret = []byte("wrong")
	_, err = newProvider(t, wrong).Login(t.Context(), request("payments"))
	wantError(t, err, provider.Misconfigured, "")
	_, err = newProvider(t, wrong).Discover(t.Context())
	wantError(t, err, provider.Misconfigured, "")
}

// Hydra takes an assertion only for its token endpoint, and only once.
func hydraPrivateKey(t *testing.T, h *identityenv.Hydra) {
	private, public := key(t, "till-1")
	must(t, h.AddClient(t.Context(), map[string]any{
		"client_id": "till-key", "scope": "payments", "grant_types": []string{"client_credentials"},
		"jwks":                       map[string]any{"keys": []any{public}},
		"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
	}))
	for _, off := range []time.Duration{-10 * time.Minute, 0, 10 * time.Minute} {
		config := hydraConfig(h, oauth2.ClientCredentials, "till-key")
		config.Authentication = oauth2.Authentication{Method: oauth2.PrivateKeyJWT, Secret: encode(t, private)}
		config.Now = func() time.Time { return time.Now().Add(off) }
		p := newProvider(t, config)
		login(t, p, request("payments"))
		token := login(t, p, request("payments"))
		must(t, p.Revoke(t.Context(), having(request(), token)))
		wantActive(t, p, having(request(), token), false)
	}
}

func hydraRefresh(t *testing.T, h *identityenv.Hydra) {
	ctx := t.Context()
	first := hydraRefreshToken(t, h)
	p := newProvider(t, hydraConfig(h, oauth2.ClientCredentials, "till-fleet"))
	renewed, err := p.Renew(ctx, first)
	must(t, err)
	if renewed.RefreshToken == "" || renewed.RefreshToken == first.RefreshToken {
		t.Error("the refresh token was not rotated")
	}
	if want := (provider.Identity{Email: "anna@acme.example", Subject: "anna"}); renewed.Identity != want {
		t.Errorf("identity is %+v, want %+v", renewed.Identity, want)
	}
	second := having(request(), renewed)
	wantActive(t, p, second, true)
	// One that was used is taken for stolen, and everything that came of it is revoked.
	_, err = p.Renew(ctx, first)
	wantError(t, err, provider.GrantDead, "")
	_, err = p.Renew(ctx, second)
	wantError(t, err, provider.GrantDead, "")
	wantActive(t, p, second, false)

	third, err := p.Renew(ctx, hydraRefreshToken(t, h))
	must(t, err)
	must(t, p.Revoke(ctx, having(request(), third)))
	wantActive(t, p, having(request(), third), false)
	_, err = p.Renew(ctx, having(request(), third))
	wantError(t, err, provider.GrantDead, "")
}

// hydraRefreshToken is a request with tokens of Anna's, got by the flow in which Hydra gives a refresh token.
func hydraRefreshToken(t testing.TB, h *identityenv.Hydra, scopes ...string) provider.Request {
	t.Helper()
	const redirect = "https://till.example/back"
	claims := map[string]any{"email": "anna@acme.example"}
	scope := strings.Join(append(scopes, "openid", "offline_access", "email"), " ")
	code, err := h.Authorize(t.Context(), "till-fleet", redirect, "anna", scope, claims)
	must(t, err)
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/oauth2/token", strings.NewReader(form.Encode()))
	must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("till-fleet", url.QueryEscape(hydraSecret))
	resp, err := h.Client().Do(req)
	must(t, err)
	defer resp.Body.Close()
	var answer struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	must(t, json.NewDecoder(resp.Body).Decode(&answer))
	if answer.RefreshToken == "" {
		t.Fatalf("Hydra gave no refresh token: %s", resp.Status)
	}
	return having(request(), provider.Token{Value: answer.AccessToken, RefreshToken: answer.RefreshToken})
}

func hydraJWTBearer(t *testing.T, h *identityenv.Hydra) {
	private, public := key(t, "company-1")
	must(t, h.TrustIssuer(t.Context(), map[string]any{
		"issuer": "https://company.example", "subject": "anna", "scope": []string{"payments"}, "jwk": public,
		"expires_at": time.Now().Add(time.Hour).Format(time.RFC3339),
	}))
	p := newProvider(t, hydraConfig(h, oauth2.JWTBearer, "till-fleet"))
	claims := func(id string, expiry time.Time) jwt.Claims {
		return jwt.Claims{
			Issuer: "https://company.example", Subject: "anna", Audience: jwt.Audience{h.URL + "/oauth2/token"}, ID: id,
			IssuedAt: jwt.NewNumericDate(expiry.Add(-10 * time.Minute)), Expiry: jwt.NewNumericDate(expiry),
		}
	}
	req := request("payments")
	req.AuthToken = assertion(t, private, claims("1", time.Now().Add(5*time.Minute)))
	token := login(t, p, req)
	if token.Identity.Subject != "anna" {
		t.Errorf("identity is %+v", token.Identity)
	}
	wantActive(t, p, having(req, token), true)
	_, err := p.Renew(t.Context(), req)
	wantError(t, err, provider.AuthTokenMissing, "") // Hydra takes an assertion once
	req.AuthToken = assertion(t, private, claims("2", time.Now().Add(-time.Minute)))
	_, err = p.Renew(t.Context(), req)
	wantError(t, err, provider.AuthTokenMissing, "")
}
