// Package provider says what the controller asks of whatever issues a session's tokens, and how such an issuer answers. It knows
// neither Kubernetes nor any protocol: adapters in the folders beside it do the protocols, the controllers do Kubernetes.
package provider

import (
	"context"
	"time"
)

// Provider issues, renews and revokes the access tokens of sessions. One value serves many sessions at once, so every method must be
// safe for concurrent use, must return soon after its context ends, and reports failure as an *Error, whose text carries no secret.
type Provider interface {
	// Login starts a session. Asked twice with the same IdempotencyKey, a provider whose Capabilities say so answers with the
	// same token, or with one that ends together with it.
	Login(ctx context.Context, req Request) (Result, error)
	// Poll asks again for what a person was to confirm when Login answered with a Pending.
	Poll(ctx context.Context, req Request, pending Pending) (Result, error)
	// Renew replaces the token of an established session; the session ID stays.
	Renew(ctx context.Context, req Request) (Token, error)
	// Revoke tells the provider that the session is over. A token that the provider does not know any more is no error.
	Revoke(ctx context.Context, req Request) error
	// Check asks whether the provider still honours the session's token.
	Check(ctx context.Context, req Request) (Status, error)
	// Capabilities tells what the provider can do and what it needs. The answer is local: it makes no call.
	Capabilities() Capabilities
}

// Request is one question to a provider about one session.
type Request struct {
	// Session is who the token is for.
	Session Session
	// IdempotencyKey names this attempt: two requests with the same key are the same attempt, made again after a crash.
	IdempotencyKey string
	// AuthToken is what the user proves himself with; empty where the session names none. Secret.
	AuthToken string
	// Token is the session's present access token, where an operation needs it. Secret.
	Token string
	// RefreshToken is what the provider gave for renewals, if it did. Secret.
	RefreshToken string
}

// Session is what a provider is told of a session.
type Session struct {
	// Namespace and Name are those of the Kubernetes object.
	Namespace, Name string
	// ID is the session ID: a new one for each login, the same for its renewals.
	ID string
	// TerminalID and SerialNumber name the device; the serial number (TSN) may be unknown and empty.
	TerminalID, SerialNumber string
	// MerchantID is the merchant on whose behalf the terminal acts; may be empty.
	MerchantID string
	// UserEmail and UserName are the user who is to be logged in. An empty e-mail stands for whoever logs in.
	UserEmail, UserName string
	// Purpose is Login, Registration or AppLogin; Type is Continuous or OneShot.
	Purpose, Type string
	// Scopes and Audiences are what the token is asked for.
	Scopes, Audiences []string
	// Lifetime is how long the token is asked to live; the provider may give less.
	Lifetime time.Duration
	// Announce is shown to the person who confirms the login; may be empty.
	Announce string
}

// Token is what a provider gave.
type Token struct {
	// Value is the access token. Secret.
	Value string
	// ExpiresIn counts from the moment of the request, by the clock of whoever asked (expires_in, RFC 6749 section 5.1). It is
	// above zero.
	ExpiresIn time.Duration
	// RefreshToken renews the token without the user; empty where there is none. Secret.
	RefreshToken string
	// Identity is whom the provider says it logged in.
	Identity Identity
}

// Identity is a user as the provider knows it. The e-mail is compared with the one asked for, without regard to case.
type Identity struct {
	Email, Subject string
}

// Pending is a login that waits for a person.
type Pending struct {
	// VerificationURI is where the person goes, and UserCode what is typed in there; VerificationURIComplete has both in one
	// (RFC 8628 section 3.2).
	VerificationURI, VerificationURIComplete, UserCode string
	// Handle is what Poll needs to ask again (a device code, say). Secret.
	Handle string
	// ExpiresIn is how long the person has, from the moment of the request; Interval the least time between two polls.
	ExpiresIn, Interval time.Duration
}

// Result is the answer to a login: exactly one of the two is set.
type Result struct {
	Token   *Token
	Pending *Pending
}

// Status is the answer to a Check.
type Status struct {
	// Active is whether the provider still honours the token.
	Active bool
	// Banned tells that it does not because the user or the device is barred or deleted there, and Code is the provider's word
	// for it.
	Banned bool
	Code   string
}

// Capabilities is what a provider can do, and what it needs.
type Capabilities struct {
	// RevokesByToken and RevokesBySession tell that the provider must be told of a logout, and what it must be handed for it.
	RevokesByToken, RevokesBySession bool
	// Idempotent tells that Login keeps the promise about IdempotencyKey.
	Idempotent bool
	// Introspects tells that Check has an answer.
	Introspects bool
	// Refreshes tells that tokens come with a refresh token.
	Refreshes bool
	// DeviceCode tells that Login may answer with a Pending.
	DeviceCode bool
}
