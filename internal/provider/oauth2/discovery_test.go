package oauth2_test

import (
	"context"
	"encoding/pem"
	"errors"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/provider/oauth2"
)

const (
	openIDPlace = "/.well-known/openid-configuration"
	oauthPlace  = "/.well-known/oauth-authorization-server"
)

func TestServerIsDiscoveredInEitherPlace(t *testing.T) {
	tests := map[string]struct{ path, place string }{
		"OpenID":                          {"", openIDPlace},
		"OpenID, with a path":             {"/realms/acme", "/realms/acme" + openIDPlace},
		"OpenID, with a slash at the end": {"/realms/acme/", "/realms/acme" + openIDPlace},
		"RFC 8414":                        {"", oauthPlace},
		"RFC 8414, with a path":           {"/realms/acme", oauthPlace + "/realms/acme"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.on(openIDPlace, nil)
			s.metadata["issuer"] = s.URL + test.path
			s.on(test.place, gives(s.metadata))
			login(t, s.provider(t, func(c *oauth2.Config) { c.IssuerURL = s.URL + test.path }), session())
		})
	}
}

func TestDiscoveryIsKeptAsLongAsItsHeadersSay(t *testing.T) {
	date := func(d time.Duration) string { return start.Add(d).Format(http.TimeFormat) }
	tests := map[string]struct {
		headers []string
		want    time.Duration
	}{
		"nothing said":              {nil, time.Hour},
		"max-age":                   {[]string{"Cache-Control", "public, max-age=300"}, 5 * time.Minute},
		"max-age before Expires":    {[]string{"Cache-Control", "max-age=300", "Expires", date(time.Hour)}, 5 * time.Minute},
		"part of it was used up":    {[]string{"Cache-Control", "max-age=300", "Age", "100"}, 200 * time.Second},
		"Expires":                   {[]string{"Expires", date(2 * time.Hour)}, 2 * time.Hour},
		"Expires in the past":       {[]string{"Expires", date(-time.Hour)}, 10 * time.Second},
		"Expires that is no date":   {[]string{"Expires", "0"}, 10 * time.Second},
		"no-store":                  {[]string{"Cache-Control", "no-store, max-age=300"}, 10 * time.Second},
		"max-age that is no number": {[]string{"Cache-Control", "max-age=soon"}, 10 * time.Second},
		"a year":                    {[]string{"Cache-Control", "max-age=31536000"}, 24 * time.Hour},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			s.on(openIDPlace, func(w http.ResponseWriter, _ *http.Request) {
				for i := 0; i < len(test.headers); i += 2 {
					w.Header().Set(test.headers[i], test.headers[i+1])
				}
				write(w, 200, s.metadata)
			})
			p := s.provider(t)
			login(t, p, session())
			s.advance(test.want - time.Second)
			login(t, p, session())
			want(t, "discoveries just before it is due", len(s.to(openIDPlace)), 1)
			s.advance(time.Second)
			login(t, p, session())
			want(t, "discoveries when it is due", len(s.to(openIDPlace)), 2)
		})
	}
}

// The date in Expires is the server's, and so is the one it is compared with.
func TestExpiresCountsByTheServersOwnClock(t *testing.T) {
	s := newIDP(t)
	s.ahead = -10 * time.Minute
	s.on(openIDPlace, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Expires", start.Add(-5*time.Minute).Format(http.TimeFormat))
		write(w, 200, s.metadata)
	})
	p := s.provider(t)
	login(t, p, session())
	s.advance(4 * time.Minute)
	login(t, p, session())
	want(t, "discoveries", len(s.to(openIDPlace)), 1)
}

func TestManyWhoComeAtOnceDiscoverOnce(t *testing.T) {
	s := newIDP(t)
	arrived := make(chan struct{})
	release := make(chan struct{})
	s.on(openIDPlace, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived) // a second time would panic
		<-release
		write(w, 200, s.metadata)
	})
	p := s.provider(t)
	var all sync.WaitGroup
	first, cancel := context.WithCancel(t.Context())
	all.Go(func() {
		_, err := p.Login(first, session())
		wantError(t, err, provider.Unavailable, "")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v does not tell that it was interrupted", err)
		}
	})
	<-arrived
	for range 20 {
		all.Go(func() {
			if _, err := p.Login(t.Context(), session()); err != nil {
				t.Error(err)
			}
		})
	}
	cancel() // whoever began it goes; the others are served
	close(release)
	all.Wait()
}

func TestUnusableDiscoveryIsMisconfigured(t *testing.T) {
	tests := map[string]func(*idp){
		"another issuer":          func(s *idp) { s.metadata["issuer"] = "https://" + said + ".example" },
		"issuer with a slash":     func(s *idp) { s.metadata["issuer"] = s.URL + "/" },
		"no issuer":               func(s *idp) { delete(s.metadata, "issuer") },
		"no token endpoint":       func(s *idp) { delete(s.metadata, "token_endpoint") },
		"plain http endpoint":     func(s *idp) { s.metadata["revocation_endpoint"] = "http://" + said + ".example/" },
		"relative endpoint":       func(s *idp) { s.metadata["jwks_uri"] = "/jwks" },
		"endpoint with a user":    func(s *idp) { s.metadata["userinfo_endpoint"] = "https://" + said + "@idp.example/" },
		"endpoint that is a file": func(s *idp) { s.metadata["introspection_endpoint"] = "file:///etc/passwd" },
		"another type":            func(s *idp) { s.metadata["token_endpoint"] = []string{said} },
		"a web page":              func(s *idp) { s.on(openIDPlace, says(200, "text/html", "<html>"+said)) },
		"garbage":                 func(s *idp) { s.on(openIDPlace, says(200, "application/json", said)) },
		"nothing":                 func(s *idp) { s.on(openIDPlace, says(200, "application/json", "")) },
		"not found":               func(s *idp) { s.on(openIDPlace, nil) },
		"forbidden":               func(s *idp) { s.on(openIDPlace, says(403, "text/plain", said)) },
		"100 MB":                  func(s *idp) { s.on(openIDPlace, floods) },
		"a redirect": func(s *idp) {
			s.on(openIDPlace, says(302, "text/html", said, "Location", "https://"+said+".example/"))
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			change(s)
			p := s.provider(t)
			_, err := p.Discover(t.Context())
			wantError(t, err, provider.Misconfigured, "")
			if !errors.Is(err, oauth2.ErrDiscovery) {
				t.Errorf("%v does not tell that discovery failed", err)
			}
			_, err = p.Login(t.Context(), session())
			wantError(t, err, provider.Misconfigured, "")
			want(t, "requests of the token endpoint", len(s.to("/token")), 0)
		})
	}
	t.Run("no device endpoint for the grant", func(t *testing.T) {
		s := newIDP(t)
		delete(s.metadata, "device_authorization_endpoint")
		_, err := s.provider(t, grant(oauth2.DeviceCode)).Login(t.Context(), session())
		wantError(t, err, provider.Misconfigured, "")
	})
}

func TestDiscoveryThatFailsForNowIsUnavailable(t *testing.T) {
	tests := map[string]func(*idp){
		"500":                  func(s *idp) { s.on(openIDPlace, says(500, "text/html", said)) },
		"503 with Retry-After": func(s *idp) { s.on(openIDPlace, says(503, "text/html", said, "Retry-After", "30")) },
		"hangs":                func(s *idp) { s.on(openIDPlace, hangs) },
		"hangs half way": func(s *idp) {
			s.on(openIDPlace, func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write([]byte(`{"issuer":`))
				_ = http.NewResponseController(w).Flush()
				hangs(w, r)
			})
		},
		"gone": func(s *idp) { s.Close() },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			p := s.provider(t, func(c *oauth2.Config) { c.Timeout = 100 * time.Millisecond })
			change(s)
			_, err := p.Discover(t.Context())
			wantError(t, err, provider.Unavailable, "")
			if !errors.Is(err, oauth2.ErrDiscovery) {
				t.Errorf("%v does not tell that discovery failed", err)
			}
		})
	}
}

func TestKnownServerServesOnWhileItCannotBeDiscoveredAnew(t *testing.T) {
	s := newIDP(t)
	p := s.provider(t)
	login(t, p, session())
	s.on(openIDPlace, says(503, "text/html", said))
	s.advance(time.Hour)
	login(t, p, session())
	if _, err := p.Discover(t.Context()); err == nil {
		t.Error("Discover does not tell that it failed")
	} else {
		wantError(t, err, provider.Unavailable, "")
	}
	login(t, p, session())
	want(t, "attempts", len(s.to(openIDPlace)), 2)
	s.advance(30 * time.Second)
	login(t, p, session())
	want(t, "attempts half a minute later", len(s.to(openIDPlace)), 3)

	// Not for ever, and not when the server is there and is another.
	s.advance(24 * time.Hour)
	_, err := p.Login(t.Context(), session())
	wantError(t, err, provider.Unavailable, "")
	other := maps.Clone(s.metadata)
	other["issuer"] = "https://" + said + ".example"
	s.on(openIDPlace, gives(other))
	_, err = p.Login(t.Context(), session())
	wantError(t, err, provider.Misconfigured, "")
}

func TestCertificateThatIsNotTrustedIsToldAsSuch(t *testing.T) {
	tests := map[string]func(*idp, *oauth2.Config){
		"unknown CA": func(_ *idp, c *oauth2.Config) { c.CABundle = nil },
		"another's name": func(s *idp, c *oauth2.Config) {
			c.IssuerURL = "https://idp.acme.test"
			c.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
			}
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			s := newIDP(t)
			p := s.provider(t, func(c *oauth2.Config) { change(s, c) })
			_, err := p.Discover(t.Context())
			wantError(t, err, provider.Misconfigured, "")
			if !errors.Is(err, oauth2.ErrCertificate) {
				t.Errorf("%v does not tell that it is the certificate", err)
			}
			want(t, "requests that arrived", len(s.asked), 0)
		})
	}
}

func TestWhoDialsDecides(t *testing.T) {
	s := newIDP(t)
	p := s.provider(t, func(c *oauth2.Config) {
		c.DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, provider.Errorf(provider.Misconfigured, "loopback is not allowed")
		}
	})
	_, err := p.Login(t.Context(), session())
	wantError(t, err, provider.Misconfigured, "")
	want(t, "message", provider.AsError(err).Message, "loopback is not allowed")
}

func TestCredentialsAreProvedByDiscover(t *testing.T) {
	for _, endpoint := range []string{"/introspect", "/revoke", ""} {
		t.Run("by "+endpoint, func(t *testing.T) {
			s := newIDP(t)
			for name, path := range map[string]string{"introspection_endpoint": "/introspect", "revocation_endpoint": "/revoke"} {
				s.on(path, refuses(401, "invalid_client"))
				if path != endpoint {
					delete(s.metadata, name)
				}
			}
			s.on("/token", refuses(401, "invalid_client"))
			p := s.provider(t)
			if endpoint == "" { // then only a login can tell
				_, err := p.Login(t.Context(), session())
				wantError(t, err, provider.Misconfigured, "")
			}
			for range 2 {
				_, err := p.Discover(t.Context())
				wantError(t, err, provider.Misconfigured, "")
				if !errors.Is(err, oauth2.ErrCredentials) {
					t.Errorf("%v does not tell that it is the credentials", err)
				}
			}
			// The server's side is mended.
			s.on(endpoint, gives(fields{"active": false}))
			s.on("/token", gives(token()))
			if endpoint == "" {
				s.advance(5 * time.Minute)
			}
			for range 3 {
				if _, err := p.Discover(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if endpoint != "" {
				want(t, "times it was asked, the last of which succeeded", len(s.to(endpoint)), 3)
			}
		})
	}
}

func TestCapabilitiesAreThoseDiscovered(t *testing.T) {
	s := newIDP(t)
	known := oauth2.Features{Revocation: true}
	p := s.provider(t, grant(oauth2.DeviceCode), func(c *oauth2.Config) { c.Known = known })
	want(t, "capabilities before", p.Capabilities(), provider.Capabilities{RevokesByToken: true, DeviceCode: true})
	want(t, "requests", len(s.asked), 0)
	features, err := p.Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want(t, "features", features, oauth2.Features{Revocation: true, Introspection: true, RefreshToken: true, DeviceCode: true})
	want(t, "capabilities", p.Capabilities(),
		provider.Capabilities{RevokesByToken: true, Introspects: true, Refreshes: true, DeviceCode: true})

	t.Run("a server that can do little", func(t *testing.T) {
		s := newIDP(t)
		for _, name := range []string{"revocation_endpoint", "introspection_endpoint", "grant_types_supported"} {
			delete(s.metadata, name)
		}
		p := s.provider(t)
		login(t, p, session())
		want(t, "capabilities", p.Capabilities(), provider.Capabilities{})
	})
	t.Run("a public client may not introspect unless the server says so", func(t *testing.T) {
		s := newIDP(t)
		public := func(c *oauth2.Config) { c.Authentication = oauth2.Authentication{} }
		p := s.provider(t, public)
		login(t, p, session())
		want(t, "introspection", p.Capabilities().Introspects, false)
		s.metadata["introspection_endpoint_auth_methods_supported"] = []string{"none"}
		p = s.provider(t, public)
		login(t, p, session())
		want(t, "introspection where it says so", p.Capabilities().Introspects, true)
	})
}

func TestUnusableConfigurationIsRefusedAtOnce(t *testing.T) {
	tests := map[string]func(*oauth2.Config){
		"plain http":               func(c *oauth2.Config) { c.IssuerURL = "http://idp.example" },
		"no URL":                   func(c *oauth2.Config) { c.IssuerURL = "idp" },
		"a query":                  func(c *oauth2.Config) { c.IssuerURL += "?x" },
		"a user":                   func(c *oauth2.Config) { c.IssuerURL = "https://" + said + "@idp.example" },
		"no client":                func(c *oauth2.Config) { c.ClientID = "" },
		"no grant":                 func(c *oauth2.Config) { c.Grant = "" },
		"no clock":                 func(c *oauth2.Config) { c.Now = nil },
		"empty secret":             func(c *oauth2.Config) { c.Authentication.Secret = []byte("\n") },
		"unknown method":           func(c *oauth2.Config) { c.Authentication.Method = "tls_client_auth" },
		"a key that is none":       func(c *oauth2.Config) { c.Authentication.Method = oauth2.PrivateKeyJWT },
		"a CA bundle that is none": func(c *oauth2.Config) { c.CABundle = []byte(said) },
		"a key of a certificate": func(c *oauth2.Config) {
			c.Authentication = oauth2.Authentication{
				Method: oauth2.PrivateKeyJWT, Secret: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(said)}),
			}
		},
	}
	s := newIDP(t)
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := oauth2.New(s.config(change))
			wantError(t, err, provider.Misconfigured, "")
		})
	}
}

// floods says 100 MB, or as much as anybody reads.
func floods(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	block := []byte(`{"a":"` + strings.Repeat(said, 4000))
	for range 1000 {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}
