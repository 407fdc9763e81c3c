package oauth2_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
)

func TestRefusalMeansWhatItMeansForWhatWasAskedWith(t *testing.T) {
	type meaning struct {
		kind provider.Kind
		code string
	}
	const (
		client  = "client"
		auth    = "auth token"
		refresh = "refresh token"
	)
	everywhere := func(kind provider.Kind, code string) map[string]meaning {
		return map[string]meaning{client: {kind, code}, auth: {kind, code}, refresh: {kind, code}}
	}
	tests := []struct {
		status int
		error  string
		want   map[string]meaning
	}{
		{401, "invalid_client", everywhere(provider.Misconfigured, "")},
		{400, "invalid_client", everywhere(provider.Misconfigured, "")},
		{401, "", everywhere(provider.Misconfigured, "")},
		{400, "unauthorized_client", everywhere(provider.Misconfigured, "")},
		{400, "unsupported_grant_type", everywhere(provider.Misconfigured, "")},
		{400, "invalid_scope", everywhere(provider.Rejected, "InvalidScope")},
		{400, "invalid_target", everywhere(provider.Rejected, "InvalidTarget")},
		{403, "access_denied", everywhere(provider.Rejected, "AccessDenied")},
		{400, "temporarily_unavailable", everywhere(provider.Unavailable, "")},
		{400, "server_error", everywhere(provider.Unavailable, "")},
		{500, "invalid_grant", everywhere(provider.Unavailable, "")},
		{502, "", everywhere(provider.Unavailable, "")},
		{503, "", everywhere(provider.Unavailable, "")},
		{408, "", everywhere(provider.Unavailable, "")},
		{429, "", everywhere(provider.Busy, "")},
		{429, "slow_down", everywhere(provider.Busy, "")},
		{400, "", everywhere(provider.Misconfigured, "")},
		{404, "", everywhere(provider.Misconfigured, "")},
		{400, "user_disabled", everywhere(provider.Rejected, "user_disabled")},
		{200, "user_disabled", everywhere(provider.Rejected, "user_disabled")},
		{400, said + " <b>", everywhere(provider.Rejected, "Refused")},
		{400, strings.Repeat("e", 65), everywhere(provider.Rejected, "Refused")},
		{400, "invalid_grant", map[string]meaning{
			client: {provider.Rejected, "InvalidGrant"}, auth: {provider.AuthTokenMissing, ""}, refresh: {provider.GrantDead, ""},
		}},
		{400, "jti_known", map[string]meaning{
			client: {provider.Rejected, "jti_known"}, auth: {provider.AuthTokenMissing, ""}, refresh: {provider.Rejected, "jti_known"},
		}},
		// RFC 8693 section 2.2.2: the subject token is invalid, for whatever reason.
		{400, "invalid_request", map[string]meaning{
			client: {provider.Misconfigured, ""}, auth: {provider.AuthTokenMissing, ""}, refresh: {provider.Misconfigured, ""},
		}},
		{400, "interaction_required", map[string]meaning{
			client: {provider.Rejected, "interaction_required"}, auth: {provider.Rejected, "interaction_required"},
			refresh: {provider.GrantDead, ""},
		}},
	}
	for _, test := range tests {
		for with, want := range test.want {
			t.Run(fmt.Sprintf("%d %.30s, %s", test.status, test.error, with), func(t *testing.T) {
				s := newIDP(t)
				g, req := oauth2.ClientCredentials, session()
				switch with {
				case auth:
					g = oauth2.TokenExchange
				case refresh:
					req.RefreshToken = refreshToken
				}
				s.on("/token", refuses(test.status, test.error))
				if test.error == "" {
					s.on("/token", says(test.status, "text/html", "<html>"+said))
				}
				_, err := s.provider(t, grant(g)).Renew(t.Context(), req)
				wantError(t, err, want.kind, want.code)
			})
		}
	}
}

// Servers have different words for it, and one of them is server_error.
func TestAuthTokenThatHasExpiredIsTakenForMissing(t *testing.T) {
	jwt := func(expiry time.Time) string {
		return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d,"sub":%q}`, expiry.Unix(), authToken)) + ".c2ln"
	}
	for _, code := range []string{"server_error", "invalid_grant", "invalid_request", "expired_token", "no_such_word"} {
		s := newIDP(t)
		s.on("/token", refuses(400, code))
		p := s.provider(t, grant(oauth2.JWTBearer))
		req := session()
		req.AuthToken = jwt(start.Add(-time.Second))
		_, err := p.Renew(t.Context(), req)
		wantError(t, err, provider.AuthTokenMissing, "")
	}
	s := newIDP(t)
	s.on("/token", refuses(400, "server_error"))
	req := session()
	req.AuthToken = jwt(start.Add(time.Hour))
	_, err := s.provider(t, grant(oauth2.JWTBearer)).Renew(t.Context(), req)
	wantError(t, err, provider.Unavailable, "")
}

func TestProvidersOwnWordsAreUnderstood(t *testing.T) {
	words := map[string]oauth2.Meaning{
		"user_disabled":    {Kind: provider.Banned, Code: "UserBanned"},
		"Account disabled": {Kind: provider.Banned, Code: "UserBanned"},
		"device_stolen":    {Kind: provider.Banned},
		"try_later":        {Kind: provider.Busy},
		"no_more_tokens":   {Kind: provider.Rejected, Code: "Quota"},
		"invalid_grant":    {Kind: provider.AuthTokenMissing},
	}
	tests := map[string]struct {
		status int
		answer fields
		kind   provider.Kind
		code   string
		wait   time.Duration
	}{
		"error":                            {400, fields{"error": "user_disabled"}, provider.Banned, "UserBanned", 0},
		"without a code":                   {400, fields{"error": "device_stolen"}, provider.Banned, "device_stolen", 0},
		"Rejected":                         {400, fields{"error": "no_more_tokens"}, provider.Rejected, "Quota", 0},
		"Busy":                             {400, fields{"error": "try_later"}, provider.Busy, "try_later", 30 * time.Second},
		"even with 500":                    {500, fields{"error": "user_disabled"}, provider.Banned, "UserBanned", 0},
		"over what the specification says": {400, fields{"error": "invalid_grant"}, provider.AuthTokenMissing, "invalid_grant", 0},
		"description before error": {
			400, fields{"error": "invalid_grant", "error_description": "Account disabled"}, provider.Banned, "UserBanned", 0,
		},
		"suberror before error": {
			400, fields{"error": "invalid_grant", "suberror": "user_disabled"}, provider.Banned, "UserBanned", 0,
		},
		"a part of a word is not that word": {400, fields{"error": "user"}, provider.Rejected, "user", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.on("/token", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "30")
				write(w, test.status, test.answer)
			})
			p := s.provider(t, func(c *oauth2.Config) { c.Errors = words })
			_, err := p.Login(t.Context(), session())
			wantError(t, err, test.kind, test.code)
			want(t, "RetryAfter", provider.AsError(err).RetryAfter, test.wait)
		})
	}
}

func TestRetryAfterIsHeard(t *testing.T) {
	ahead := 10 * time.Minute
	date := func(d time.Duration) string { return start.Add(ahead).Add(d).Format(http.TimeFormat) }
	tests := map[string]time.Duration{
		"":                0,
		"30":              30 * time.Second,
		"30 ":             30 * time.Second, //nolint:gocritic // the space is the point
		"0":               0,
		"-5":              0,
		"soon":            0,
		"99999999999":     24 * time.Hour,
		date(time.Minute): time.Minute, // by the server's clock, which is ahead
		date(-time.Hour):  0,
	}
	for value, wait := range tests {
		for status, kind := range map[int]provider.Kind{429: provider.Busy, 503: provider.Unavailable} {
			t.Run(fmt.Sprint(value, " ", status), func(t *testing.T) {
				s := newIDP(t)
				s.ahead = ahead
				p := s.provider(t)
				login(t, p, session())
				for _, path := range []string{"/token", "/revoke", "/introspect"} {
					s.on(path, says(status, "text/html", said, "Retry-After", value))
				}
				_, login := p.Login(t.Context(), session())
				_, check := p.Check(t.Context(), session())
				for _, err := range []error{login, check, p.Revoke(t.Context(), session())} {
					wantError(t, err, kind, "")
					want(t, "RetryAfter", provider.AsError(err).RetryAfter, wait)
				}
			})
		}
	}
}

func TestServerThatGivesNoAnswerIsUnavailable(t *testing.T) {
	tests := map[string]http.HandlerFunc{
		"nothing": hangs,
		"half":    func(w http.ResponseWriter, r *http.Request) { flush(w, `{"access_token":"`+accessToken); hangs(w, r) },
		"one byte at a time": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				flush(w, " ")
			}
		},
		"broken off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"100 MB":     floods,
		"a bomb":     bomb,
		"a web page": says(200, "text/html", "<html>"+said),
		"garbage":    says(200, "application/json", said),
		"a form":     says(200, "text/plain", "oops="+said),
		"an array":   says(200, "application/json", `["`+said+`"]`),
	}
	waits := map[string]bool{"nothing": true, "half": true, "one byte at a time": true}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			patience := func(c *oauth2.Config) {
				if c.Timeout = 20 * time.Second; waits[name] {
					c.Timeout = 200 * time.Millisecond
				}
			}
			p, device := s.provider(t, patience), s.provider(t, grant(oauth2.DeviceCode), patience)
			for _, known := range []*oauth2.Provider{p, device} {
				if _, err := known.Discover(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for _, path := range []string{"/token", "/device", "/introspect"} {
				s.on(path, answer)
			}
			_, err := p.Login(t.Context(), session())
			wantError(t, err, provider.Unavailable, "")
			_, err = device.Login(t.Context(), session())
			wantError(t, err, provider.Unavailable, "")
			_, err = p.Check(t.Context(), session())
			wantError(t, err, provider.Unavailable, "")
		})
	}
}

func TestCallReturnsSoonAfterItsContextEnds(t *testing.T) {
	s := newIDP(t)
	p := s.provider(t, func(c *oauth2.Config) { c.Timeout = time.Hour })
	login(t, p, session())
	for _, path := range []string{"/token", "/revoke", "/introspect"} {
		s.on(path, hangs)
	}
	ctx := ended(t)
	_, login := p.Login(ctx, session())
	_, renew := p.Renew(ctx, session())
	_, poll := p.Poll(ctx, session(), provider.Pending{Handle: deviceCode})
	_, check := p.Check(ctx, session())
	for _, err := range []error{login, renew, poll, check, p.Revoke(ctx, session())} {
		wantError(t, err, provider.Unavailable, "")
		if !errors.Is(err, ctx.Err()) {
			t.Errorf("%v does not tell that it was interrupted", err)
		}
	}
}

// A server repeats in error what it was sent.
func TestSecretThatTheServerRepeatsIsNotShown(t *testing.T) {
	for _, repeated := range []string{clientSecret, authToken, authToken[4:16], clientSecret[:9]} {
		s := newIDP(t)
		s.on("/token", refuses(400, repeated))
		_, err := s.provider(t, grant(oauth2.TokenExchange)).Login(t.Context(), session())
		wantError(t, err, provider.Rejected, "Refused")
	}
	s := newIDP(t)
	s.on("/token", refuses(400, refreshToken))
	req := session()
	req.RefreshToken = refreshToken
	_, err := s.provider(t).Renew(t.Context(), req)
	wantError(t, err, provider.Rejected, "Refused")
	s.on("/token", refuses(400, deviceCode))
	_, err = s.provider(t, grant(oauth2.DeviceCode)).Poll(t.Context(), session(), provider.Pending{Handle: deviceCode})
	wantError(t, err, provider.Rejected, "Refused")
	s.on("/introspect", refuses(400, accessToken))
	_, err = s.provider(t).Check(t.Context(), session())
	wantError(t, err, provider.Rejected, "Refused")
	s.on("/revoke", refuses(400, accessToken))
	wantError(t, s.provider(t).Revoke(t.Context(), session()), provider.Rejected, "Refused")
}

func flush(w http.ResponseWriter, text string) {
	_, _ = w.Write([]byte(text))
	_ = http.NewResponseController(w).Flush()
}

// bomb is 100 MB that travel as 100 KB.
func bomb(w http.ResponseWriter, _ *http.Request) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	for range 100 {
		_, _ = zip.Write(make([]byte, 1<<20))
	}
	_ = zip.Close()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(packed.Bytes())
}
