package oauth2_test

import (
	"net/http"
	"strings"
	"testing"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
)

func TestBothTokensAreRevokedTheRefreshTokenFirst(t *testing.T) {
	tests := map[string]struct{ access, refresh, want string }{
		"both":              {accessToken, refreshToken, "refresh_token " + refreshToken + ", access_token " + accessToken},
		"the access token":  {accessToken, "", "access_token " + accessToken},
		"the refresh token": {"", refreshToken, "refresh_token " + refreshToken},
		"none":              {"", "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			if err := s.provider(t).Revoke(t.Context(), provider.Request{Token: test.access, RefreshToken: test.refresh}); err != nil {
				t.Fatal(err)
			}
			var asked []string
			for _, r := range s.to("/revoke") {
				asked = append(asked, r.form.Get("token_type_hint")+" "+r.form.Get("token"))
			}
			want(t, "asked", strings.Join(asked, ", "), test.want)
		})
	}
}

func TestTokenThatNeedsNoRevokingIsNoError(t *testing.T) {
	for _, code := range []string{"unsupported_token_type", "invalid_token", "invalid_grant"} {
		s := newIDP(t)
		s.on("/revoke", refuses(400, code))
		if err := s.provider(t).Revoke(t.Context(), session()); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	s := newIDP(t)
	delete(s.metadata, "revocation_endpoint")
	if err := s.provider(t).Revoke(t.Context(), session()); err != nil {
		t.Errorf("without an endpoint: %v", err)
	}
}

// The body of a success is not to be looked at (RFC 7009 section 2.2). But a portal on the way answers everything with its own page.
func TestWebPageIsNoRevocation(t *testing.T) {
	for body, kind := range map[string]provider.Kind{
		"": "", "OK": "", "{}": "",
		"<!doctype html><title>" + said + "</title>": provider.Unavailable, "\r\n <html>" + said: provider.Unavailable,
	} {
		s := newIDP(t)
		s.on("/revoke", says(200, "text/html", body))
		err := s.provider(t).Revoke(t.Context(), session())
		if kind != "" {
			wantError(t, err, kind, "")
		} else if err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestWebPageIsNoProofOfCredentials(t *testing.T) {
	s := newIDP(t)
	s.on("/revoke", says(200, "text/html", "<!doctype html>"))
	p := s.provider(t)
	if _, err := p.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.on("/revoke", refuses(401, "invalid_client"))
	_, err := p.Discover(t.Context())
	wantError(t, err, provider.Misconfigured, "")
}

func TestRevocationThatFailsTellsWhy(t *testing.T) {
	req := session()
	req.RefreshToken = refreshToken
	tests := map[string]struct {
		answer http.HandlerFunc
		kind   provider.Kind
		asked  int
	}{
		"credentials":                    {refuses(401, "invalid_client"), provider.Misconfigured, 2},
		"for now, with either token":     {says(503, "text/html", said), provider.Unavailable, 1},
		"left alone, with either token":  {says(429, "text/html", said), provider.Busy, 1},
		"another place, for both tokens": {says(404, "text/html", said), provider.Misconfigured, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.on("/revoke", test.answer)
			wantError(t, s.provider(t).Revoke(t.Context(), req), test.kind, "")
			want(t, "requests", len(s.to("/revoke")), test.asked)
		})
	}
}

func TestCheckTellsWhetherTheTokenHolds(t *testing.T) {
	words := func(c *oauth2.Config) {
		c.Errors = map[string]oauth2.Meaning{
			"user_disabled": {Kind: provider.Banned, Code: "UserBanned"}, "stolen": {Kind: provider.Banned}, "gone": {Kind: provider.GrantDead},
		}
	}
	tests := map[string]struct {
		answer fields
		want   provider.Status
	}{
		"active":                   {fields{"active": true, "exp": 1}, provider.Status{Active: true}}, // the server's clock is not ours to judge
		"ended":                    {fields{"active": false}, provider.Status{}},
		"banned":                   {fields{"active": false, "error": "user_disabled"}, provider.Status{Banned: true, Code: "UserBanned"}},
		"banned, as is described":  {fields{"active": false, "error_description": "stolen"}, provider.Status{Banned: true, Code: "stolen"}},
		"ended, with another word": {fields{"active": false, "error": "gone"}, provider.Status{}},
		"active, whatever it says": {fields{"active": true, "error": "user_disabled"}, provider.Status{Active: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.on("/introspect", gives(test.answer))
			status, err := s.provider(t, words).Check(t.Context(), session())
			if err != nil {
				t.Fatal(err)
			}
			want(t, "status", status, test.want)
			want(t, "token", s.last(t, "/introspect").form.Get("token"), accessToken)
		})
	}
}

// What is no answer ends no session.
func TestCheckWithoutAnAnswerIsAnError(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		kind   provider.Kind
		code   string
	}{
		"empty object":       {gives(fields{}), provider.Unavailable, ""},
		"null":               {gives(fields{"active": nil}), provider.Unavailable, ""},
		"a word":             {gives(fields{"active": "yes"}), provider.Unavailable, ""},
		"a web page":         {says(200, "text/html", "<html>"+said), provider.Unavailable, ""},
		"refused in words":   {says(401, "text/plain", said), provider.Misconfigured, ""},
		"refused as banned":  {refuses(400, "user_disabled"), provider.Banned, "UserBanned"},
		"forbidden":          {says(403, "text/html", said), provider.Misconfigured, ""},
		"out of order":       {says(500, "text/html", said), provider.Unavailable, ""},
		"left alone for now": {says(429, "text/html", said), provider.Busy, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.on("/introspect", test.answer)
			p := s.provider(t, func(c *oauth2.Config) {
				c.Errors = map[string]oauth2.Meaning{"user_disabled": {Kind: provider.Banned, Code: "UserBanned"}}
			})
			_, err := p.Check(t.Context(), session())
			wantError(t, err, test.kind, test.code)
		})
	}
	s := newIDP(t)
	delete(s.metadata, "introspection_endpoint")
	_, err := s.provider(t).Check(t.Context(), session())
	wantError(t, err, provider.Misconfigured, "")
}
