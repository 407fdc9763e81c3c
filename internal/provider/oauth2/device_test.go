package oauth2_test

import (
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
)

func begin(t *testing.T, p *oauth2.Provider, req provider.Request) provider.Pending {
	t.Helper()
	result, err := p.Login(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if result.Token != nil || result.Pending == nil {
		t.Fatalf("Login answered with %+v, want a Pending alone", result)
	}
	return *result.Pending
}

func TestDeviceLoginWaitsForAPerson(t *testing.T) {
	s := newIDP(t)
	p := s.provider(t, grant(oauth2.DeviceCode))
	pending := begin(t, p, session())
	want(t, "pending", pending, provider.Pending{
		VerificationURI: s.URL + "/go", VerificationURIComplete: s.URL + "/go?user_code=WDJB-MJHT", UserCode: "WDJB-MJHT",
		Handle: deviceCode, ExpiresIn: 15 * time.Minute, Interval: 7 * time.Second,
	})
	want(t, "requests of the token endpoint", len(s.to("/token")), 0)

	s.on("/token", refuses(400, "authorization_pending"))
	result, err := p.Poll(t.Context(), session(), pending)
	if err != nil || result.Token != nil {
		t.Fatalf("Poll answered with %+v, %v", result, err)
	}
	want(t, "pending still", *result.Pending, pending)
	want(t, "requests a poll", len(s.to("/token")), 1)
	asked := s.last(t, "/token").form
	want(t, "form", asked, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {deviceCode},
		"resource": {"https://pay.example"}, "audience": {"https://pay.example", "stock"},
	})

	s.on("/token", refuses(400, "slow_down"))
	result, err = p.Poll(t.Context(), session(), pending)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "interval after slow_down", result.Pending.Interval, 12*time.Second)
	result, err = p.Poll(t.Context(), session(), *result.Pending)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "interval after another", result.Pending.Interval, 17*time.Second)

	s.on("/token", gives(token(fields{"refresh_token": refreshToken})))
	result, err = p.Poll(t.Context(), session(), *result.Pending)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "token", *result.Token, provider.Token{Value: accessToken, RefreshToken: refreshToken, ExpiresIn: 720 * time.Hour})
}

// The protocol has no parameter for it; who knows these two shows them, and who does not ignores them.
func TestPersonIsToldWhichTerminalItIs(t *testing.T) {
	s := newIDP(t)
	p := s.provider(t, grant(oauth2.DeviceCode))
	begin(t, p, session())
	want(t, "message", s.last(t, "/device").form.Get("binding_message"), "Terminal T-0042 (SN-93AX)")
	want(t, "user", s.last(t, "/device").form.Get("login_hint"), "anna@acme.example")
	req := provider.Request{Session: provider.Session{TerminalID: "T-1", Announce: "Confirm the login for till 7"}}
	begin(t, p, req)
	want(t, "message", s.last(t, "/device").form.Get("binding_message"), "Confirm the login for till 7 - Terminal T-1")
	want(t, "user", s.last(t, "/device").form.Has("login_hint"), false)
}

func TestDeviceLoginEndsWithTheReason(t *testing.T) {
	tests := map[string]struct {
		kind provider.Kind
		code string
	}{
		"access_denied":  {provider.Rejected, "AccessDenied"},
		"expired_token":  {provider.Rejected, "ExpiredToken"},
		"invalid_grant":  {provider.Rejected, "ExpiredToken"},
		"invalid_client": {provider.Misconfigured, ""},
		"server_error":   {provider.Unavailable, ""},
	}
	for code, test := range tests {
		s := newIDP(t)
		s.on("/token", refuses(400, code))
		_, err := s.provider(t, grant(oauth2.DeviceCode)).Poll(t.Context(), session(), provider.Pending{Handle: deviceCode})
		wantError(t, err, test.kind, test.code)
	}
	s := newIDP(t)
	_, err := s.provider(t, grant(oauth2.DeviceCode)).Poll(t.Context(), session(), provider.Pending{})
	wantError(t, err, provider.Rejected, "ExpiredToken")
	want(t, "requests without a code", len(s.asked), 0)
}

func TestWhatTheServerLeavesOutHasItsDefault(t *testing.T) {
	s := newIDP(t)
	s.on("/device", gives(fields{"device_code": deviceCode, "user_code": "A", "verification_url": s.URL}))
	want(t, "pending", begin(t, s.provider(t, grant(oauth2.DeviceCode)), session()), provider.Pending{
		VerificationURI: s.URL, UserCode: "A", Handle: deviceCode, ExpiresIn: 5 * time.Minute, Interval: 5 * time.Second,
	})
}

func TestDeviceAnswerIsBounded(t *testing.T) {
	s := newIDP(t)
	answer := func(more fields) fields {
		a := deviceAnswer(s)
		maps.Copy(a, more)
		return a
	}
	p := s.provider(t, grant(oauth2.DeviceCode))
	refused := map[string]fields{
		"no code":                    {"device_code": ""},
		"code too long":              {"device_code": strings.Repeat("d", 64<<10+1)},
		"no user code":               {"user_code": ""},
		"user code too long":         {"user_code": strings.Repeat("u", 65)},
		"user code with a control":   {"user_code": "A\nB"},
		"no URL":                     {"verification_uri": ""},
		"plain http":                 {"verification_uri": "http://idp.example"},
		"a script":                   {"verification_uri": "javascript:alert(1)"},
		"a URL with a user":          {"verification_uri": "https://idp.example@evil.example"},
		"URL too long":               {"verification_uri": "https://idp.example/" + strings.Repeat("p", 2048)},
		"over already":               {"expires_in": 0},
		"over before it was started": {"expires_in": -1},
	}
	for name, more := range refused {
		t.Run(name, func(t *testing.T) {
			s.on("/device", gives(answer(more)))
			_, err := p.Login(t.Context(), session())
			wantError(t, err, provider.Misconfigured, "")
		})
	}
	s.on("/device", gives(answer(fields{"expires_in": 1e9, "interval": 1e9, "verification_uri_complete": "javascript:alert(1)"})))
	pending := begin(t, p, session())
	want(t, "lifetime", pending.ExpiresIn, 24*time.Hour)
	want(t, "interval", pending.Interval, time.Hour)
	want(t, "complete URL", pending.VerificationURIComplete, "")
	s.on("/device", gives(answer(fields{"interval": -3})))
	want(t, "negative interval", begin(t, p, session()).Interval, 5*time.Second)
}

func TestDeviceAuthorizationThatIsRefusedTellsWhy(t *testing.T) {
	s := newIDP(t)
	p := s.provider(t, grant(oauth2.DeviceCode))
	s.on("/device", refuses(400, "invalid_scope"))
	_, err := p.Login(t.Context(), session())
	wantError(t, err, provider.Rejected, "InvalidScope")
	s.on("/device", refuses(401, "invalid_client"))
	_, err = p.Login(t.Context(), session())
	wantError(t, err, provider.Misconfigured, "")
}
