package identityenv_test

import (
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
	"terminals.dev/session-controller/test/identityenv"
)

// TestAnOIDCServerThatIsKilledIsAfterwardsWhatItWas is about the server: tests of what clients make of it rest on this.
func TestAnOIDCServerThatIsKilledIsAfterwardsWhatItWas(t *testing.T) {
	options := identityenv.OIDCOptions{Dir: t.TempDir(), StateDir: t.TempDir()}
	s, err := identityenv.StartOIDC(t.Context(), options)
	must(t, err)
	t.Cleanup(func() { s.Kill() })
	options.Address = s.Address
	p := newProvider(t, oauth2.Config{
		IssuerURL: s.Issuer, CABundle: s.CA, Grant: oauth2.TokenExchange, ClientID: identityenv.ClientBasic,
		Authentication: oauth2.Authentication{Method: oauth2.ClientSecretBasic, Secret: []byte(identityenv.ClientSecret)},
	})
	restart := func() {
		t.Helper()
		s.Kill()
		s, err = identityenv.StartOIDC(t.Context(), options)
		must(t, err)
	}
	audit := func(had provider.Token, want identityenv.Audit) {
		t.Helper()
		got, err := s.Audit(t.Context(), identityenv.ClientBasic, []string{had.Value}, []string{had.RefreshToken})
		must(t, err)
		if got != want {
			t.Errorf("who has %q finds %+v, want %+v", had.Value, got, want)
		}
	}
	must(t, s.SetUser(t.Context(), "berta", identityenv.User{Email: "berta@acme.example", Verified: true}))
	req := request("openid", "email", "offline_access")
	req.Session.UserEmail = "berta@acme.example"
	restart()
	req.AuthToken, err = s.Token(t.Context(), "berta", "openid")
	must(t, err)
	restart()
	token := login(t, p, req)
	restart()
	wantActive(t, p, having(req, token), true)
	audit(token, identityenv.Audit{Logins: 1})

	lost, err := p.Renew(t.Context(), having(req, token))
	must(t, err)
	restart()
	audit(token, identityenv.Audit{Logins: 1, Replaced: 1, Orphans: 1})
	must(t, s.KillAfter(t.Context(), 1))
	_, err = p.Renew(t.Context(), having(req, token))
	wantError(t, err, provider.Unavailable, "")
	restart()
	audit(token, identityenv.Audit{Logins: 1, Replaced: 1, Orphans: 2})
	renewed, err := p.Renew(t.Context(), having(req, token))
	must(t, err)
	restart()
	audit(renewed, identityenv.Audit{Logins: 1, Orphans: 2})
	audit(lost, identityenv.Audit{Logins: 1, Orphans: 2})

	last, err := p.Renew(t.Context(), having(req, renewed))
	must(t, err)
	restart()
	audit(last, identityenv.Audit{Logins: 1})
	audit(lost, identityenv.Audit{Logins: 1, Dead: 1, Spent: 1, Orphans: 1})
	must(t, p.Revoke(t.Context(), having(req, last)))
	restart()
	audit(last, identityenv.Audit{Logins: 1, Dead: 1, Spent: 1})

	arrivals, err := s.Arrivals()
	must(t, err)
	if n := len(arrivals); n < 8 || time.Since(arrivals[0].At) > time.Minute || arrivals[n-1].At.Before(arrivals[0].At) {
		t.Errorf("it was asked %v", arrivals)
	}
}
