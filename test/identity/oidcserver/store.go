package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// store is everything that the server knows. All of it is in memory.
type store struct {
	issuer     string
	life       time.Duration
	signingKey *rsa.PrivateKey

	mu      sync.Mutex
	clients map[string]*client
	users   map[string]*user
	access  map[string]*grant
	refresh map[string]*grant
	devices map[string]*device
}

// client is an application. Its secret is empty where it has a key, or is public.
type client struct {
	id, secret string
	method     oidc.AuthMethod
	keys       map[string]*jose.JSONWebKey
}

// user is a person, named by subject.
type user struct {
	Email    string                      `json:"email"`
	Verified bool                        `json:"verified"`
	Banned   bool                        `json:"banned"`
	Keys     map[string]*jose.JSONWebKey `json:"keys"` // what assertions of this user are signed with
}

// grant is what a token stands for.
type grant struct {
	subject, client string
	scopes          []string
	audience        []string
	expires         time.Time
	refreshToken    string
}

type device struct {
	op.DeviceAuthorizationState
	userCode string
	form     map[string][]string
}

var (
	_ op.Storage                    = &store{}
	_ op.ClientCredentialsStorage   = &store{}
	_ op.TokenExchangeStorage       = &store{}
	_ op.DeviceAuthorizationStorage = &store{}
)

var errUnknown = errors.New("not known here")

func newStore(issuer string, life time.Duration) (*store, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	s := &store{
		issuer: issuer, life: life, signingKey: key,
		clients: map[string]*client{}, users: map[string]*user{},
		access: map[string]*grant{}, refresh: map[string]*grant{}, devices: map[string]*device{},
	}
	for _, c := range []*client{
		{id: "till-fleet", secret: "till:secret%/+ 7", method: oidc.AuthMethodBasic},
		{id: "till-post", secret: "till:secret%/+ 7", method: oidc.AuthMethodPost},
		{id: "till-key", method: oidc.AuthMethodPrivateKeyJWT, keys: map[string]*jose.JSONWebKey{}},
		{id: "till-public", method: oidc.AuthMethodNone},
	} {
		s.clients[c.id] = c
	}
	s.users["anna"] = &user{Email: "anna@acme.example", Verified: true}
	s.users["mallory"] = &user{Email: "mallory@acme.example", Verified: true}
	s.users["eve"] = &user{Email: "anna@acme.example", Verified: false}
	return s, nil
}

func (c *client) GetID() string                        { return c.id }
func (c *client) RedirectURIs() []string               { return nil }
func (c *client) PostLogoutRedirectURIs() []string     { return nil }
func (c *client) AuthMethod() oidc.AuthMethod          { return c.method }
func (c *client) ResponseTypes() []oidc.ResponseType   { return nil }
func (c *client) LoginURL(string) string               { return "/login" }
func (c *client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (c *client) IDTokenLifetime() time.Duration       { return 5 * time.Minute }
func (c *client) DevMode() bool                        { return false }
func (c *client) IsScopeAllowed(string) bool           { return true }
func (c *client) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c *client) ClockSkew() time.Duration             { return 0 }

//nolint:revive // the library's name
func (c *client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}
func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

// ApplicationType must be that of a web application where a client proves itself.
func (c *client) ApplicationType() op.ApplicationType {
	if c.method == oidc.AuthMethodNone {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

func (c *client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials, oidc.GrantTypeDeviceCode, oidc.GrantTypeTokenExchange,
		oidc.GrantTypeBearer, oidc.GrantTypeRefreshToken}
}

func (s *store) Health(context.Context) error { return nil }

func (s *store) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.clients[id]; ok {
		return c, nil
	}
	return nil, oidc.ErrInvalidClient().WithParent(errUnknown)
}

func (s *store) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.clients[id]; !ok || c.secret == "" || c.secret != secret {
		return oidc.ErrInvalidClient().WithParent(errUnknown)
	}
	return nil
}

func (s *store) GetKeyByIDAndClientID(_ context.Context, keyID, id string) (*jose.JSONWebKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.clients[id]; ok && c.keys[keyID] != nil {
		return c.keys[keyID], nil
	}
	if u, ok := s.users[id]; ok && u.Keys[keyID] != nil {
		return u.Keys[keyID], nil
	}
	return nil, errUnknown
}

// ClientCredentials implements op.ClientCredentialsStorage.
func (s *store) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.GetClientByClientID(ctx, id)
}

// ClientCredentialsTokenRequest implements op.ClientCredentialsStorage.
func (s *store) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	if slices.Contains(scopes, "unknown") {
		return nil, oidc.ErrInvalidScope()
	}
	return &oidc.JWTTokenRequest{Subject: id, Scopes: scopes, Audience: []string{id}}, nil
}

func (s *store) ValidateJWTProfileScopes(_ context.Context, _ string, scopes []string) ([]string, error) {
	if slices.Contains(scopes, "unknown") {
		return nil, oidc.ErrInvalidScope()
	}
	return scopes, nil
}

func (s *store) CreateAccessToken(_ context.Context, request op.TokenRequest) (string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, expires := s.newAccess(request, "")
	return id, expires, nil
}

// CreateAccessAndRefreshTokens implements op.AuthStorage. A refresh token is used once.
func (s *store) CreateAccessAndRefreshTokens(
	_ context.Context, request op.TokenRequest, current string,
) (string, string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if current != "" {
		if s.refresh[current] == nil {
			return "", "", time.Time{}, oidc.ErrInvalidGrant()
		}
		delete(s.refresh, current)
	}
	renewed := rand.Text() + rand.Text()
	id, expires := s.newAccess(request, renewed)
	s.refresh[renewed] = s.access[id]
	return id, renewed, expires, nil
}

func (s *store) newAccess(request op.TokenRequest, refreshToken string) (string, time.Time) {
	g := &grant{
		subject: request.GetSubject(), scopes: request.GetScopes(), audience: request.GetAudience(),
		expires: time.Now().Add(s.life), refreshToken: refreshToken,
	}
	if of, ok := request.(interface{ GetClientID() string }); ok {
		g.client = of.GetClientID()
	}
	id := rand.Text()
	s.access[id] = g
	return id, g.expires
}

// refreshRequest implements op.RefreshTokenRequest.
type refreshRequest struct{ *grant }

func (r refreshRequest) GetAMR() []string             { return nil }
func (r refreshRequest) GetAudience() []string        { return r.audience }
func (r refreshRequest) GetAuthTime() time.Time       { return time.Now() }
func (r refreshRequest) GetClientID() string          { return r.client }
func (r refreshRequest) GetScopes() []string          { return r.scopes }
func (r refreshRequest) GetSubject() string           { return r.subject }
func (r refreshRequest) SetCurrentScopes(to []string) { r.scopes = to }

func (s *store) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.refresh[token]
	if !ok {
		return nil, errUnknown
	}
	return refreshRequest{g}, nil
}

func (s *store) GetRefreshTokenInfo(_ context.Context, _, token string) (string, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g, ok := s.refresh[token]; ok {
		return g.subject, token, nil
	}
	return "", "", op.ErrInvalidRefreshToken
}

// RevokeToken implements op.AuthStorage. A refresh token takes the access tokens with it that came with it.
func (s *store) RevokeToken(_ context.Context, token, _, _ string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.access, token)
	if g, ok := s.refresh[token]; ok {
		delete(s.refresh, token)
		for id, a := range s.access {
			if a == g {
				delete(s.access, id)
			}
		}
	}
	return nil
}

func (s *store) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest is for ID tokens, which as the specification has it carry the subject and no more.
//
//nolint:unparam // the library's signature
func (s *store) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, request op.IDTokenRequest, _ []string) error {
	info.Subject = request.GetSubject()
	return nil
}

func (s *store) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, tokenID, _, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.access[tokenID]
	if !ok || !slices.Contains(g.scopes, oidc.ScopeOpenID) {
		return errUnknown
	}
	s.describe(info, g)
	return nil
}

func (s *store) describe(info *oidc.UserInfo, g *grant) {
	info.Subject = g.subject
	if u := s.users[g.subject]; u != nil && slices.Contains(g.scopes, oidc.ScopeEmail) {
		info.Email, info.EmailVerified = u.Email, oidc.Bool(u.Verified)
	}
}

func (s *store) SetIntrospectionFromToken(_ context.Context, answer *oidc.IntrospectionResponse, tokenID, _, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.access[tokenID]
	if !ok || time.Now().After(g.expires) || s.users[g.subject] != nil && s.users[g.subject].Banned {
		return errUnknown
	}
	info := &oidc.UserInfo{}
	s.describe(info, g)
	answer.SetUserInfo(info)
	answer.Scope, answer.ClientID, answer.Subject = g.scopes, g.client, g.subject
	return nil
}

func (s *store) StoreDeviceAuthorization(ctx context.Context, id, code, userCode string, expires time.Time, scopes []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices[code] = &device{
		DeviceAuthorizationState: op.DeviceAuthorizationState{ClientID: id, Scopes: scopes, Expires: expires},
		userCode:                 userCode, form: formOf(ctx),
	}
	return nil
}

func (s *store) GetDeviceAuthorizatonState(_ context.Context, id, code string) (*op.DeviceAuthorizationState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.devices[code]
	if !ok || d.ClientID != id {
		return nil, errUnknown
	}
	state := d.DeviceAuthorizationState
	if state.Done {
		delete(s.devices, code) // a code is used once
	}
	return &state, nil
}

// ValidateTokenExchangeRequest implements op.TokenExchangeStorage.
func (s *store) ValidateTokenExchangeRequest(_ context.Context, request op.TokenExchangeRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.access[request.GetExchangeSubjectTokenIDOrToken()]
	if !ok || time.Now().After(g.expires) {
		return oidc.ErrInvalidRequest().WithDescription("subject_token is invalid")
	}
	if slices.Contains(request.GetScopes(), "unknown") {
		return oidc.ErrInvalidScope()
	}
	return nil
}

func (s *store) CreateTokenExchangeRequest(context.Context, op.TokenExchangeRequest) error {
	return nil
}

func (s *store) GetPrivateClaimsFromTokenExchangeRequest(context.Context, op.TokenExchangeRequest) (map[string]any, error) {
	return nil, nil
}

func (s *store) SetUserinfoFromTokenExchangeRequest(context.Context, *oidc.UserInfo, op.TokenExchangeRequest) error {
	return nil
}

func (s *store) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

// What the authorization code flow alone needs is not there.

func (s *store) CreateAuthRequest(context.Context, *oidc.AuthRequest, string) (op.AuthRequest, error) {
	return nil, errUnknown
}

func (s *store) AuthRequestByID(context.Context, string) (op.AuthRequest, error) {
	return nil, errUnknown
}

func (s *store) AuthRequestByCode(context.Context, string) (op.AuthRequest, error) {
	return nil, errUnknown
}

func (s *store) SaveAuthCode(context.Context, string, string) error { return errUnknown }
func (s *store) DeleteAuthRequest(context.Context, string) error    { return nil }

func (s *store) TerminateSession(context.Context, string, string) error { return nil }

const keyID = "signing-1"

type signingKey struct{ *rsa.PrivateKey }

func (k signingKey) ID() string                                  { return keyID }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Key() any                                    { return k.PrivateKey }

type publicKey struct{ *rsa.PublicKey }

func (k publicKey) ID() string                         { return keyID }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return k.PublicKey }

func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	return signingKey{s.signingKey}, nil
}

func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

func (s *store) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{publicKey{&s.signingKey.PublicKey}}, nil
}
