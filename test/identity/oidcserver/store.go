package main

import (
	"context"
	"crypto/rsa"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// store is everything that the server knows. What it learns is in the book, which may outlive it: see open.
type store struct {
	issuer     string
	life       time.Duration
	signingKey *rsa.PrivateKey
	clients    map[string]*client

	mu      sync.Mutex
	users   *shelf[user]
	keys    *shelf[jose.JSONWebKey] // what clients prove themselves with, by client and key ID
	grants  *shelf[grant]
	devices *shelf[device]
	// logins counts the grants that began with no refresh token, by client.
	logins map[string]int
	// mortal is, where it is above zero, how many more grants the server makes before it is killed.
	mortal int
}

// client is an application. Its secret is empty where it has a key, or is public.
type client struct {
	id, secret string
	method     oidc.AuthMethod
}

// user is a person, named by subject.
type user struct {
	Email    string                      `json:"email"`
	Verified bool                        `json:"verified"`
	Banned   bool                        `json:"banned"`
	Keys     map[string]*jose.JSONWebKey `json:"keys"` // what assertions of this user are signed with
}

type device struct {
	op.DeviceAuthorizationState
	Code string
	Form map[string][]string
}

var (
	_ op.Storage                    = &store{}
	_ op.ClientCredentialsStorage   = &store{}
	_ op.TokenExchangeStorage       = &store{}
	_ op.DeviceAuthorizationStorage = &store{}
)

var errUnknown = errors.New("not known here")

func newStore(issuer string, life time.Duration, signs *rsa.PrivateKey) *store {
	s := &store{
		issuer: issuer, life: life, signingKey: signs, clients: map[string]*client{}, logins: map[string]int{},
		users: newShelf[user]("users"), keys: newShelf[jose.JSONWebKey]("keys"),
		grants: newShelf[grant]("grants"), devices: newShelf[device]("devices"),
	}
	for _, c := range []*client{
		{id: "till-fleet", secret: "till:secret%/+ 7", method: oidc.AuthMethodBasic},
		{id: "till-post", secret: "till:secret%/+ 7", method: oidc.AuthMethodPost},
		{id: "till-key", method: oidc.AuthMethodPrivateKeyJWT},
		{id: "till-public", method: oidc.AuthMethodNone},
	} {
		s.clients[c.id] = c
	}
	s.users.put("anna", &user{Email: "anna@acme.example", Verified: true})
	s.users.put("mallory", &user{Email: "mallory@acme.example", Verified: true})
	s.users.put("eve", &user{Email: "anna@acme.example", Verified: false})
	return s
}

// open reads the book in a file, and has it kept there.
func (s *store) open(path string) error {
	to, err := openJournal(path, func(e entry) error {
		switch e.Shelf {
		case s.users.name:
			return s.users.apply(e)
		case s.keys.name:
			return s.keys.apply(e)
		case s.devices.name:
			return s.devices.apply(e)
		}
		known := s.grants.all[e.Key]
		if err := s.grants.apply(e); err != nil {
			return err
		}
		if g := s.grants.all[e.Key]; known == nil && g != nil {
			s.counted(g)
		}
		return nil
	})
	s.users.to, s.keys.to, s.grants.to, s.devices.to = to, to, to, to
	return err
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
	if k := s.keys.all[id+"/"+keyID]; k != nil {
		return k, nil
	}
	if u := s.users.all[id]; u != nil && u.Keys[keyID] != nil {
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
	g := s.grants.all[tokenID]
	if g == nil || !g.Access || !slices.Contains(g.Scopes, oidc.ScopeOpenID) {
		return errUnknown
	}
	s.describe(info, g)
	return nil
}

func (s *store) describe(info *oidc.UserInfo, g *grant) {
	info.Subject = g.Subject
	if u := s.users.all[g.Subject]; u != nil && slices.Contains(g.Scopes, oidc.ScopeEmail) {
		info.Email, info.EmailVerified = u.Email, oidc.Bool(u.Verified)
	}
}

func (s *store) SetIntrospectionFromToken(_ context.Context, answer *oidc.IntrospectionResponse, tokenID, _, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.honoured(tokenID)
	if g == nil {
		return errUnknown
	}
	info := &oidc.UserInfo{}
	s.describe(info, g)
	answer.SetUserInfo(info)
	answer.Scope, answer.ClientID, answer.Subject = g.Scopes, g.Client, g.Subject
	return nil
}

func (s *store) StoreDeviceAuthorization(ctx context.Context, id, code, userCode string, expires time.Time, scopes []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices.put(code, &device{
		DeviceAuthorizationState: op.DeviceAuthorizationState{ClientID: id, Scopes: scopes, Expires: expires}, Code: userCode, Form: formOf(ctx),
	})
	return nil
}

func (s *store) GetDeviceAuthorizatonState(_ context.Context, id, code string) (*op.DeviceAuthorizationState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.devices.all[code]
	if !ok || d.ClientID != id {
		return nil, errUnknown
	}
	state := d.DeviceAuthorizationState
	if state.Done {
		s.devices.drop(code) // a code is used once
	}
	return &state, nil
}

// ValidateTokenExchangeRequest implements op.TokenExchangeStorage. With offline_access a refresh token comes along, for which the library
// wants to be asked in place of the access token.
func (s *store) ValidateTokenExchangeRequest(_ context.Context, request op.TokenExchangeRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.honoured(request.GetExchangeSubjectTokenIDOrToken()) == nil {
		return oidc.ErrInvalidRequest().WithDescription("subject_token is invalid")
	}
	if slices.Contains(request.GetScopes(), "unknown") {
		return oidc.ErrInvalidScope()
	}
	if slices.Contains(request.GetScopes(), oidc.ScopeOfflineAccess) {
		request.SetRequestedTokenType(oidc.RefreshTokenType)
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
