package oauth2

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"

	"terminals.dev/session-controller/internal/provider"
)

const (
	whatRevocation    = "the revocation endpoint"
	whatIntrospection = "the introspection endpoint"
)

// Revoke implements provider.Provider (RFC 7009). The refresh token goes first: many a server ends with it what came from it.
func (p *Provider) Revoke(ctx context.Context, req provider.Request) error {
	if req.Token == "" && req.RefreshToken == "" {
		return nil
	}
	s, err := p.server(ctx)
	if err != nil {
		return err
	}
	return p.revoke(ctx, s, req.Token, req.RefreshToken)
}

func (p *Provider) revoke(ctx context.Context, s *server, access, refresh string) error {
	if s.RevocationEndpoint == "" {
		return nil
	}
	var first error
	for _, token := range []struct{ hint, value string }{{"refresh_token", refresh}, {"access_token", access}} {
		if token.value == "" {
			continue
		}
		body, err := p.post(ctx, s, s.RevocationEndpoint, whatRevocation, url.Values{"token": {token.value}, "token_type_hint": {token.hint}})
		if err == nil && webPage(body) { // of something on the way: the server's body says nothing (section 2.2), and the token lives on
			err = fail(provider.Unavailable, nil, "%s answered with a web page (HTML), which is no server's answer", whatRevocation)
		}
		if answer, ok := errors.AsType[*refused](err); ok {
			err = p.unrevoked(answer.refusal, token.value)
		}
		if err == nil {
			continue
		}
		if kind := provider.AsError(err).Kind; kind == provider.Busy || kind == provider.Unavailable {
			return err // it would be the same with the other, and both are tried again
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// unrevoked tells what a refusal to revoke means. A token that is not known needs no revoking, and one of a kind that cannot be revoked
// (section 2.2.1) will not be the next time either.
func (p *Provider) unrevoked(r refusal, token string) error {
	switch r.Code {
	case "unsupported_token_type", "invalid_token", "invalid_grant":
		return nil
	}
	return p.refused(r, whatRevocation, forClient, token)
}

// Check implements provider.Provider (RFC 7662). A server that says of a dead token why it is dead, in error or error_description, is
// understood by Config.Errors.
func (p *Provider) Check(ctx context.Context, req provider.Request) (provider.Status, error) {
	s, err := p.server(ctx)
	if err != nil {
		return provider.Status{}, err
	}
	if !s.introspects(p.client.method) {
		return provider.Status{}, misconfigured(nil, "the server has no introspection for this client")
	}
	answer, err := p.introspect(ctx, s, req.Token)
	if err != nil {
		return provider.Status{}, err
	}
	if *answer.Active {
		return provider.Status{Active: true}, nil
	}
	if key, meaning, ok := p.meaning(answer.Description, answer.Sub, answer.Code); ok && meaning.Kind == provider.Banned {
		return provider.Status{Banned: true, Code: either(meaning.Code, key)}, nil
	}
	return provider.Status{}, nil
}

type introspection struct {
	person
	Active      *bool  `json:"active"`
	Code        string `json:"error"`
	Sub         string `json:"suberror"`
	Description string `json:"error_description"`
}

func (p *Provider) introspect(ctx context.Context, s *server, token string) (introspection, error) {
	var answer introspection
	body, err := p.post(ctx, s, s.IntrospectionEndpoint, whatIntrospection, url.Values{"token": {token}, "token_type_hint": {"access_token"}})
	if refusal, ok := errors.AsType[*refused](err); ok {
		return answer, p.refused(refusal.refusal, whatIntrospection, forClient, token)
	}
	if err != nil {
		return answer, err
	}
	// Without the one member that must be there it is no answer, and ends no session.
	if json.Unmarshal(body, &answer) != nil || answer.Active == nil {
		return answer, fail(provider.Unavailable, nil, "%s answered with something that is no introspection", whatIntrospection)
	}
	return answer, nil
}
