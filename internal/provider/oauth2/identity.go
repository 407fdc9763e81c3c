package oauth2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"terminals.dev/session-controller/internal/provider"
)

const (
	// clockLeeway is how far the server's clock may be off for its ID tokens still to be believed.
	clockLeeway = 15 * time.Minute
	// maxEmail and maxSubject bound an identity, in bytes (RFC 5321; OpenID Connect Core 1.0 section 2).
	maxEmail, maxSubject = 254, 255
)

const (
	whatKeys     = "the JWKS"
	whatUserinfo = "the userinfo endpoint"
)

// person is whom a server names, in whichever of three places.
type person struct {
	Subject  string   `json:"sub"`
	Email    string   `json:"email"`
	Verified *boolean `json:"email_verified"`
}

// boolean is one that some servers write as a string.
type boolean bool

// UnmarshalJSON implements json.Unmarshaler. What is neither is false.
func (b *boolean) UnmarshalJSON(data []byte) error {
	*b = string(data) == "true" || string(data) == `"true"`
	return nil
}

// identity finds out whom the server logged in: by the ID token, else userinfo, else introspection. Without ask it makes no request but for
// the keys that the ID token is checked with: the person behind a refresh token stays the same. Empty is the answer of a server that tells
// nothing.
func (p *Provider) identity(ctx context.Context, s *server, req provider.Request, got *oauth2.Token, ask bool) (provider.Identity, error) {
	var found person
	if raw, _ := got.Extra("id_token").(string); raw != "" {
		claims, err := p.verify(ctx, s, raw)
		if err != nil {
			return provider.Identity{}, err
		}
		found = claims
	}
	// Some servers say that an address is verified by the claim, and that it is not by leaving the claim out.
	saysVerified := ask && slices.Contains(s.Claims, "email_verified")
	var failed error
	for _, look := range []func(context.Context, *server, string) (person, error){p.userinfo, p.whose} {
		if !ask || found.Email != "" && (found.Verified != nil || !saysVerified) {
			break
		}
		told, err := look(ctx, s, got.AccessToken)
		if err != nil {
			failed = err
			continue
		}
		// An answer about somebody else is none (OpenID Connect Core 1.0 section 5.3.2).
		if found.Subject != "" && told.Subject != "" && told.Subject != found.Subject {
			return provider.Identity{}, rejected("IdentityMismatch", "the server names one user in the ID token and another when asked")
		}
		if found.Subject == "" || told.Email != "" {
			told.Subject = either(found.Subject, told.Subject)
			found = told
		}
	}
	if failed != nil && found.Email == "" {
		return provider.Identity{}, failed // it is not known who this is, so nobody is let in as somebody
	}
	if found.Verified == nil && saysVerified {
		found.Verified = new(boolean)
	}
	return settle(found, req.Session.UserEmail)
}

// settle decides whether the e-mail may be compared with the one asked for. One that the server says is not verified is only what its owner
// claims: it must not pass, and leaving it out would let it pass as well.
func settle(found person, wanted string) (provider.Identity, error) {
	if len(found.Subject) > maxSubject || strings.ContainsFunc(found.Subject, unprintable) {
		found.Subject = ""
	}
	doubtful := found.Verified != nil && !bool(*found.Verified) || len(found.Email) > maxEmail || strings.ContainsFunc(found.Email, control)
	if found.Email == "" || !doubtful {
		return provider.Identity{Email: found.Email, Subject: found.Subject}, nil
	}
	if wanted != "" {
		return provider.Identity{}, rejected("EmailNotVerified", "the server has not verified the e-mail address of the user who logged in")
	}
	return provider.Identity{Subject: found.Subject}, nil
}

// verify checks an ID token: signature, issuer, audience, and its times as well as two clocks allow.
func (p *Provider) verify(ctx context.Context, s *server, raw string) (person, error) {
	if s.keys == nil {
		return person{}, misconfigured(nil, "the server gave an ID token, but publishes no keys to check it with")
	}
	if len(raw) > maxToken {
		return person{}, misconfigured(nil, "the server gave an ID token of more than %d bytes", maxToken)
	}
	keys := &recorder{KeySet: s.keys}
	algorithms := slices.DeleteFunc(slices.Clone(s.IDTokenAlgorithms), func(name string) bool {
		return name == "none" || strings.HasPrefix(name, "HS")
	})
	verifier := oidc.NewVerifier(s.Issuer, keys, &oidc.Config{
		ClientID: p.client.id, SupportedSigningAlgs: algorithms, SkipExpiryCheck: true, // the library's has no leeway
	})
	token, err := verifier.Verify(ctx, raw)
	if status, ok := errors.AsType[*statusError](keys.err); ok {
		return person{}, p.refused(refusal{status: status.code, header: status.header}, whatKeys, forClient)
	}
	if keys.err != nil && unreachable(keys.err) {
		return person{}, unreached(keys.err, whatKeys)
	}
	if err != nil {
		return person{}, misconfigured(nil,
			"the server gave an ID token that is not its own for this client: signature, issuer or audience is wrong")
	}
	var claims struct {
		person
		Party     string `json:"azp"`
		NotBefore int64  `json:"nbf"`
	}
	if token.Claims(&claims) != nil || claims.Party != "" && claims.Party != p.client.id {
		return person{}, misconfigured(nil, "the server gave an ID token that is for another client, or has unreadable claims")
	}
	now := p.config.Now()
	if token.Expiry.Before(now.Add(-clockLeeway)) || token.IssuedAt.After(now.Add(clockLeeway)) ||
		time.Unix(claims.NotBefore, 0).After(now.Add(clockLeeway)) {
		return person{}, misconfigured(nil, "the server gave an ID token of another time: its clock and ours are more than %s apart", clockLeeway)
	}
	return claims.person, nil
}

// userinfo asks OpenID Connect's userinfo endpoint. A token that may not ask there tells nothing.
func (p *Provider) userinfo(ctx context.Context, s *server, token string) (person, error) {
	if s.UserinfoEndpoint == "" {
		return person{}, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.UserinfoEndpoint, nil)
	if err != nil {
		return person{}, misconfigured(nil, "%s has a URL that cannot be used", whatUserinfo)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	status, header, body, err := p.do(req, whatUserinfo)
	if err != nil {
		return person{}, err
	}
	if status >= 500 || status == http.StatusTooManyRequests {
		return person{}, p.refused(refusal{status: status, header: header}, whatUserinfo, forClient)
	}
	var told person
	if status != http.StatusOK || strings.HasPrefix(header.Get("Content-Type"), "application/jwt") {
		return told, nil
	}
	if json.Unmarshal(body, &told) != nil { // it is not known who this is, which is not the same as nobody
		return person{}, fail(provider.Unavailable, nil, "%s answered with something that is not JSON as the specification has it", whatUserinfo)
	}
	return told, nil
}

// whose asks introspection whom a token is for.
func (p *Provider) whose(ctx context.Context, s *server, token string) (person, error) {
	if !s.introspects(p.client.method) {
		return person{}, nil
	}
	answer, err := p.introspect(ctx, s, token)
	if err == nil && *answer.Active {
		return answer.person, nil
	}
	if err == nil || provider.AsError(err).Kind == provider.Misconfigured {
		return person{}, nil // this client may not ask, or not about this token
	}
	return person{}, err
}

// recorder keeps the error that the verifier prints into its own.
type recorder struct {
	oidc.KeySet
	err error
}

// VerifySignature implements oidc.KeySet.
func (r *recorder) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := r.KeySet.VerifySignature(ctx, jwt)
	r.err = err
	return payload, err
}

// onlyOK makes an error of any answer but 200, which the key set would only print.
type onlyOK struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (o onlyOK) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := o.RoundTripper.RoundTrip(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, &statusError{resp.StatusCode, resp.Header}
	}
	return resp, err
}

type statusError struct {
	code   int
	header http.Header
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d", e.code) }

// unreachable is whether an error came from the way to the server, and not from what it said.
func unreachable(err error) bool {
	var sent interface{ Timeout() bool } // *url.Error, and what a context ends with
	return errors.As(err, &sent) || errors.Is(err, context.Canceled)
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func control(r rune) bool { return r <= ' ' || r == 0x7f }
