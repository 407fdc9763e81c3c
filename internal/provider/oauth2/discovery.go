package oauth2

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"terminals.dev/session-controller/internal/provider"
)

const (
	// What is discovered is kept for as long as the answer's headers say, within these bounds: below the lower one every login would
	// begin with a discovery.
	defaultFresh, minFresh, maxFresh = time.Hour, 10 * time.Second, 24 * time.Hour
	// staleFor is how long it serves on while the server cannot be asked anew, and retryFresh how often that is then tried.
	staleFor, retryFresh = 24 * time.Hour, 30 * time.Second
)

const whatDiscovery = "the discovery document"

// server is what was discovered.
type server struct {
	metadata
	keys    *oidc.RemoteKeySet
	fetched time.Time
	// until is when it is to be fetched again, and stale why that has failed.
	until time.Time
	stale error
}

// metadata is the part of the document that is used (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2).
type metadata struct {
	Issuer                string   `json:"issuer"`
	TokenEndpoint         string   `json:"token_endpoint"`
	DeviceEndpoint        string   `json:"device_authorization_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	GrantTypes            []string `json:"grant_types_supported"`
	IDTokenAlgorithms     []string `json:"id_token_signing_alg_values_supported"`
	IntrospectionMethods  []string `json:"introspection_endpoint_auth_methods_supported"`
	Claims                []string `json:"claims_supported"`
}

// introspects is whether there is introspection for a client that proves itself so. RFC 7662 section 2.1 wants it protected, so a public
// client has it only where the server says so.
func (m *metadata) introspects(method Method) bool {
	return m.IntrospectionEndpoint != "" && (method != None || slices.Contains(m.IntrospectionMethods, "none"))
}

// Discover tells what the server can do, and whether it can be used: the error is as of the last attempt, though what was discovered before
// may serve on. It asks the server only where what is known is due, and whether it takes the credentials only until it has.
func (p *Provider) Discover(ctx context.Context) (Features, error) {
	s, err := p.server(ctx)
	if err != nil {
		return p.features(), err
	}
	if s.stale != nil {
		return p.features(), s.stale
	}
	return p.features(), p.prove(ctx, s)
}

// prove finds out whether the server takes the client's credentials, by revoking a token that nobody has: that endpoint must look at them
// (RFC 7009 section 2.1), while some introspection is open to whoever can reach it.
func (p *Provider) prove(ctx context.Context, s *server) error {
	good, bad := p.proof.state(p.config.Now())
	if good || p.client.method == None {
		return nil
	}
	endpoint, what := s.RevocationEndpoint, whatRevocation
	if endpoint == "" {
		endpoint, what = s.IntrospectionEndpoint, whatIntrospection
	}
	if endpoint == "" {
		if bad {
			return misconfigured(ErrCredentials, "the server refused the client's credentials: check client ID, method and secret")
		}
		return nil
	}
	body, err := p.post(ctx, s, endpoint, what, url.Values{"token": {rand.Text()}})
	if answer, ok := errors.AsType[*refused](err); ok {
		if err := p.refused(answer.refusal, what, forClient); errors.Is(err, ErrCredentials) {
			return err
		}
	}
	if err == nil && !webPage(body) {
		p.proof.accepted()
	}
	return nil // whatever else there may be says nothing of the credentials
}

// server returns what is known of the server, and asks it where that is due; many who want to know at once wait for one answer.
func (p *Provider) server(ctx context.Context) (*server, error) {
	if s := p.known.Load(); s != nil && p.config.Now().Before(s.until) {
		return s, nil
	}
	asked := p.flight.DoChan("", func() (any, error) { return p.discover(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return nil, fail(provider.Unavailable, errors.Join(ErrDiscovery, ctx.Err()), "waiting for %s was interrupted", whatDiscovery)
	case answer := <-asked:
		if answer.Err != nil {
			return nil, answer.Err
		}
		return answer.Val.(*server), nil
	}
}

func (p *Provider) discover(ctx context.Context) (*server, error) {
	now := p.config.Now()
	before := p.known.Load()
	if before != nil && now.Before(before.until) { // whoever came first has just asked
		return before, nil
	}
	found, err := p.fetch(ctx)
	if err == nil {
		found.fetched, found.until = now, now.Add(found.until.Sub(time.Time{}))
		found.keys = p.keys(ctx, before, found.JWKSURI)
		p.known.Store(found)
		return found, nil
	}
	if before == nil || err.Kind == provider.Misconfigured || now.Sub(before.fetched) > staleFor {
		return nil, err
	}
	kept := *before
	kept.until, kept.stale = now.Add(retryFresh), err
	p.known.Store(&kept)
	return &kept, nil
}

// keys returns the server's public keys, the same for as long as they are at the same place.
func (p *Provider) keys(ctx context.Context, before *server, at string) *oidc.RemoteKeySet {
	if before != nil && before.JWKSURI == at {
		return before.keys
	}
	if at == "" {
		return nil
	}
	client := *p.http
	client.Transport = onlyOK{p.http.Transport}
	return oidc.NewRemoteKeySet(oidc.ClientContext(ctx, &client), at)
}

// fetch asks in the two places that there are. Only an answer that is no document makes it go on to the second.
func (p *Provider) fetch(ctx context.Context) (*server, *provider.Error) {
	u, err := url.Parse(p.config.IssuerURL)
	if err != nil {
		return nil, misconfigured(ErrDiscovery, "the issuer URL cannot be used")
	}
	inserted := *u
	inserted.Path, inserted.RawPath = "/.well-known/oauth-authorization-server"+strings.TrimSuffix(u.Path, "/"), ""
	var first *provider.Error
	for _, place := range []string{strings.TrimSuffix(p.config.IssuerURL, "/") + "/.well-known/openid-configuration", inserted.String()} {
		found, none, err := p.fetchFrom(ctx, place)
		if err == nil {
			return found, nil
		}
		err.Err = errors.Join(ErrDiscovery, err.Err)
		first = cmp.Or(first, err)
		if !none {
			return nil, err
		}
	}
	return nil, first
}

// fetchFrom asks in one place. none tells that there is no document.
func (p *Provider) fetchFrom(ctx context.Context, place string) (found *server, none bool, failed *provider.Error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, false, misconfigured(nil, "the issuer URL cannot be used")
	}
	status, header, body, err := p.do(req, whatDiscovery)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, true, misconfigured(errTooLarge, "%s has more than %d bytes", whatDiscovery, maxBody)
	case err != nil:
		return nil, false, provider.AsError(err)
	case status == http.StatusTooManyRequests || status >= 500 || status == http.StatusRequestTimeout:
		return nil, false, p.refused(refusal{status: status, header: header}, whatDiscovery, forClient)
	case status >= 300 && status < 400:
		return nil, true, misconfigured(nil, "%s redirects elsewhere (%d), which is not followed: set the URL that it leads to",
			whatDiscovery, status)
	case status != http.StatusOK:
		return nil, true, misconfigured(nil, "there is no discovery document at the issuer URL (%d)", status)
	}
	found = &server{until: time.Time{}.Add(fresh(header, p.config.Now()))}
	if json.Unmarshal(body, &found.metadata) != nil {
		if webPage(body) {
			return nil, true, misconfigured(nil, "%s is a web page (HTML) and not JSON: check the issuer URL", whatDiscovery)
		}
		return nil, true, misconfigured(nil, "%s is not JSON as the specification has it: check the issuer URL", whatDiscovery)
	}
	return found, false, p.usable(&found.metadata)
}

// webPage is whether a body is one that is made for people.
func webPage(body []byte) bool {
	return strings.HasPrefix(strings.TrimSpace(string(body[:min(len(body), 64)])), "<")
}

// usable says what is wrong with a document.
func (p *Provider) usable(m *metadata) *provider.Error {
	if m.Issuer != p.config.IssuerURL {
		return misconfigured(nil,
			"%s is another issuer's than the one configured: it must be the same to the letter, a slash at the end included", whatDiscovery)
	}
	if m.TokenEndpoint == "" {
		return misconfigured(nil, "%s names no token endpoint", whatDiscovery)
	}
	if p.config.Grant == DeviceCode && m.DeviceEndpoint == "" {
		return misconfigured(nil, "%s names no device authorization endpoint, which the grant DeviceCode needs", whatDiscovery)
	}
	for _, endpoint := range []struct{ name, url string }{
		{"token_endpoint", m.TokenEndpoint}, {"device_authorization_endpoint", m.DeviceEndpoint},
		{"revocation_endpoint", m.RevocationEndpoint}, {"introspection_endpoint", m.IntrospectionEndpoint},
		{"userinfo_endpoint", m.UserinfoEndpoint}, {"jwks_uri", m.JWKSURI},
	} {
		if endpoint.url == "" {
			continue
		}
		if wrong := checkURL(endpoint.url, p.config.AllowHTTP, true); wrong != "" {
			return misconfigured(nil, "the %s in %s %s", endpoint.name, whatDiscovery, wrong)
		}
	}
	return nil
}

// fresh is how long an answer may be kept (RFC 9111 section 4.2). A date in it counts from the answer's own.
func fresh(header http.Header, now time.Time) time.Duration {
	life := defaultFresh
	if said := header.Get("Expires"); said != "" {
		life = 0 // one that cannot be read is in the past (section 5.3)
		if expires, err := http.ParseTime(said); err == nil {
			if date, err := http.ParseTime(header.Get("Date")); err == nil {
				now = date
			}
			life = expires.Sub(now)
		}
	}
	for directive := range strings.SplitSeq(strings.ToLower(strings.Join(header.Values("Cache-Control"), ",")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil {
				seconds = 0
			}
			life = time.Duration(seconds) * time.Second
		}
	}
	if age, err := strconv.ParseUint(header.Get("Age"), 10, 31); err == nil {
		life -= time.Duration(age) * time.Second
	}
	return min(max(life, minFresh), maxFresh)
}
