package identityenv_test

import (
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
	"terminals.dev/session-controller/test/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m.Run) }

func newProvider(t testing.TB, config oauth2.Config) *oauth2.Provider {
	t.Helper()
	if config.Now == nil {
		config.Now = time.Now
	}
	p, err := oauth2.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func request(scopes ...string) provider.Request {
	return provider.Request{Session: provider.Session{
		Namespace: "acme", Name: "till-07", TerminalID: "T-0042", SerialNumber: "SN-93AX", UserEmail: "anna@acme.example", Scopes: scopes,
	}}
}

func login(t *testing.T, p *oauth2.Provider, req provider.Request) provider.Token {
	t.Helper()
	result, err := p.Login(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if result.Token == nil {
		t.Fatalf("Login answered with %+v, want a token", result)
	}
	return *result.Token
}

// having is the request with the tokens of an established session.
func having(req provider.Request, token provider.Token) provider.Request {
	req.Token, req.RefreshToken = token.Value, token.RefreshToken
	return req
}

func wantActive(t *testing.T, p *oauth2.Provider, req provider.Request, want bool) {
	t.Helper()
	status, err := p.Check(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if status.Active != want {
		t.Errorf("the token is active: %v, want %v", status.Active, want)
	}
}

func wantError(t *testing.T, err error, kind provider.Kind, code string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s (%s)", kind, code)
	}
	if e := provider.AsError(err); e.Kind != kind || e.Code != code {
		t.Errorf("error is %v, want %s with code %q", err, kind, code)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
