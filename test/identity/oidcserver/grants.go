package main

import (
	"context"
	"crypto/rand"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// grant is what an access token, and the refresh token that came with it, stand for. It is in the book while one of them is good.
type grant struct {
	Subject  string    `json:"subject"`
	Client   string    `json:"client,omitempty"`
	Scopes   []string  `json:"scopes,omitempty"`
	Audience []string  `json:"audience,omitempty"`
	Expires  time.Time `json:"expires"`
	// Access is whether the access token is good, and Refresh is the refresh token if there is a good one. It begins with the grant's ID.
	Access  bool   `json:"access,omitempty"`
	Refresh string `json:"refresh,omitempty"`
	// Before is the grant whose refresh token it was got with, and Next are those that were got with its own.
	Before string   `json:"before,omitempty"`
	Next   []string `json:"next,omitempty"`
}

func (s *store) CreateAccessToken(_ context.Context, request op.TokenRequest) (string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.newGrant(request)
	id := rand.Text()
	s.enter(id, g)
	return id, g.Expires, nil
}

// CreateAccessAndRefreshTokens implements op.AuthStorage. A refresh token is replaced by each use. As at servers that know networks, the one
// before is good until its successor has been used, with the access token that came with it: an answer may be lost.
func (s *store) CreateAccessAndRefreshTokens(_ context.Context, request op.TokenRequest, current string) (string, string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if exchange, ok := request.(op.TokenExchangeRequest); ok {
		exchange.SetRequestedTokenType(oidc.AccessTokenType) // as it was: see ValidateTokenExchangeRequest
	}
	id, g := rand.Text(), s.newGrant(request)
	g.Refresh = id + "." + rand.Text()
	if current != "" {
		before, from := s.refreshed(current)
		if from == nil {
			return "", "", time.Time{}, oidc.ErrInvalidGrant()
		}
		s.used(before, from)
		g.Before = before
		from.Next = append(from.Next, id)
		s.grants.put(before, from)
	}
	s.enter(id, g)
	return id, g.Refresh, g.Expires, nil
}

// used ends what came before a grant whose refresh token is used, and what else came of that.
func (s *store) used(id string, g *grant) {
	before := s.grants.all[g.Before]
	if before == nil {
		return
	}
	for _, other := range before.Next {
		if other != id {
			s.grants.drop(other)
		}
	}
	s.grants.drop(g.Before)
}

func (s *store) newGrant(request op.TokenRequest) *grant {
	g := &grant{
		Subject: request.GetSubject(), Scopes: request.GetScopes(), Audience: request.GetAudience(), Expires: time.Now().Add(s.life), Access: true,
	}
	if of, ok := request.(interface{ GetClientID() string }); ok {
		g.Client = of.GetClientID()
	}
	return g
}

// enter puts a new grant into the book. Where it is the last, nobody hears of it: see mortal.
func (s *store) enter(id string, g *grant) {
	s.counted(g)
	s.grants.put(id, g)
	if s.mortal--; s.mortal == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// counted counts a new grant, if it is a login.
func (s *store) counted(g *grant) {
	if g.Before == "" {
		s.logins[g.Client]++
	}
}

// refreshed finds the grant of a refresh token that is good.
func (s *store) refreshed(token string) (string, *grant) {
	id, _, _ := strings.Cut(token, ".")
	if g := s.grants.all[id]; g != nil && g.Refresh == token {
		return id, g
	}
	return "", nil
}

// honoured finds the grant of an access token that is good.
func (s *store) honoured(id string) *grant {
	g := s.grants.all[id]
	if g == nil || !g.Access || time.Now().After(g.Expires) || s.users.all[g.Subject] != nil && s.users.all[g.Subject].Banned {
		return nil
	}
	return g
}

// RevokeToken implements op.AuthStorage. A refresh token takes everything with it that came of the same login.
func (s *store) RevokeToken(_ context.Context, token, _, _ string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.grants.all[token]; g != nil {
		g.Access = false
		if s.grants.put(token, g); g.Refresh == "" {
			s.grants.drop(token)
		}
	}
	if id, g := s.refreshed(token); g != nil {
		s.used(id, g)
		for _, next := range g.Next {
			s.grants.drop(next)
		}
		s.grants.drop(id)
	}
	return nil
}

// refreshRequest implements op.RefreshTokenRequest.
type refreshRequest struct {
	*grant
	scopes []string
}

func (r *refreshRequest) GetAMR() []string             { return nil }
func (r *refreshRequest) GetAudience() []string        { return r.Audience }
func (r *refreshRequest) GetAuthTime() time.Time       { return time.Now() }
func (r *refreshRequest) GetClientID() string          { return r.Client }
func (r *refreshRequest) GetScopes() []string          { return r.scopes }
func (r *refreshRequest) GetSubject() string           { return r.Subject }
func (r *refreshRequest) SetCurrentScopes(to []string) { r.scopes = to }

func (s *store) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, g := s.refreshed(token)
	if g == nil {
		return nil, errUnknown
	}
	return &refreshRequest{g, g.Scopes}, nil
}

func (s *store) GetRefreshTokenInfo(_ context.Context, _, token string) (string, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, g := s.refreshed(token); g != nil {
		return g.Subject, token, nil
	}
	return "", "", op.ErrInvalidRefreshToken
}

// alive counts the tokens that are in the book.
func (s *store) alive() (access, refresh int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.grants.all {
		if g.Access {
			access++
		}
		if g.Refresh != "" {
			refresh++
		}
	}
	return access, refresh
}

// having counts the grants with a scope.
func (s *store) having(scope string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.grants.all {
		if slices.Contains(g.Scopes, scope) {
			n++
		}
	}
	return n
}

// audit is how the book and the tokens that a client has fit together.
type audit struct {
	// Logins is how often the client has got what began with no refresh token.
	Logins int
	// Dead are the access tokens that are not honoured, Replaced those in whose place another was got already, and Spent the refresh tokens
	// that are not taken.
	Dead, Replaced, Spent int
	// Orphans are the grants of the client that are in the book, and neither had nor replaced.
	Orphans int
}

// audit is told the access tokens by their IDs.
func (s *store) audit(client string, access, refresh []string) audit {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, had := audit{Logins: s.logins[client]}, map[string]bool{}
	for _, id := range access {
		had[id] = true
		switch g := s.honoured(id); {
		case g == nil:
			found.Dead++
		case len(g.Next) > 0:
			found.Replaced++
		}
	}
	for _, token := range refresh {
		if _, g := s.refreshed(token); g == nil {
			found.Spent++
		}
	}
	found.Orphans = len(s.orphans(client, had))
	return found
}

// orphans are the grants of a client that are in the book, and neither had nor replaced.
func (s *store) orphans(client string, had map[string]bool) (all []*grant) {
	for id, g := range s.grants.all {
		if g.Client == client && !had[id] && len(g.Next) == 0 {
			all = append(all, g)
		}
	}
	return all
}

// orphaned is when the grants were made that are orphans to whoever has these access tokens, told by their IDs.
func (s *store) orphaned(client string, access []string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, times := map[string]bool{}, []time.Time{}
	for _, id := range access {
		had[id] = true
	}
	for _, g := range s.orphans(client, had) {
		times = append(times, g.Expires.Add(-s.life))
	}
	return times
}
