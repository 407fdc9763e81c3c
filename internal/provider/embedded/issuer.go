// Package embedded issues tokens itself: JWT access tokens (RFC 9068) signed with ES256, by keys that are rotated. Beside the
// provider there is an HTTP handler with what verifiers need: discovery, the public keys, and introspection.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"terminals.dev/session-controller/internal/provider"
)

// Config is what an Issuer is made from. All of it is required.
type Config struct {
	// IssuerURL is the iss of every token and where the handler is reached: https, without query or fragment (RFC 8414
	// section 2).
	IssuerURL string
	// Keys gives the signing keys.
	Keys KeySource
	// Now is the clock.
	Now func() time.Time
}

// Issuer is a provider.Provider that signs its tokens itself. It keeps no record of them: whether a session is still there is
// known to the cluster alone, and introspection asks it.
type Issuer struct {
	url    string
	keys   KeySource
	now    func() time.Time
	jtis   uuid.UUID
	signer atomic.Pointer[signer]
}

var _ provider.Provider = (*Issuer)(nil)

// New returns an Issuer. It reads no key before the first one is needed.
func New(config Config) *Issuer {
	return &Issuer{
		url:  config.IssuerURL,
		keys: config.Keys,
		now:  config.Now,
		jtis: uuid.NewSHA1(uuid.NameSpaceURL, []byte(config.IssuerURL)),
	}
}

// Login implements provider.Provider. Every session is granted: who may have one was decided before. An attempt made again gets a
// token with the same jti and sid, which counts its lifetime from then.
func (i *Issuer) Login(ctx context.Context, req provider.Request) (provider.Result, error) {
	token, err := i.issue(ctx, req)
	if err != nil {
		return provider.Result{}, err
	}
	return provider.Result{Token: &token}, nil
}

// Renew implements provider.Provider. It needs no former token.
func (i *Issuer) Renew(ctx context.Context, req provider.Request) (provider.Token, error) {
	return i.issue(ctx, req)
}

// Poll implements provider.Provider. It always fails, as Login never leaves anything pending.
func (i *Issuer) Poll(context.Context, provider.Request, provider.Pending) (provider.Result, error) {
	return provider.Result{}, &provider.Error{
		Kind:    provider.Rejected,
		Code:    "invalid_grant",
		Message: "the embedded issuer has no logins that wait for a person; log in again",
	}
}

// Revoke implements provider.Provider. There is nothing to tell: introspection answers from the session itself.
func (i *Issuer) Revoke(context.Context, provider.Request) error { return nil }

// Check implements provider.Provider. It looks at the token alone: its signature, issuer and expiry.
func (i *Issuer) Check(ctx context.Context, req provider.Request) (provider.Status, error) {
	_, err := i.Verify(ctx, req.Token)
	if errors.Is(err, ErrInvalidToken) {
		return provider.Status{}, nil
	}
	if err != nil {
		return provider.Status{}, err
	}
	return provider.Status{Active: true}, nil
}

// Capabilities implements provider.Provider. Check has no news for the controller, so Introspects is false.
func (i *Issuer) Capabilities() provider.Capabilities {
	return provider.Capabilities{Idempotent: true}
}

func (i *Issuer) issue(ctx context.Context, req provider.Request) (provider.Token, error) {
	if req.Session.Lifetime < time.Second || req.Session.Lifetime > MaxTokenLifetime {
		return provider.Token{}, provider.Errorf(provider.Misconfigured,
			"a token cannot live for %s: the lifetime must be from 1s to %s", req.Session.Lifetime, MaxTokenLifetime)
	}
	if strings.ContainsFunc(strings.Join(req.Session.Scopes, ""), notInScope) {
		return provider.Token{}, provider.Errorf(provider.Misconfigured,
			"a scope has a character that RFC 6749 does not allow, such as a space")
	}
	keys, err := i.keySet(ctx)
	if err != nil {
		return provider.Token{}, err
	}
	if keys.Unusable != nil {
		return provider.Token{}, keysError(ctx, keys.Unusable)
	}
	key, ok := keys.find(keys.Active)
	if !ok {
		return provider.Token{}, provider.Errorf(provider.Misconfigured,
			"the active signing key %q is not among the published ones", keys.Active)
	}
	claims := i.claims(req)
	value, err := i.sign(key, claims)
	if err != nil {
		return provider.Token{}, &provider.Error{Kind: provider.Misconfigured, Message: "the token could not be signed", Err: err}
	}
	if len(value) > maxTokenSize {
		return provider.Token{}, provider.Errorf(provider.Misconfigured,
			"the token would be longer than %d bytes: ask for fewer scopes or audiences", maxTokenSize)
	}
	return provider.Token{
		Value:     value,
		ExpiresIn: time.Duration(claims.ExpiresAt-claims.IssuedAt) * time.Second,
		Identity:  provider.Identity{Email: req.Session.UserEmail, Subject: claims.Subject},
	}, nil
}

func (i *Issuer) claims(req provider.Request) Claims {
	session := req.Session
	issuedAt := i.now().Unix()
	claims := Claims{
		Issuer:       i.url,
		Subject:      session.UserEmail,
		Audience:     session.Audiences,
		ExpiresAt:    issuedAt + int64(session.Lifetime/time.Second),
		IssuedAt:     issuedAt,
		ID:           i.jti(req.IdempotencyKey),
		ClientID:     session.TerminalID,
		Scope:        strings.Join(session.Scopes, " "),
		SessionID:    session.ID,
		MerchantID:   session.MerchantID,
		SerialNumber: session.SerialNumber,
		Namespace:    session.Namespace,
		Purpose:      session.Purpose,
	}
	if claims.Subject == "" {
		claims.Subject = terminalSubject(session.TerminalID)
	}
	if len(claims.Audience) == 0 {
		claims.Audience = []string{i.url}
	}
	return claims
}

// jti names the token of an attempt. Without a key no two requests are the same attempt.
func (i *Issuer) jti(idempotencyKey string) string {
	if idempotencyKey == "" {
		return uuid.NewString()
	}
	return uuid.NewSHA1(i.jtis, []byte(idempotencyKey)).String()
}

// keySet asks for the keys and makes a *provider.Error of any failure.
func (i *Issuer) keySet(ctx context.Context) (KeySet, error) {
	keys, err := i.keys.Keys(ctx)
	if err != nil {
		return KeySet{}, keysError(ctx, err)
	}
	if len(keys.Keys) == 0 {
		return KeySet{}, keysError(ctx, cmp.Or(keys.Unusable, error(provider.Errorf(provider.Misconfigured, "there is no signing key"))))
	}
	return keys, nil
}

// keysError is Unavailable, and so tried again, unless the source of the keys says better.
func keysError(ctx context.Context, err error) error {
	if _, known := errors.AsType[*provider.Error](err); known {
		return err
	}
	if ctx.Err() != nil {
		return &provider.Error{Kind: provider.Unavailable, Message: "reading the signing keys was interrupted", Err: err}
	}
	return &provider.Error{Kind: provider.Unavailable, Message: "the signing keys could not be read", Err: err}
}

// terminalSubject is the sub where no user was asked for. No e-mail looks like it, as none has a colon outside quotes.
func terminalSubject(terminalID string) string { return "terminal:" + terminalID }

// notInScope tells what no scope may have in it (RFC 6749 section 3.3). A space would make two scopes of what was allowed as one.
func notInScope(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }
