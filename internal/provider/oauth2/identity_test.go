package oauth2_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
)

// asPerson is a provider whose logins are a person's.
func asPerson(t *testing.T, s *idp) *oauth2.Provider {
	return s.provider(t, grant(oauth2.JWTBearer))
}

func TestIdentityComesFromWhoeverTellsIt(t *testing.T) {
	subject := provider.Identity{Subject: "anna-1"}
	anna := provider.Identity{Email: "anna@acme.example", Subject: "anna-1"}
	full := fields{"sub": "anna-1", "email": "anna@acme.example", "email_verified": true}
	tests := map[string]struct {
		idToken, userinfo, introspection fields
		want                             provider.Identity
		asked                            string
	}{
		"the ID token":                          {full, nil, nil, anna, "/token /jwks"},
		"the ID token, verified unsaid":         {fields{"email": "anna@acme.example"}, nil, nil, anna, "/token /jwks"},
		"verified in words":                     {fields{"email": "anna@acme.example", "email_verified": "true"}, nil, nil, anna, "/token /jwks"},
		"userinfo":                              {nil, full, nil, anna, "/token /userinfo"},
		"userinfo beside an ID token":           {fields{}, full, nil, anna, "/token /jwks /userinfo"},
		"introspection":                         {nil, nil, full, anna, "/token /userinfo /introspect"},
		"subject from one, e-mail from another": {nil, fields{"sub": "anna-1"}, full, anna, "/token /userinfo /introspect"},
		"nobody":                                {nil, nil, nil, provider.Identity{}, "/token /userinfo /introspect"},
		"the subject alone":                     {fields{}, nil, nil, subject, "/token /jwks /userinfo /introspect"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			if test.idToken != nil {
				s.on("/token", gives(token(fields{"id_token": s.idToken(t, test.idToken)})))
			}
			if test.userinfo != nil {
				s.on("/userinfo", gives(test.userinfo))
			}
			if test.introspection != nil {
				test.introspection["active"] = true
				s.on("/introspect", gives(test.introspection))
			}
			want(t, "identity", login(t, asPerson(t, s), session()).Identity, test.want)
			var asked []string
			for _, r := range s.asked[1:] {
				asked = append(asked, r.path)
			}
			want(t, "asked", strings.Join(asked, " "), test.asked)
			for _, r := range s.to("/userinfo") {
				want(t, "bearer", r.header.Get("Authorization"), "Bearer "+accessToken)
			}
		})
	}
}

func TestClientsOwnTokenHasNoUserAndCostsOneRequest(t *testing.T) {
	s := newIDP(t)
	p := s.provider(t)
	login(t, p, session())
	want(t, "identity", login(t, p, session()).Identity, provider.Identity{})
	want(t, "requests for two logins", len(s.asked), 3)
}

func TestRefreshCostsOneRequest(t *testing.T) {
	s := newIDP(t)
	p := s.provider(t, grant(oauth2.DeviceCode))
	req := session()
	req.RefreshToken = refreshToken
	s.on("/token", gives(token(fields{"id_token": s.idToken(t, nil)})))
	for range 3 {
		got, err := p.Renew(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "identity", got.Identity, provider.Identity{Subject: "anna-1"})
	}
	want(t, "requests for three renewals", len(s.asked), 3+2)
}

// An empty e-mail contradicts nobody, so one that is only claimed must not become an empty one where somebody was asked for.
func TestEmailThatIsNotVerifiedIsNobodys(t *testing.T) {
	for name, more := range map[string]fields{
		"said to be not verified": {"email": "anna@acme.example", "email_verified": false},
		"said in words":           {"email": "anna@acme.example", "email_verified": "false"},
		"said strangely":          {"email": "anna@acme.example", "email_verified": 1},
		"with a space":            {"email": "anna@acme.example "},
		"too long":                {"email": strings.Repeat("a", 255) + "@acme.example"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.on("/token", gives(token(fields{"id_token": s.idToken(t, more), "refresh_token": refreshToken})))
			p := asPerson(t, s)
			_, err := p.Login(t.Context(), session())
			wantError(t, err, provider.Rejected, "EmailNotVerified")
			want(t, "tokens given back", len(s.to("/revoke")), 2)

			whoever := session() // the terminal is anybody's
			whoever.Session.UserEmail = ""
			want(t, "identity where nobody was asked for", login(t, p, whoever).Identity, provider.Identity{Subject: "anna-1"})
		})
	}
}

// Go's own encoding, and so many a server, leaves a false out.
func TestServerThatKnowsTheClaimAndLeavesItOutHasNotVerified(t *testing.T) {
	s := newIDP(t)
	s.metadata["claims_supported"] = []string{"sub", "email", "email_verified"}
	p := asPerson(t, s)
	s.on("/token", gives(token(fields{"id_token": s.idToken(t, fields{"email": "anna@acme.example"})})))
	s.on("/userinfo", gives(fields{"sub": "anna-1", "email": "anna@acme.example"}))
	_, err := p.Login(t.Context(), session())
	wantError(t, err, provider.Rejected, "EmailNotVerified")

	// The ID token need not have all claims.
	s.on("/userinfo", gives(fields{"sub": "anna-1", "email": "anna@acme.example", "email_verified": true}))
	want(t, "e-mail", login(t, p, session()).Identity.Email, "anna@acme.example")

	req := session()
	req.RefreshToken = refreshToken
	got, err := p.Renew(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "e-mail at a renewal, which asks nobody", got.Identity.Email, "anna@acme.example")
}

func TestIDTokenThatIsNotForUsIsRefused(t *testing.T) {
	s := newIDP(t)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	claims := func(more fields) fields {
		c := fields{"iss": s.URL, "sub": said, "aud": "till fleet", "iat": start.Unix(), "exp": start.Add(time.Minute).Unix()}
		for name, value := range more {
			c[name] = value
		}
		return c
	}
	tests := map[string]string{
		"another key":              signed(t, other, "k1", claims(nil)),
		"an unknown key":           signed(t, other, "k2", claims(nil)),
		"another issuer":           s.idToken(t, fields{"iss": "https://" + said + ".example"}),
		"another client":           s.idToken(t, fields{"aud": said}),
		"another party":            s.idToken(t, fields{"aud": []string{"till fleet", said}, "azp": said}),
		"long expired":             s.idToken(t, fields{"exp": start.Add(-16 * time.Minute).Unix()}),
		"issued in the far future": s.idToken(t, fields{"iat": start.Add(16 * time.Minute).Unix()}),
		"valid in the far future":  s.idToken(t, fields{"nbf": start.Add(16 * time.Minute).Unix()}),
		"not signed":               "eyJhbGciOiJub25lIn0.e30.",
		"garbage":                  said,
		"too long":                 strings.Repeat("t", 64<<10+1),
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			s.on("/token", gives(token(fields{"id_token": raw})))
			_, err := asPerson(t, s).Login(t.Context(), session())
			wantError(t, err, provider.Misconfigured, "")
			want(t, "token given back", s.last(t, "/revoke").form.Get("token"), accessToken)
		})
	}
	t.Run("no keys", func(t *testing.T) {
		s := newIDP(t)
		delete(s.metadata, "jwks_uri")
		s.on("/token", gives(token(fields{"id_token": s.idToken(t, nil)})))
		_, err := asPerson(t, s).Login(t.Context(), session())
		wantError(t, err, provider.Misconfigured, "")
	})
}

func TestKeysAreFetchedOnceAndAgainWhenTheyChange(t *testing.T) {
	s := newIDP(t)
	p := asPerson(t, s)
	s.on("/token", gives(token(fields{"id_token": s.idToken(t, fields{"email": "anna@acme.example"})})))
	for range 3 {
		login(t, p, session())
		s.advance(25 * time.Hour) // past every discovery
		s.on("/token", gives(token(fields{"id_token": s.idToken(t, fields{"email": "anna@acme.example"})})))
	}
	want(t, "fetches", len(s.to("/jwks")), 1)
}

func TestIdentityThatCannotBeFoundOutIsNotNobody(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"500":      says(500, "text/html", said),
		"429":      says(429, "text/html", said),
		"hangs":    hangs,
		"100 MB":   floods,
		"web page": says(200, "text/html", "<html>"+said),
	}
	for name, answer := range answers {
		for _, place := range []string{"/userinfo", "/introspect", "/jwks"} {
			if name == "web page" && place == "/jwks" {
				continue // that is Misconfigured, below
			}
			t.Run(name+" "+place, func(t *testing.T) {
				s := newIDP(t)
				if place == "/jwks" {
					s.on("/token", gives(token(fields{"id_token": s.idToken(t, nil)})))
				}
				p := s.provider(t, grant(oauth2.JWTBearer), func(c *oauth2.Config) {
					if name == "hangs" {
						c.Timeout = 200 * time.Millisecond
					}
				})
				if _, err := p.Discover(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.on(place, answer)
				kind := provider.Unavailable
				if name == "429" {
					kind = provider.Busy
				}
				_, err := p.Login(t.Context(), session())
				wantError(t, err, kind, "")
				want(t, "token given back", s.last(t, "/revoke").form.Get("token"), accessToken)
			})
		}
	}
	t.Run("two different people", func(t *testing.T) {
		s := newIDP(t)
		s.on("/token", gives(token(fields{"id_token": s.idToken(t, nil)})))
		s.on("/userinfo", gives(fields{"sub": "mallory-1", "email": "anna@acme.example"}))
		_, err := asPerson(t, s).Login(t.Context(), session())
		wantError(t, err, provider.Rejected, "IdentityMismatch")
	})
}
