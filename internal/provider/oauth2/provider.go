// Package oauth2 gets tokens from an OAuth 2.0 or OpenID Connect server. Everything but the issuer URL and the client is discovered.
package oauth2

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"terminals.dev/session-controller/internal/provider"
)

// Grant is how tokens are got.
type Grant string

const (
	// ClientCredentials is RFC 6749 section 4.4. The token is the client's own; no user is behind it.
	ClientCredentials Grant = "ClientCredentials" //nolint:gosec // the name of a grant
	// DeviceCode is RFC 8628: a person confirms the login elsewhere.
	DeviceCode Grant = "DeviceCode"
	// TokenExchange is RFC 8693, with the auth token as the subject token.
	TokenExchange Grant = "TokenExchange"
	// JWTBearer is RFC 7523 section 2.1, with the auth token as the assertion.
	JWTBearer Grant = "JWTBearer"
)

// Meaning is what an error string of a server means here.
type Meaning struct {
	// Kind is Banned, Rejected, GrantDead, Busy, Unavailable or AuthTokenMissing.
	Kind provider.Kind
	// Code is what the error says; default: the server's string, as it stands in Config.Errors.
	Code string
}

// Config is what a Provider is made from. IssuerURL, ClientID, Grant and Now are required.
type Config struct {
	// IssuerURL is the server's issuer identifier; what it says of itself must be this very string.
	IssuerURL string
	// ClientID is the client's identifier at the server.
	ClientID string
	// Authentication is how the client proves itself; default: Method None.
	Authentication Authentication
	// Grant is how a login is done.
	Grant Grant
	// Scopes are asked for beside the session's own.
	Scopes []string
	// Errors gives the server's own error strings a meaning. A string is looked for in what the server says as error_description, suberror
	// and error, in this order, so that one that is more specific comes first.
	Errors map[string]Meaning
	// CABundle has the certificates, PEM, that the server's must come from; default: the system's.
	CABundle []byte
	// Now is the clock.
	Now func() time.Time
	// DialContext makes every connection, and is where addresses are checked; its error may be a *provider.Error, and then is the answer.
	// Default: any address.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// AllowHTTP lets the issuer and the endpoints be plain http.
	AllowHTTP bool
	// Timeout bounds each request; default: 10s.
	Timeout time.Duration
	// OnRequest, where it is set, is asked before each request goes out: one call of the Provider may take several. It may keep the request
	// waiting, which does not count as the server's time, and its error, where it is a *provider.Error, is the answer. The context is that
	// of the call which brings the request about; what others wait for as well, such as discovery, is not interrupted with it.
	OnRequest func(ctx context.Context) error
	// Known is what the server was last known to do, and holds until it has been discovered.
	Known Features
}

// Features is what the server can do for this client.
type Features struct {
	// Revocation and Introspection are RFC 7009 and RFC 7662; RefreshToken tells that tokens may come with one; DeviceCode that Login
	// answers with a Pending.
	Revocation, Introspection, RefreshToken, DeviceCode bool
}

// Provider is a provider.Provider in front of an OAuth 2.0 server. It keeps no record of sessions or tokens.
type Provider struct {
	config Config
	client *credentials
	http   *http.Client
	skew   *skew

	flight    singleflight.Group
	known     atomic.Pointer[server]
	refreshes atomic.Bool
	proof     proof
}

var _ provider.Provider = (*Provider)(nil)

// New returns a Provider, or a *provider.Error of kind Misconfigured. It makes no request before the first one is needed.
func New(config Config) (*Provider, error) {
	if config.Now == nil {
		return nil, misconfigured(nil, "there is no clock")
	}
	if config.Timeout <= 0 {
		config.Timeout = defaultTimeout
	}
	if err := checkURL(config.IssuerURL, config.AllowHTTP, false); err != "" {
		return nil, misconfigured(ErrDiscovery, "the issuer URL %s", err)
	}
	if config.ClientID == "" {
		return nil, misconfigured(ErrCredentials, "there is no client ID")
	}
	if !slices.Contains([]Grant{ClientCredentials, DeviceCode, TokenExchange, JWTBearer}, config.Grant) {
		return nil, misconfigured(nil, "the grant is not one of ClientCredentials, DeviceCode, TokenExchange and JWTBearer")
	}
	client, err := newCredentials(config.ClientID, config.Authentication)
	if err != nil {
		return nil, err
	}
	config.Authentication.Secret = nil // so that it is in one place
	p := &Provider{config: config, client: client, skew: &skew{now: config.Now}}
	if p.http, err = newHTTPClient(config, p.skew); err != nil {
		return nil, err
	}
	return p, nil
}

// Close lets go of the connections that are idle. The Provider can still be used.
func (p *Provider) Close() { p.http.CloseIdleConnections() }

// Login implements provider.Provider. The server knows no idempotency key: asked twice, it gives two tokens.
func (p *Provider) Login(ctx context.Context, req provider.Request) (provider.Result, error) {
	if p.config.Grant == DeviceCode {
		pending, err := p.startDevice(ctx, req)
		if err != nil {
			return provider.Result{}, err
		}
		return provider.Result{Pending: pending}, nil
	}
	token, err := p.obtain(ctx, req)
	if err != nil {
		return provider.Result{}, err
	}
	return provider.Result{Token: &token}, nil
}

// Renew implements provider.Provider. It uses the refresh token where the request has one, else what the login was made with. Whoever wants
// the auth token to be proved anew hands in no refresh token.
func (p *Provider) Renew(ctx context.Context, req provider.Request) (provider.Token, error) {
	if req.RefreshToken != "" {
		return p.refresh(ctx, req)
	}
	if p.config.Grant == DeviceCode {
		return provider.Token{}, fail(provider.GrantDead, nil, "the server gave no refresh token, and a person must log in again: "+
			"ask for the scope that it gives one for, usually offline_access")
	}
	return p.obtain(ctx, req)
}

// Capabilities implements provider.Provider. Until the server has been discovered, they are as Config.Known says.
func (p *Provider) Capabilities() provider.Capabilities {
	features := p.features()
	return provider.Capabilities{
		RevokesByToken: features.Revocation,
		Introspects:    features.Introspection,
		Refreshes:      features.RefreshToken,
		DeviceCode:     features.DeviceCode,
	}
}

func (p *Provider) features() Features {
	known := p.known.Load()
	if known == nil {
		features := p.config.Known
		features.DeviceCode = features.DeviceCode || p.config.Grant == DeviceCode
		return features
	}
	return Features{
		Revocation:    known.RevocationEndpoint != "",
		Introspection: known.introspects(p.client.method),
		RefreshToken:  p.refreshes.Load() || p.config.Grant != ClientCredentials && slices.Contains(known.GrantTypes, grantRefreshToken),
		DeviceCode:    p.config.Grant == DeviceCode,
	}
}
