package identityenv_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
	"terminals.dev/session-controller/test/identityenv"
)

// oidcServer is a real OpenID provider, with something in front of it that can be told to fail.
type oidcServer struct {
	*identityenv.OIDC
	front *identityenv.Front
}

func startOIDC(t *testing.T) *oidcServer {
	t.Helper()
	front := identityenv.StartFront()
	t.Cleanup(front.Close)
	s, err := identityenv.StartOIDC(t.Context(), identityenv.OIDCOptions{
		Dir: t.TempDir(), Issuer: front.URL, TokenLifetime: 30 * 24 * time.Hour,
	})
	must(t, err)
	t.Cleanup(s.Kill)
	must(t, front.To("https://"+s.Address, s.CA))
	return &oidcServer{s, front}
}

func (s *oidcServer) config(grant oauth2.Grant) oauth2.Config {
	return oauth2.Config{
		IssuerURL: s.front.URL, CABundle: s.front.CA, Grant: grant, ClientID: identityenv.ClientBasic,
		Authentication: oauth2.Authentication{Method: oauth2.ClientSecretBasic, Secret: []byte(identityenv.ClientSecret)},
	}
}

func (s *oidcServer) provider(t *testing.T, grant oauth2.Grant) *oauth2.Provider {
	t.Helper()
	return newProvider(t, s.config(grant))
}

// key makes a key, and its JWK.
func key(t testing.TB, id string) (private, public jose.JSONWebKey) {
	t.Helper()
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return jose.JSONWebKey{Key: made, KeyID: id}, jose.JSONWebKey{Key: made.Public(), KeyID: id, Algorithm: "ES256", Use: "sig"}
}

func encode(t *testing.T, value any) []byte {
	t.Helper()
	encoded, err := json.Marshal(value)
	must(t, err)
	return encoded
}

func assertion(t testing.TB, key jose.JSONWebKey, claims jwt.Claims) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	must(t, err)
	signed, err := jwt.Signed(signer).Claims(claims).Serialize()
	must(t, err)
	return signed
}

func TestOIDCServerSupportsEverything(t *testing.T) {
	s := startOIDC(t)
	features, err := s.provider(t, oauth2.DeviceCode).Discover(t.Context())
	must(t, err)
	if want := (oauth2.Features{Revocation: true, Introspection: true, RefreshToken: true, DeviceCode: true}); features != want {
		t.Errorf("features are %+v, want %+v", features, want)
	}
}

func TestOIDCClientCredentials(t *testing.T) {
	s := startOIDC(t)
	methods := map[oauth2.Method]func(*oauth2.Config){
		oauth2.ClientSecretBasic: func(*oauth2.Config) {},
		oauth2.ClientSecretPost: func(c *oauth2.Config) {
			c.ClientID = identityenv.ClientPost
			c.Authentication = oauth2.Authentication{Method: oauth2.ClientSecretPost, Secret: []byte(identityenv.ClientSecret)}
		},
	}
	for method, change := range methods {
		t.Run(string(method), func(t *testing.T) {
			config := s.config(oauth2.ClientCredentials)
			change(&config)
			p := newProvider(t, config)
			token := login(t, p, request("payments"))
			if token.ExpiresIn.Round(time.Minute) != 30*24*time.Hour || token.RefreshToken != "" || token.Identity != (provider.Identity{}) {
				t.Errorf("token lives for %s, for %+v", token.ExpiresIn, token.Identity)
			}
			renewed, err := p.Renew(t.Context(), having(request("payments"), token))
			must(t, err)
			if renewed.Value == token.Value {
				t.Error("the renewed token is the old one")
			}
			must(t, p.Revoke(t.Context(), having(request(), renewed)))
			must(t, p.Revoke(t.Context(), having(request(), renewed))) // it is not known any more
		})
	}
	p := s.provider(t, oauth2.ClientCredentials)
	token := login(t, p, request("payments"))
	wantActive(t, p, having(request(), token), true)
	must(t, p.Revoke(t.Context(), having(request(), token)))
	wantActive(t, p, having(request(), token), false)
	_, err := p.Login(t.Context(), request("unknown"))
	wantError(t, err, provider.Rejected, "InvalidScope")
}

func TestOIDCRefusesWrongCredentials(t *testing.T) {
	s := startOIDC(t)
	config := s.config(oauth2.ClientCredentials)
	config.Authentication.Secret = []byte("wrong")
	p := newProvider(t, config)
	_, err := p.Discover(t.Context())
	wantError(t, err, provider.Misconfigured, "")
	if !errors.Is(err, oauth2.ErrCredentials) {
		t.Errorf("%v does not tell that it is the credentials", err)
	}
	_, err = p.Login(t.Context(), request())
	wantError(t, err, provider.Misconfigured, "")
	if access, _, err := s.Alive(t.Context()); err != nil || access != 0 {
		t.Errorf("there are %d tokens, %v", access, err)
	}
}

func begin(t *testing.T, p *oauth2.Provider, req provider.Request) provider.Pending {
	t.Helper()
	result, err := p.Login(t.Context(), req)
	must(t, err)
	if result.Pending == nil {
		t.Fatalf("Login answered with %+v, want a Pending", result)
	}
	return *result.Pending
}

func TestOIDCDeviceCode(t *testing.T) {
	s := startOIDC(t)
	p := s.provider(t, oauth2.DeviceCode)
	req := request("openid", "email", "offline_access")
	pending := begin(t, p, req)
	if pending.Interval != 5*time.Second || pending.ExpiresIn != 5*time.Minute ||
		!strings.Contains(pending.VerificationURIComplete, pending.UserCode) {
		t.Errorf("pending is %+v", pending)
	}
	page, err := s.Page(t.Context(), pending.UserCode)
	must(t, err)
	if !strings.Contains(page, "Terminal T-0042 (SN-93AX)") {
		t.Errorf("the person reads %q, which does not name the terminal", page)
	}
	result, err := p.Poll(t.Context(), req, pending)
	must(t, err)
	if result.Pending == nil || *result.Pending != pending {
		t.Errorf("before anybody confirms, Poll answers with %+v", result)
	}

	must(t, s.Approve(t.Context(), pending.UserCode, "anna"))
	result, err = p.Poll(t.Context(), req, pending)
	must(t, err)
	token := *result.Token
	if want := (provider.Identity{Email: "anna@acme.example", Subject: "anna"}); token.Identity != want {
		t.Errorf("identity is %+v, want %+v", token.Identity, want)
	}
	_, err = p.Poll(t.Context(), req, pending)
	wantError(t, err, provider.Rejected, "AccessDenied") // this server's word for a code that was used

	// A refresh token is replaced by each use, and good until its successor has been used: an answer may be lost.
	renewed, err := p.Renew(t.Context(), having(req, token))
	must(t, err)
	if renewed.RefreshToken == "" || renewed.RefreshToken == token.RefreshToken || renewed.Value == token.Value {
		t.Error("the refresh token was not rotated")
	}
	lost := renewed
	renewed, err = p.Renew(t.Context(), having(req, token))
	must(t, err)
	wantActive(t, p, having(req, token), true)
	renewed, err = p.Renew(t.Context(), having(req, renewed))
	must(t, err)
	for _, over := range []provider.Token{token, lost} {
		wantActive(t, p, having(req, over), false)
		_, err = p.Renew(t.Context(), having(req, over))
		wantError(t, err, provider.GrantDead, "")
	}
	wantActive(t, p, having(req, renewed), true)
	must(t, p.Revoke(t.Context(), having(req, renewed)))
	wantActive(t, p, having(req, renewed), false)
	_, err = p.Renew(t.Context(), having(req, renewed))
	wantError(t, err, provider.GrantDead, "")
}

func TestOIDCDeviceCodeOfAPublicClient(t *testing.T) {
	s := startOIDC(t)
	config := s.config(oauth2.DeviceCode)
	config.ClientID, config.Authentication = identityenv.ClientPublic, oauth2.Authentication{}
	p := newProvider(t, config)
	req := request("openid", "email")
	pending := begin(t, p, req)
	must(t, s.Approve(t.Context(), pending.UserCode, "anna"))
	result, err := p.Poll(t.Context(), req, pending)
	must(t, err)
	if result.Token == nil || result.Token.Identity.Email != "anna@acme.example" {
		t.Errorf("Poll answers with %+v", result)
	}
	_, err = p.Renew(t.Context(), having(req, *result.Token))
	wantError(t, err, provider.GrantDead, "")
}

func TestOIDCDeviceCodeDeniedOrExpired(t *testing.T) {
	s := startOIDC(t)
	p := s.provider(t, oauth2.DeviceCode)
	denied, expired := begin(t, p, request("openid")), begin(t, p, request("openid"))
	must(t, s.Deny(t.Context(), denied.UserCode))
	_, err := p.Poll(t.Context(), request(), denied)
	wantError(t, err, provider.Rejected, "AccessDenied")
	must(t, s.Expire(t.Context(), expired.UserCode))
	_, err = p.Poll(t.Context(), request(), expired)
	wantError(t, err, provider.Rejected, "ExpiredToken")
}

func TestOIDCSomebodyElseApproves(t *testing.T) {
	s := startOIDC(t)
	p := s.provider(t, oauth2.DeviceCode)
	req := request("openid", "email")
	pending := begin(t, p, req)
	must(t, s.Approve(t.Context(), pending.UserCode, "mallory"))
	result, err := p.Poll(t.Context(), req, pending)
	must(t, err)
	if result.Token.Identity.Email != "mallory@acme.example" {
		t.Errorf("identity is %+v, want mallory's, whom the caller refuses", result.Token.Identity)
	}

	// Eve claims Anna's address, and the server has not verified it.
	pending = begin(t, p, req)
	must(t, s.Approve(t.Context(), pending.UserCode, "eve"))
	_, err = p.Poll(t.Context(), req, pending)
	wantError(t, err, provider.Rejected, "EmailNotVerified")
	if access, refresh, err := s.Alive(t.Context()); err != nil || access != 1 || refresh != 0 {
		t.Errorf("%d access and %d refresh tokens are alive, want mallory's alone: %v", access, refresh, err)
	}
}

func TestOIDCTokenExchange(t *testing.T) {
	s := startOIDC(t)
	p := s.provider(t, oauth2.TokenExchange)
	req := request("openid", "email")
	var err error
	req.AuthToken, err = s.Token(t.Context(), "anna", "openid")
	must(t, err)
	token := login(t, p, req)
	if want := (provider.Identity{Email: "anna@acme.example", Subject: "anna"}); token.Identity != want {
		t.Errorf("identity is %+v, want %+v", token.Identity, want)
	}
	renewed, err := p.Renew(t.Context(), req)
	must(t, err)
	wantActive(t, p, having(req, renewed), true)
	if token.RefreshToken != "" || renewed.RefreshToken != "" {
		t.Error("there is a refresh token, for which nobody has asked")
	}
	lasting := login(t, p, having(provider.Request{Session: request("openid", "email", "offline_access").Session, AuthToken: req.AuthToken}, provider.Token{}))
	renewed, err = p.Renew(t.Context(), having(request(), lasting))
	must(t, err)
	wantActive(t, p, having(req, renewed), true)
	req.AuthToken = "not-one-of-this-server"
	_, err = p.Renew(t.Context(), req)
	wantError(t, err, provider.AuthTokenMissing, "")
}

func TestOIDCJWTBearer(t *testing.T) {
	s := startOIDC(t)
	private, public := key(t, "anna-1")
	anna := identityenv.User{Email: "anna@acme.example", Verified: true, Keys: map[string]any{"anna-1": public}}
	must(t, s.SetUser(t.Context(), "anna", anna))
	p := s.provider(t, oauth2.JWTBearer)
	claims := func(expiry time.Time) jwt.Claims {
		return jwt.Claims{
			Issuer: "anna", Subject: "anna", Audience: jwt.Audience{s.Issuer},
			IssuedAt: jwt.NewNumericDate(expiry.Add(-10 * time.Minute)), Expiry: jwt.NewNumericDate(expiry),
		}
	}
	req := request("openid", "email")
	req.AuthToken = assertion(t, private, claims(time.Now().Add(5*time.Minute)))
	token := login(t, p, req)
	if want := (provider.Identity{Email: "anna@acme.example", Subject: "anna"}); token.Identity != want {
		t.Errorf("identity is %+v, want %+v", token.Identity, want)
	}
	wantActive(t, p, having(req, token), true)

	// This server calls it server_error, with status 400.
	req.AuthToken = assertion(t, private, claims(time.Now().Add(-time.Minute)))
	_, err := p.Renew(t.Context(), req)
	wantError(t, err, provider.AuthTokenMissing, "")
}

// The server verifies by its own clock with a second of leeway; ours is off.
func TestOIDCPrivateKeyJWTWithClocksApart(t *testing.T) {
	s := startOIDC(t)
	private, public := key(t, "till-1")
	must(t, s.PublishKey(t.Context(), identityenv.ClientKey, public))
	for _, off := range []time.Duration{-10 * time.Minute, 0, 10 * time.Minute} {
		t.Run(off.String(), func(t *testing.T) {
			config := s.config(oauth2.DeviceCode)
			config.ClientID = identityenv.ClientKey
			config.Authentication = oauth2.Authentication{Method: oauth2.PrivateKeyJWT, Secret: encode(t, private)}
			config.Now = func() time.Time { return time.Now().Add(off) }
			p := newProvider(t, config)
			req := request("openid", "email", "offline_access")
			pending := begin(t, p, req)
			must(t, s.Approve(t.Context(), pending.UserCode, "anna"))
			result, err := p.Poll(t.Context(), req, pending)
			must(t, err)
			if result.Token.ExpiresIn.Round(time.Minute) != 30*24*time.Hour || result.Token.Identity.Email != "anna@acme.example" {
				t.Errorf("token lives for %s, for %+v", result.Token.ExpiresIn, result.Token.Identity)
			}
			renewed, err := p.Renew(t.Context(), having(req, *result.Token))
			must(t, err)
			wantActive(t, p, having(req, renewed), true)
			must(t, p.Revoke(t.Context(), having(req, renewed)))
			wantActive(t, p, having(req, renewed), false)
		})
	}
}

func TestOIDCBannedUserIsFoundAtRenewal(t *testing.T) {
	s := startOIDC(t)
	config := s.config(oauth2.DeviceCode)
	config.Errors = map[string]oauth2.Meaning{"user_disabled": {Kind: provider.Banned, Code: "UserBanned"}}
	p := newProvider(t, config)
	req := request("openid", "email", "offline_access")
	pending := begin(t, p, req)
	must(t, s.Approve(t.Context(), pending.UserCode, "anna"))
	result, err := p.Poll(t.Context(), req, pending)
	must(t, err)
	must(t, s.SetUser(t.Context(), "anna", identityenv.User{Email: "anna@acme.example", Verified: true, Banned: true}))
	_, err = p.Renew(t.Context(), having(req, *result.Token))
	wantError(t, err, provider.Banned, "UserBanned")
	wantActive(t, p, having(req, *result.Token), false)
}

func TestOIDCComesBackAfterItsFailures(t *testing.T) {
	s := startOIDC(t)
	p := s.provider(t, oauth2.ClientCredentials)
	token := login(t, p, request())
	for status, kind := range map[int]provider.Kind{429: provider.Busy, 503: provider.Unavailable} {
		s.front.Instead(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			return true
		})
		_, err := p.Login(t.Context(), request())
		wantError(t, err, kind, "")
		if wait := provider.AsError(err).RetryAfter; wait != 7*time.Second {
			t.Errorf("RetryAfter is %s", wait)
		}
	}
	s.front.Instead(nil)
	s.Kill()
	_, err := p.Renew(t.Context(), having(request(), token))
	wantError(t, err, provider.Unavailable, "")

	again, err := identityenv.StartOIDC(t.Context(), identityenv.OIDCOptions{Dir: t.TempDir(), Issuer: s.front.URL})
	must(t, err)
	t.Cleanup(again.Kill)
	must(t, s.front.To("https://"+again.Address, again.CA))
	s.front.Asked()
	renewed, err := p.Renew(t.Context(), having(request(), token))
	must(t, err)
	if asked := s.front.Asked(); len(asked) != 1 {
		t.Errorf("a renewal asked for %v", asked)
	}
	wantActive(t, p, having(request(), renewed), true)
	wantActive(t, p, having(request(), token), false)
}
