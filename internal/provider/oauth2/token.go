package oauth2

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"terminals.dev/session-controller/internal/provider"
)

const (
	// DefaultLifetime is how long a token lives whose answer does not say (RFC 6749 section 5.1 leaves that to the server's documents).
	DefaultLifetime = time.Hour
	// maxToken bounds a token, in bytes.
	maxToken = 64 << 10
	// giveBackTimeout bounds how long a failure is kept waiting for the revocation of what it came of.
	giveBackTimeout = 3 * time.Second
	// longest is as long as a lifetime can be written down.
	longest = math.MaxInt64 / int64(time.Second)
)

const (
	whatToken = "the token endpoint"

	grantRefreshToken  = "refresh_token"
	grantDeviceCode    = "urn:ietf:params:oauth:grant-type:device_code"
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange" //nolint:gosec // the name of a grant
	grantJWTBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"     //nolint:gosec // the name of a grant
	typeAccessToken    = "urn:ietf:params:oauth:token-type:access_token"   //nolint:gosec // the name of a type
	typeJWT            = "urn:ietf:params:oauth:token-type:jwt"            //nolint:gosec // the name of a type
)

// obtain gets a token with what the login is made with.
func (p *Provider) obtain(ctx context.Context, req provider.Request) (provider.Token, error) {
	form, err := p.wanted(req.Session)
	if err != nil {
		return provider.Token{}, err
	}
	why := forAuthToken
	switch p.config.Grant {
	case TokenExchange:
		form.Set("grant_type", grantTokenExchange)
		form.Set("subject_token", req.AuthToken)
		form.Set("subject_token_type", typeAccessToken)
		form.Set("requested_token_type", typeAccessToken)
	case JWTBearer:
		form.Set("grant_type", grantJWTBearer)
		form.Set("assertion", req.AuthToken)
	default:
		form.Set("grant_type", "client_credentials")
		why = forClient
	}
	if why == forAuthToken && strings.TrimSpace(req.AuthToken) == "" {
		return provider.Token{}, fail(provider.AuthTokenMissing, nil, "there is no auth token, which the grant %s needs", p.config.Grant)
	}
	s, err := p.server(ctx)
	if err != nil {
		return provider.Token{}, err
	}
	got, err := p.ask(ctx, s, form, why, req.AuthToken)
	if err != nil {
		return provider.Token{}, err
	}
	return p.accept(ctx, s, req, got, why == forAuthToken)
}

// refresh gets a token with the refresh token. Scopes and audiences stay as they were granted.
func (p *Provider) refresh(ctx context.Context, req provider.Request) (provider.Token, error) {
	s, err := p.server(ctx)
	if err != nil {
		return provider.Token{}, err
	}
	form := url.Values{"grant_type": {grantRefreshToken}, "refresh_token": {req.RefreshToken}}
	got, err := p.ask(ctx, s, form, forRefreshToken, req.RefreshToken)
	if err != nil {
		return provider.Token{}, err
	}
	return p.accept(ctx, s, req, got, false)
}

// wanted is a form with the scopes and audiences of a session. An audience that is a URL goes both as resource (RFC 8707) and as audience
// (RFC 8693 section 2.1, and long in use elsewhere), as servers that know one ignore the other; any other as audience alone.
func (p *Provider) wanted(session provider.Session) (url.Values, error) {
	form := url.Values{}
	var scopes []string
	for _, scope := range slices.Concat(session.Scopes, p.config.Scopes) {
		if scope == "" || strings.ContainsFunc(scope, notInScope) {
			return nil, misconfigured(nil, "a scope has a character that RFC 6749 does not allow, such as a space")
		}
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	for _, audience := range session.Audiences {
		form.Add("audience", audience)
		if u, err := url.Parse(audience); err == nil && u.IsAbs() && u.Fragment == "" {
			form.Add("resource", audience)
		}
	}
	return form, nil
}

// ask makes one request of the token endpoint. Every grant is one of clientcredentials, whose grant type may be replaced: it is the one
// call in the library that takes any parameters, asks once, and hands over the error as the server wrote it.
func (p *Provider) ask(ctx context.Context, s *server, form url.Values, why purpose, secret string) (*oauth2.Token, error) {
	style := oauth2.AuthStyleInParams
	secretOf := p.client.secret
	switch p.client.method {
	case ClientSecretBasic:
		style = oauth2.AuthStyleInHeader
	case PrivateKeyJWT, None:
		secretOf = ""
	}
	if err := p.client.assert(form, p.skew.serverNow(), s.Issuer, s.TokenEndpoint); err != nil {
		return nil, err
	}
	config := clientcredentials.Config{
		ClientID: p.client.id, ClientSecret: secretOf, TokenURL: s.TokenEndpoint, AuthStyle: style, EndpointParams: form,
	}
	got, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, p.http))
	if err == nil {
		p.proof.accepted()
		return got, nil
	}
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		r := newRefusal(answer.Response.StatusCode, answer.Response.Header, answer.Body)
		r.Code, r.Description = answer.ErrorCode, answer.ErrorDescription
		if why == forDeviceCode && (r.Code == "authorization_pending" || r.Code == "slow_down") {
			p.proof.accepted()
			return nil, &refused{r}
		}
		return nil, p.refused(r, whatToken, why, secret, form.Get("client_assertion"))
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return nil, unreached(err, whatToken)
	}
	return nil, fail(provider.Unavailable, nil, "%s answered with something that is no token answer: not JSON, or without a token", whatToken)
}

// accept makes a Token of an answer. What cannot be used is given back to the server, as nobody else will know of it.
func (p *Provider) accept(ctx context.Context, s *server, req provider.Request, got *oauth2.Token, ask bool) (provider.Token, error) {
	token, err := p.read(ctx, s, req, got, ask)
	if err != nil {
		p.giveBack(ctx, s, got, req.RefreshToken)
		return provider.Token{}, err
	}
	if token.RefreshToken != "" {
		p.refreshes.Store(true)
	}
	return token, nil
}

func (p *Provider) read(ctx context.Context, s *server, req provider.Request, got *oauth2.Token, ask bool) (provider.Token, error) {
	if err := checkTokens(got); err != nil {
		return provider.Token{}, err
	}
	life, err := lifetime(got)
	if err != nil {
		return provider.Token{}, err
	}
	identity, err := p.identity(ctx, s, req, got, ask)
	if err != nil && ask {
		return provider.Token{}, err
	}
	if err != nil { // the refresh token may be spent, and its session is not to die of an ID token
		identity = provider.Identity{}
	}
	return provider.Token{Value: got.AccessToken, ExpiresIn: life, RefreshToken: got.RefreshToken, Identity: identity}, nil
}

func checkTokens(got *oauth2.Token) error {
	for _, token := range []string{got.AccessToken, got.RefreshToken} {
		if len(token) > maxToken {
			return misconfigured(nil, "the server gave a token of more than %d bytes: have it issue smaller ones", maxToken)
		}
		if strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
			return misconfigured(nil, "the server gave a token with characters that RFC 6749 does not allow")
		}
	}
	if t := got.TokenType; t != "" && !strings.EqualFold(t, "Bearer") {
		return misconfigured(nil, "the server gave a token that is not of type Bearer, which terminals cannot use")
	}
	if t, _ := got.Extra("issued_token_type").(string); t != "" && t != typeAccessToken && t != typeJWT {
		return misconfigured(nil, "the server exchanged the auth token for something that is no access token")
	}
	return nil
}

// lifetime reads expires_in. However long it says it is: whoever asked knows how long a token may live.
func lifetime(got *oauth2.Token) (time.Duration, error) {
	said := got.Extra("expires_in")
	if said == nil || said == "" {
		return DefaultLifetime, nil
	}
	seconds, ok := number(said)
	if !ok {
		return 0, misconfigured(nil, "the server gave a token whose expires_in is no number")
	}
	if seconds < 1 {
		return 0, misconfigured(nil, "the server gave a token that is over already: its expires_in is not above zero")
	}
	return time.Duration(min(seconds, longest)) * time.Second, nil
}

// number reads what ought to be a number, and at some servers is a string.
func number(said any) (int64, bool) {
	switch n := said.(type) {
	case int64:
		return n, true
	case float64:
		return int64(max(min(n, float64(longest)), -1)), true
	case json.Number:
		return number(string(n))
	case string:
		f, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
		if err != nil || math.IsNaN(f) {
			return 0, false
		}
		return number(f)
	}
	return 0, false
}

// giveBack revokes tokens that will not be used, as well as it can in a short while. The refresh token that was there before stays.
func (p *Provider) giveBack(ctx context.Context, s *server, got *oauth2.Token, before string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
	defer cancel()
	refresh := got.RefreshToken
	if refresh == before {
		refresh = ""
	}
	if len(got.AccessToken) <= maxToken && len(refresh) <= maxToken {
		_ = p.revoke(ctx, s, got.AccessToken, refresh)
	}
}

// notInScope tells what no scope may have in it (RFC 6749 section 3.3).
func notInScope(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }
