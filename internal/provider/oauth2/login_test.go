package oauth2_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
)

func TestEachGrantAsksAsItsSpecificationSays(t *testing.T) {
	common := url.Values{
		"scope":    {"payments openid offline_access"},
		"resource": {"https://pay.example"}, "audience": {"https://pay.example", "stock"},
	}
	tests := map[oauth2.Grant]url.Values{
		oauth2.ClientCredentials: {"grant_type": {"client_credentials"}},
		oauth2.TokenExchange: {
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {authToken},
			"subject_token_type":   {"urn:ietf:params:oauth:token-type:access_token"},
			"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		},
		oauth2.JWTBearer: {"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {authToken}},
	}
	for g, own := range tests {
		t.Run(string(g), func(t *testing.T) {
			s := newIDP(t)
			p := s.provider(t, grant(g), func(c *oauth2.Config) { c.Scopes = []string{"openid", "offline_access"} })
			for _, ask := range []func() (provider.Token, error){
				func() (provider.Token, error) { return login(t, p, session()), nil },
				func() (provider.Token, error) { return p.Renew(t.Context(), session()) },
			} {
				got, err := ask()
				if err != nil {
					t.Fatal(err)
				}
				want(t, "token", got, provider.Token{Value: accessToken, ExpiresIn: 720 * time.Hour})
				asked := s.last(t, "/token")
				for _, form := range []url.Values{common, own} {
					for name, values := range form {
						want(t, name, asked.form[name], values)
					}
				}
				want(t, "parameters", len(asked.form), len(common)+len(own))
				want(t, "who asks", asked.user+" "+asked.secret, "till+fleet "+clientSecret)
			}
		})
	}
}

func TestLoginWithoutScopesAndAudiencesAsksForNone(t *testing.T) {
	s := newIDP(t)
	login(t, s.provider(t), provider.Request{})
	want(t, "form", s.last(t, "/token").form, url.Values{"grant_type": {"client_credentials"}})
}

func TestScopeThatIsTwoIsRefused(t *testing.T) {
	s := newIDP(t)
	for _, scope := range []string{"payments admin", "", `"`, "zahlungen-für-alle"} {
		req := session()
		req.Session.Scopes = []string{scope}
		_, err := s.provider(t).Login(t.Context(), req)
		wantError(t, err, provider.Misconfigured, "")
	}
	want(t, "requests", len(s.asked), 0)
}

func TestClientProvesItselfAsConfigured(t *testing.T) {
	const odd = clientSecret + ":%/+ &="
	as := func(method oauth2.Method, secret string) func(*oauth2.Config) {
		return func(c *oauth2.Config) {
			c.Authentication = oauth2.Authentication{Method: method, Secret: []byte(secret)}
		}
	}
	tests := map[string]struct {
		change         func(*oauth2.Config)
		user, password string
		id, secret     string
	}{
		"basic": {as(oauth2.ClientSecretBasic, odd+"\n"), "till+fleet", url.QueryEscape(odd), "", ""},
		"post":  {as(oauth2.ClientSecretPost, odd+"\r\n"), "", "", "till fleet", odd},
		"none":  {as(oauth2.None, ""), "", "", "till fleet", ""},
		"unset": {as("", ""), "", "", "till fleet", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.metadata["introspection_endpoint_auth_methods_supported"] = []string{"none"}
			everyEndpoint(t, s.provider(t, test.change))
			if _, err := s.provider(t, test.change, grant(oauth2.DeviceCode)).Login(t.Context(), session()); err != nil {
				t.Error(err)
			}
			for _, path := range []string{"/token", "/revoke", "/introspect", "/device"} {
				asked := s.last(t, path)
				want(t, path+": Basic", asked.user+" "+asked.secret, test.user+" "+test.password)
				want(t, path+": form", asked.form.Get("client_id")+" "+asked.form.Get("client_secret"), test.id+" "+test.secret)
			}
		})
	}
}

// everyEndpoint makes p ask all that take credentials.
func everyEndpoint(t *testing.T, p *oauth2.Provider) {
	t.Helper()
	login(t, p, session())
	if err := p.Revoke(t.Context(), session()); err != nil {
		t.Error(err)
	}
	if _, err := p.Check(t.Context(), session()); err != nil {
		t.Error(err)
	}
}

func TestPrivateKeySignsAnAssertionForEachRequest(t *testing.T) {
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	block := func(kind string, der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return block("PRIVATE KEY", der, err)
	}
	sec1, err := x509.MarshalECPrivateKey(p256)
	jwk, _ := json.Marshal(jose.JSONWebKey{Key: rsaKey, KeyID: "till-1", Algorithm: "PS256"})
	tests := map[string]struct {
		secret []byte
		public any
		alg    jose.SignatureAlgorithm
		kid    string
	}{
		"PKCS 8, P-256":   {pkcs8(p256), p256.Public(), jose.ES256, ""},
		"PKCS 8, P-384":   {pkcs8(p384), p384.Public(), jose.ES384, ""},
		"PKCS 8, RSA":     {pkcs8(rsaKey), rsaKey.Public(), jose.RS256, ""},
		"PKCS 8, Ed25519": {pkcs8(edKey), edKey.Public(), jose.EdDSA, ""},
		"PKCS 1":          {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), rsaKey.Public(), jose.RS256, ""},
		"SEC 1":           {block("EC PRIVATE KEY", sec1, err), p256.Public(), jose.ES256, ""},
		"JWK":             {jwk, rsaKey.Public(), jose.PS256, "till-1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			p := s.provider(t, func(c *oauth2.Config) {
				c.Authentication = oauth2.Authentication{Method: oauth2.PrivateKeyJWT, Secret: test.secret}
			})
			everyEndpoint(t, p)
			var ids []string
			for _, path := range []string{"/token", "/revoke", "/introspect"} {
				asked := s.last(t, path)
				want(t, "type", asked.form.Get("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
				parsed, err := jwt.ParseSigned(asked.form.Get("client_assertion"), []jose.SignatureAlgorithm{test.alg})
				if err != nil {
					t.Fatal(err)
				}
				var claims jwt.Claims
				if err := parsed.Claims(test.public, &claims); err != nil {
					t.Fatal(err)
				}
				if err := claims.ValidateWithLeeway(jwt.Expected{Issuer: "till fleet", Subject: "till fleet", Time: start}, 0); err != nil {
					t.Error(err)
				}
				want(t, "aud", claims.Audience, []string{s.URL, s.URL + "/token"})
				kid := test.kid
				if kid == "" {
					sum, _ := (&jose.JSONWebKey{Key: test.public}).Thumbprint(crypto.SHA256)
					kid = base64.RawURLEncoding.EncodeToString(sum)
				}
				want(t, "kid", parsed.Headers[0].KeyID, kid)
				ids = append(ids, claims.ID)
				want(t, "secret beside it", asked.secret+asked.form.Get("client_secret"), "")
			}
			slices.Sort(ids)
			want(t, "different jti", len(slices.Compact(ids)), 3)
		})
	}
}

func TestKeyThatIsTooWeakIsRefused(t *testing.T) {
	s := newIDP(t)
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, err = oauth2.New(s.config(func(c *oauth2.Config) {
		c.Authentication = oauth2.Authentication{Method: oauth2.PrivateKeyJWT, Secret: pem.EncodeToMemory(&pem.Block{
			Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key),
		})}
	}))
	wantError(t, err, provider.Misconfigured, "")
}

// An assertion is judged by the server's clock, so it is made for that one.
func TestServersClockMayBeOff(t *testing.T) {
	for _, ahead := range []time.Duration{-10 * time.Minute, 0, 10 * time.Minute} {
		t.Run(ahead.String(), func(t *testing.T) {
			s := newIDP(t)
			s.ahead = ahead
			key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			jwk, _ := json.Marshal(jose.JSONWebKey{Key: key, KeyID: "till-1"})
			p := s.provider(t, grant(oauth2.JWTBearer), func(c *oauth2.Config) {
				c.Authentication = oauth2.Authentication{Method: oauth2.PrivateKeyJWT, Secret: jwk}
			})
			theirs := start.Add(ahead)
			s.on("/token", gives(token(fields{
				"id_token": s.idToken(t, fields{"iat": theirs.Unix(), "exp": theirs.Add(5 * time.Minute).Unix(), "email": "anna@acme.example"}),
			})))
			got := login(t, p, session())
			want(t, "lifetime", got.ExpiresIn, 720*time.Hour)
			want(t, "user", got.Identity.Email, "anna@acme.example")
			parsed, err := jwt.ParseSigned(s.last(t, "/token").form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
			if err != nil {
				t.Fatal(err)
			}
			var claims jwt.Claims
			if err := parsed.Claims(key.Public(), &claims); err != nil {
				t.Fatal(err)
			}
			if err := claims.ValidateWithLeeway(jwt.Expected{Time: theirs}, 0); err != nil {
				t.Errorf("by the server's clock: %v", err)
			}
		})
	}
}

func TestLifetimeIsAsTheServerSays(t *testing.T) {
	tests := map[string]struct {
		answer fields
		want   time.Duration // zero: refused
	}{
		"a minute":             {fields{"expires_in": 60}, time.Minute},
		"a year":               {fields{"expires_in": 31536000}, 365 * 24 * time.Hour},
		"a string":             {fields{"expires_in": "3600"}, time.Hour},
		"longer than can be":   {fields{"expires_in": 1e18}, time.Duration(9223372036) * time.Second},
		"null":                 {fields{"expires_in": nil}, oauth2.DefaultLifetime},
		"zero":                 {fields{"expires_in": 0}, 0},
		"negative":             {fields{"expires_in": -5}, 0},
		"very negative":        {fields{"expires_in": -1e18}, 0},
		"a string of negative": {fields{"expires_in": "-5"}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			body, _ := json.Marshal(token(test.answer))
			s.on("/token", says(200, "application/json", strings.ReplaceAll(string(body), "e+18", "000000000000000000")))
			p := s.provider(t)
			if test.want > 0 {
				want(t, "lifetime", login(t, p, session()).ExpiresIn, test.want)
				return
			}
			_, err := p.Login(t.Context(), session())
			wantError(t, err, provider.Misconfigured, "")
			want(t, "token given back", s.last(t, "/revoke").form.Get("token"), accessToken)
		})
	}
	t.Run("missing", func(t *testing.T) {
		s := newIDP(t)
		s.on("/token", gives(fields{"access_token": accessToken}))
		want(t, "lifetime", login(t, s.provider(t), session()).ExpiresIn, time.Hour)
	})
}

func TestTokenMayBeLarge(t *testing.T) {
	s := newIDP(t)
	large := strings.Repeat("t", 64<<10)
	s.on("/token", gives(token(fields{"access_token": large, "refresh_token": large})))
	got := login(t, s.provider(t), session())
	if got.Value != large || got.RefreshToken != large {
		t.Error("a token of 64 KiB did not come through whole")
	}
}

func TestTokenThatCannotBeUsedIsRefused(t *testing.T) {
	tests := map[string]struct {
		answer fields
		kind   provider.Kind
	}{
		"too large":               {fields{"access_token": strings.Repeat("t", 64<<10+1)}, provider.Misconfigured},
		"refresh token too large": {fields{"refresh_token": strings.Repeat("t", 64<<10+1)}, provider.Misconfigured},
		"line break":              {fields{"access_token": accessToken + "\r\nX: y"}, provider.Misconfigured},
		"another type":            {fields{"token_type": "DPoP"}, provider.Misconfigured},
		"an ID token":             {fields{"issued_token_type": "urn:ietf:params:oauth:token-type:id_token"}, provider.Misconfigured},
		"none":                    {fields{"access_token": ""}, provider.Unavailable},
		"another JSON":            {fields{"access_token": 5}, provider.Unavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.on("/token", gives(token(test.answer)))
			_, err := s.provider(t).Login(t.Context(), session())
			wantError(t, err, test.kind, "")
		})
	}
}

func TestLoginNeedsTheAuthToken(t *testing.T) {
	for _, g := range []oauth2.Grant{oauth2.TokenExchange, oauth2.JWTBearer} {
		s := newIDP(t)
		p := s.provider(t, grant(g))
		for _, empty := range []string{"", " \n"} {
			req := session()
			req.AuthToken = empty
			_, err := p.Login(t.Context(), req)
			wantError(t, err, provider.AuthTokenMissing, "")
			_, err = p.Renew(t.Context(), req)
			wantError(t, err, provider.AuthTokenMissing, "")
		}
		want(t, "requests", len(s.asked), 0)
	}
}

func TestNoRedirectIsFollowed(t *testing.T) {
	other := newIDP(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := newIDP(t)
		for _, path := range []string{"/token", "/device", "/revoke", "/introspect", "/userinfo", "/jwks"} {
			s.on(path, says(status, "text/html", said, "Location", other.URL+path))
		}
		p := s.provider(t, func(c *oauth2.Config) { c.CABundle = append(c.CABundle, other.config().CABundle...) })
		_, err := p.Login(t.Context(), session())
		wantError(t, err, provider.Misconfigured, "")
		wantError(t, p.Revoke(t.Context(), session()), provider.Misconfigured, "")
		_, err = p.Check(t.Context(), session())
		wantError(t, err, provider.Misconfigured, "")
		_, err = s.provider(t, grant(oauth2.DeviceCode)).Login(t.Context(), session())
		wantError(t, err, provider.Misconfigured, "")
		s.on("/token", gives(token(fields{"id_token": s.idToken(t, nil)})))
		_, err = s.provider(t, grant(oauth2.JWTBearer)).Login(t.Context(), session())
		wantError(t, err, provider.Misconfigured, "")
	}
	want(t, "requests of the other host", len(other.asked), 0)
}

func TestRequestsAreCounted(t *testing.T) {
	s := newIDP(t)
	sent := 0
	p := s.provider(t, func(c *oauth2.Config) {
		c.OnRequest = func(context.Context) error {
			sent++
			return nil
		}
	})
	login(t, p, session())
	want(t, "requests told of", sent, len(s.asked))
}

func TestARequestThatIsNotToGoOutDoesNot(t *testing.T) {
	s := newIDP(t)
	no := &provider.Error{Kind: provider.Busy, Message: "not now"}
	for name, of := range map[string]int{"discovery": 0, "the token endpoint": 1} {
		left := of
		p := s.provider(t, func(c *oauth2.Config) {
			c.OnRequest = func(context.Context) error {
				if left--; left < 0 {
					return no
				}
				return nil
			}
		})
		before := len(s.asked)
		_, err := p.Login(t.Context(), session())
		wantError(t, err, provider.Busy, "")
		want(t, "the message of "+name, provider.AsError(err).Message, no.Message)
		want(t, "requests before "+name, len(s.asked)-before, of)
	}
}

// Waiting for leave is not the server's doing.
func TestARequestThatWaitsBeforeItGoesOutHasItsTimeStill(t *testing.T) {
	s := newIDP(t)
	p := s.provider(t, func(c *oauth2.Config) {
		c.Timeout = 500 * time.Millisecond
		c.OnRequest = func(context.Context) error {
			time.Sleep(c.Timeout)
			return nil
		}
	})
	login(t, p, session())
}

func TestPlainHTTPIsForThoseWhoAllowIt(t *testing.T) {
	s := newIDP(t)
	plain := &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Second}
	address := serve(t, plain)
	for name := range s.metadata {
		if at, ok := s.metadata[name].(string); ok {
			s.metadata[name] = strings.Replace(at, s.URL, address, 1)
		}
	}
	change := func(allow bool) func(*oauth2.Config) {
		return func(c *oauth2.Config) { c.IssuerURL, c.AllowHTTP = address, allow }
	}
	if _, err := oauth2.New(s.config(change(false))); err == nil {
		t.Error("plain http is taken without leave")
	}
	login(t, s.provider(t, change(true)), session())
}
