// Package session is the lifecycle of a TerminalSession as pure functions. Decide takes what was observed and the time, and says what
// is to be done; Report takes what came of it, and says what status is then and when to look again. Neither has I/O, a context, a
// clock of its own or randomness: the same input gives the same answer.
package session

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

// Input is everything that a decision rests on. It is read and never changed.
type Input struct {
	// Session is the object as it was read.
	Session *v1.TerminalSession
	// NamespaceEnding is whether the session's namespace is being deleted.
	NamespaceEnding bool
	// Secret is what is found where status says that the token is kept or, without a token, where spec says that it is to be.
	Secret Secret
	// Target is what is found where spec says that the token is to be kept, when that is another place.
	Target Secret
	// Grant is what is found in the session's grant Secret.
	Grant Grant
	// Provider is the provider that spec names.
	Provider Provider
	// NextPoll is when the provider may be asked again whether a person has confirmed the login; zero for at once.
	NextPoll time.Time
	// CheckDue is whether it is time to ask the provider whether it still honours the token.
	CheckDue bool
	// Silence is for how long, as far as this process knows, nothing was heard of the terminal since the session was established.
	Silence time.Duration
	// LastActive is when the terminal was last heard of; zero for never.
	LastActive time.Time
	// Ban is the ban in force, if there is one.
	Ban *Ban
	// Logout is the SessionLogout that is to sign the session out, if there is one.
	Logout *Logout
	// Discarded is set where a token has just been obtained and was not kept, or may come yet and will not be, since the session was to end by
	// then.
	Discarded *Discarded
}

// Discarded is a token that came too late. The attempt counts: asked again with the same number, a provider would answer with the same.
type Discarded struct {
	// UserEmail is who was logged in; empty where the provider names nobody.
	UserEmail string
}

// SecretState says what is found under the name of a token Secret.
type SecretState int

const (
	// SecretAbsent means: nothing.
	SecretAbsent SecretState = iota
	// SecretCurrent means: the token that status describes.
	SecretCurrent
	// SecretNewer means: a token of this session that status does not know yet, since a crash or a move came in between.
	SecretNewer
	// SecretAltered means: the session's Secret, with something else in it than the controller wrote.
	SecretAltered
	// SecretTaken means: something that is not the session's, or a name that another session has.
	SecretTaken
)

// Secret is a token Secret as it was found.
type Secret struct {
	State SecretState
	// Refreshable is whether a refresh token is left to renew with.
	Refreshable bool
	// Holder says, for SecretTaken, whose it is.
	Holder string
	// Issued is, for SecretNewer, what the Secret holds.
	Issued Issued
}

// mine is whether there is a Secret of the session's own.
func (s Secret) mine() bool { return s.State != SecretAbsent && s.State != SecretTaken }

func mine(in Input) bool { return in.Secret.mine() || in.Target.mine() || in.Grant.Kind != "" }

// GrantKind says what a grant Secret keeps.
type GrantKind string

const (
	// GrantRefreshToken is a refresh token, which renews a session without its user.
	GrantRefreshToken GrantKind = "RefreshToken"
	// GrantDeviceCode is what to ask with whether a person has confirmed a login.
	GrantDeviceCode GrantKind = "DeviceCode"
)

// Grant is a session's own grant Secret as it was found; what it keeps stays there.
type Grant struct {
	// Kind is empty where there is none.
	Kind GrantKind
	// SessionID is the session that it is of, and Attempt the number of the attempt that it came from.
	SessionID string
	Attempt   int64
	// Confirmed is whether it is a refresh token of the login that status says is to be confirmed: the person has done so, and a crash came
	// before the access token was kept.
	Confirmed bool
}

// Refreshes is whether the grant renews the session that status describes.
func (g Grant) Refreshes(s *v1.TerminalSession) bool {
	return g.Kind == GrantRefreshToken && s.Status.Token != nil && g.SessionID == s.Status.SessionID
}

// Stale is whether the grant is of no use to the session that status describes: it came with an earlier one, or its code was used.
func (g Grant) Stale(s *v1.TerminalSession) bool {
	return g.Kind != "" && s.Status.Token != nil && !g.Refreshes(s) && g.Attempt < NextAttempt(s)
}

// awaited is whether the grant is of the login that a person is to confirm.
func (g Grant) awaited(s *v1.TerminalSession) bool {
	return g.Confirmed || g.Kind == GrantDeviceCode && s.Status.Attempt != nil && g.Attempt == s.Status.Attempt.Number
}

// Issued is a token that a Secret holds; the token itself stays there.
type Issued struct {
	// SecretName and SecretVersion say where, and which version of it the controller wrote.
	SecretName, SecretVersion string
	// SessionID is the session that the token is of.
	SessionID string
	// Attempt is the number of the attempt that the token came from.
	Attempt int64
	// IssuedAt and ExpiresAt bound its time by the controller's clock, in whole seconds.
	IssuedAt, ExpiresAt time.Time
	// UserEmail and UserSubject are whom the provider says it logged in.
	UserEmail, UserSubject string
	// Request is what the token was asked for, as RequestOf says it; empty where that is not known.
	Request string
	// Refreshable is whether it came with a refresh token.
	Refreshable bool
	// Tell is the provider, where it is to be told when the token is over.
	Tell *v1.ProviderReference
}

// Provider is a provider as it was found.
type Provider struct {
	// Problem says why the provider cannot be asked; the zero value says that it can.
	Problem Problem
	// Version stands for everything that a refusal may rest on: it changes when the provider or the auth token's Secret does.
	Version string
}

// Problem is why something cannot be done.
type Problem struct {
	// Reason is one of the Reason constants of api/v1, and Message tells a person what to do.
	Reason, Message string
}

// Action is the one thing to do next.
type Action string

const (
	// ActionNone means: nothing.
	ActionNone Action = "None"
	// ActionLogin means: ask the provider for a new session's token and put it into the Secret.
	ActionLogin Action = "Login"
	// ActionPoll means: ask the provider whether the person has confirmed the login; if so, put the token into the Secret.
	ActionPoll Action = "Poll"
	// ActionCheck means: ask the provider whether it still honours the token. Nothing comes of it but a Failure that ends the session.
	ActionCheck Action = "Check"
	// ActionRenew means: ask the provider for a new token of the same session and put it into the Secret.
	ActionRenew Action = "Renew"
	// ActionAdopt means: take the token that the Secret holds already into status.
	ActionAdopt Action = "Adopt"
	// ActionMove means: put the token under the name that spec gives now.
	ActionMove Action = "Move"
	// ActionEnd means: delete the session's Secrets. What becomes of the session is reported at the next look, when they are gone: so
	// where many sessions end at once, all Secrets go before the first status.
	ActionEnd Action = "End"
	// ActionCount means: record the attempt that a token came from which status does not know, before that token's Secret goes. Else its
	// number, and with it the session ID and the idempotency key, would be used twice.
	ActionCount Action = "Count"
	// ActionRelease means: let go of a TerminalSession that is being deleted, by removing the finalizer.
	ActionRelease Action = "Release"
	// ActionDelete means: delete the TerminalSession itself.
	ActionDelete Action = "Delete"
)

// FailureKind says what a failed call to a provider means. The words are those of the provider package.
type FailureKind string

// The kinds of failure.
const (
	FailureBusy             FailureKind = "Busy"
	FailureUnavailable      FailureKind = "Unavailable"
	FailureRejected         FailureKind = "Rejected"
	FailureGrantDead        FailureKind = "GrantDead"
	FailureBanned           FailureKind = "Banned"
	FailureAuthTokenMissing FailureKind = "AuthTokenMissing"
	FailureMisconfigured    FailureKind = "Misconfigured"
	// FailureIdentity means: the provider logged in somebody else.
	FailureIdentity FailureKind = "IdentityMismatch"
	// FailureSecretRefused means: the provider gave a token, and the API server does not let it be kept.
	FailureSecretRefused FailureKind = "SecretRefused"
)

// Failure is what a provider said instead of giving a token.
type Failure struct {
	Kind FailureKind
	// Code is the provider's own word for it, and Message tells a person more. Neither carries a secret.
	Code, Message string
	// RetryAfter is the least time that the provider asked to wait; zero when it did not say.
	RetryAfter time.Duration
}

// EndsSession is whether a renewal that failed so leaves no session behind: its Secrets are to be deleted before that is reported.
func (f *Failure) EndsSession() bool {
	return f != nil && (f.Kind == FailureGrantDead || f.Kind == FailureBanned || f.Kind == FailureIdentity)
}

// EndsLogin is whether a login that a person was to confirm is over when it failed so: its code is of no more use.
func (f *Failure) EndsLogin() bool {
	return f.EndsSession() || f != nil && (f.Kind == FailureRejected || f.Kind == FailureSecretRefused)
}

// Pending is a login that waits for a person.
type Pending struct {
	// VerificationURI is where the person goes, UserCode what is typed in there, and VerificationURIComplete has both in one.
	VerificationURI, VerificationURIComplete, UserCode string
	// ExpiresAt is when the code is no longer taken, by the controller's clock.
	ExpiresAt time.Time
}

// Outcome is what came of an action: at most one of the three is set. For ActionNone, ActionAdopt and ActionEnd none is.
type Outcome struct {
	Issued  *Issued
	Pending *Pending
	Failure *Failure
}

// SecretName is where spec says that the session's token is kept.
func SecretName(s *v1.TerminalSession) string {
	if s.Spec.Token.SecretName != "" {
		return s.Spec.Token.SecretName
	}
	return s.Name + v1.TokenSecretSuffix
}

// NextAttempt is the number of the next attempt.
func NextAttempt(s *v1.TerminalSession) int64 {
	if s.Status.Attempt == nil {
		return 1
	}
	return s.Status.Attempt.Number + 1
}

// request returns the value of an annotation that asks for something, and whether it is still open. A value too long for status is
// recorded as its hash.
func request(s *v1.TerminalSession, annotation, handled string) (string, bool) {
	value := s.Annotations[annotation]
	if len(value) > 256 {
		sum := sha256.Sum256([]byte(value))
		value = "sha256:" + hex.EncodeToString(sum[:])
	}
	return value, value != "" && value != handled
}

func loginRequest(s *v1.TerminalSession) (string, bool) {
	return request(s, v1.AnnotationLoginRequested, s.Status.LastHandledLoginRequest)
}

func renewRequest(s *v1.TerminalSession) (string, bool) {
	return request(s, v1.AnnotationRenewRequested, s.Status.LastHandledRenewRequest)
}

// userEmail is the user that spec names; empty for whoever logs in.
func userEmail(s *v1.TerminalSession) string {
	if s.Spec.User == nil {
		return ""
	}
	return s.Spec.User.Email
}
