package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/tokenstore"
)

// maxToken is the largest token that is kept: a Secret holds 1 MiB, and no header a hundredth of that.
const maxToken = 64 << 10

// leastLife is the shortest that a token may live to be kept. One of a second would be due for renewal as soon as it is there, and each
// renewal's own write wakes the session: one would follow the other without a pause.
const leastLife = 2 * time.Second

// take keeps a token, or discards it where it cannot be used, or not any more. A refresh token that a renewal has replaced is kept first,
// whatever becomes of the rest: it is got but once, and the session lives by it from then on.
func (r *TerminalSessionReconciler) take(ctx context.Context, seen observation, q question, req provider.Request, token provider.Token,
	refused *session.Failure, asked time.Time,
) (session.Outcome, error) {
	discard := func() { r.giveBack(ctx, seen, q, token, asked) }
	var err error
	into := q.over.Name
	renewal, rotated := q.operation == opRenew, token.RefreshToken != "" && token.RefreshToken != req.RefreshToken
	if renewal && rotated {
		into, err = r.keepGrant(ctx, seen, q, token)
	}
	// To revoke one token of a family may end all of it, so what a living session may hang on is left alone.
	spare := !renewal || req.RefreshToken == "" && (token.RefreshToken == "" || isApart(seen, into, err))
	if refused != nil {
		if spare || refused.EndsSession() {
			discard()
		}
		return session.Outcome{Failure: refused}, err
	}
	if late := r.stillWanted(ctx, seen.Session, token.Identity.Email); late != nil {
		discard()
		return session.Outcome{}, late
	}
	if !renewal {
		if left := r.leftProvider(ctx, seen.Session); left != nil {
			discard()
			r.spent.note(seen.Session)
			return session.Outcome{}, left
		}
	}
	if rotated && !renewal {
		into, err = r.keepGrant(ctx, seen, q, token)
	}
	outcome := session.Outcome{}
	if err == nil {
		into = q.over.Name
		outcome, err = r.keep(ctx, seen, q, token, asked)
	}
	refused = secretRefused(into, err)
	// What a person has confirmed is gone on with, by the refresh token that is kept.
	resumes := q.operation == opPoll && rotated
	orphan := err != nil && notWritten(err) && !seen.provider.Capabilities().Idempotent && !resumes
	if spare && (refused != nil || orphan) {
		discard()
	}
	if refused != nil {
		return session.Outcome{Failure: refused}, nil
	}
	return outcome, err
}

// isApart is whether a renewal that was another login has come to nothing: its refresh token was not kept, and the session hangs on another.
func isApart(seen observation, into string, err error) bool {
	return err != nil && (notWritten(err) || secretRefused(into, err) != nil) && !seen.provider.Capabilities().Idempotent
}

// keepGrant keeps a refresh token, and returns the name of its Secret.
func (r *TerminalSessionReconciler) keepGrant(ctx context.Context, seen observation, q question, token provider.Token) (string, error) {
	return tokenstore.GrantName(seen.Session.Name), r.Store.PutGrant(ctx, seen.Session, seen.grant, tokenstore.Grant{
		SessionID: q.sessionID, Attempt: session.NextAttempt(seen.Session), RefreshToken: token.RefreshToken, Tell: tell(seen),
	})
}

// keep puts an access token into its Secret.
func (r *TerminalSessionReconciler) keep(ctx context.Context, seen observation, q question, token provider.Token, asked time.Time) (session.Outcome, error) {
	s := seen.Session
	// Expiry counts from the moment of the request, by this clock and not by the provider's.
	asked = asked.Truncate(time.Second)
	issue := tokenstore.Issue{
		SessionID: q.sessionID, Attempt: session.NextAttempt(s), IssuedAt: asked, ExpiresAt: asked.Add(token.ExpiresIn).Truncate(time.Second),
		Email: token.Identity.Email, Subject: token.Identity.Subject, Request: session.RequestOf(s),
		Tell: tell(seen),
	}
	if was := s.Status.User; was != nil && q.operation == opRenew { // which need not say it again
		issue.Email, issue.Subject = cmp.Or(issue.Email, was.Email), cmp.Or(issue.Subject, was.Subject)
	}
	var outcome session.Outcome
	err := r.quietly(seen, q.over, func() (version string, err error) {
		if outcome, err = r.put(ctx, s, q.over, token.Value, issue); err == nil {
			version = outcome.Issued.SecretVersion
		}
		return version, err
	})
	if err == nil {
		outcome.Issued.Refreshable = token.RefreshToken != ""
		r.pace.checked(s, seen.provider.CheckEvery, r.Clock.Now()) // it was asked a moment ago
	}
	return outcome, err
}

// quietly writes a token without being woken by that, unless there may be something to tidy up after it.
func (r *TerminalSessionReconciler) quietly(seen observation, over tokenstore.Found, write func() (version string, err error)) error {
	s, key := seen.Session, client.ObjectKeyFromObject(seen.Session)
	moves := s.Status.Token != nil && s.Status.Token.SecretName != over.Name
	if moves || len(seen.strays) > 0 || seen.grant.State != tokenstore.Absent {
		_, err := write()
		return err
	}
	r.tokens.begin(key, over.Name)
	version, err := write()
	r.tokens.end(key, version)
	return err
}

// wait keeps what to ask with whether a person has confirmed the login.
func (r *TerminalSessionReconciler) wait(ctx context.Context, seen observation, q question, pending provider.Pending, asked time.Time) (session.Outcome, error) {
	s := seen.Session
	if session.Confirming(s) && q.operation == opPoll {
		return session.Outcome{Pending: &session.Pending{}}, nil
	}
	attempt, expires := session.NextAttempt(s), asked.Add(pending.ExpiresIn)
	err := r.Store.PutGrant(ctx, s, seen.grant, tokenstore.Grant{
		SessionID: q.sessionID, Attempt: attempt, DeviceCode: pending.Handle, Interval: pending.Interval, ExpiresAt: expires,
	})
	if refused := secretRefused(tokenstore.GrantName(s.Name), err); refused != nil {
		return session.Outcome{Failure: refused}, nil
	}
	if err != nil {
		return session.Outcome{}, err
	}
	r.pace.pollAgain(client.ObjectKeyFromObject(s), attempt, pending.Interval, r.Clock.Now())
	return session.Outcome{Pending: &session.Pending{
		VerificationURI: pending.VerificationURI, VerificationURIComplete: pending.VerificationURIComplete, UserCode: pending.UserCode,
		ExpiresAt: expires,
	}}, nil
}

// notWritten is whether it is certain that a Secret was not written. Else its token may be adopted yet, and must not be revoked.
func notWritten(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsTooManyRequests(err) || errors.Is(err, tokenstore.ErrExists) || errors.Is(err, tokenstore.ErrOverwritten)
}

// secretRefused is why the API server does not let a token be kept, if that is what an error says: trying again at once would only have the
// provider issue one token after the other. What the API server says is left out, since a policy may quote what it refuses.
func secretRefused(name string, err error) *session.Failure {
	if errors.Is(err, tokenstore.ErrGrantTaken) {
		return &session.Failure{
			Kind:    session.FailureSecretRefused,
			Message: "The Secret that the session's grant is to have, its name followed by -grant, is somebody else's: remove it, or give that one another name.",
		}
	}
	if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) && !apierrors.IsRequestEntityTooLargeError(err) ||
		apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return &session.Failure{
		Kind:    session.FailureSecretRefused,
		Message: fmt.Sprintf("The API server refuses Secret %s (%s): look for a quota, an admission policy or a missing permission.", name, apierrors.ReasonForError(err)),
	}
}

// overtaken is how an action ends when a ban or a logout has come up while the provider was being asked.
type overtaken struct {
	ban    *session.Ban
	logout *session.Logout
	token  session.Discarded
}

func (e *overtaken) Error() string {
	return "a ban or a logout has come up meanwhile: the token was discarded"
}

// stillWanted fails where a ban or a logout has come up for the session, or there is a ban on whoever was logged in.
func (r *TerminalSessionReconciler) stillWanted(ctx context.Context, s *v1.TerminalSession, email string) error {
	late, as := &overtaken{token: session.Discarded{UserEmail: email}}, s
	if s.Spec.User == nil && email != "" {
		as = s.DeepCopy()
		as.Status.User = &v1.UserStatus{Email: email}
	}
	var err error
	if late.ban, err = r.Orders.ban(ctx, as); err != nil {
		return err
	}
	if late.logout, err = r.Orders.logout(ctx, as); err != nil {
		return err
	}
	if late.ban == nil && late.logout == nil {
		return nil
	}
	return late
}

// leftProvider fails where the session has been given another provider, as far as the cache tells. Its first token of the one before has to be
// given back now: later, nobody believes a Secret that the session was ever at a provider which neither spec nor status names.
func (r *TerminalSessionReconciler) leftProvider(ctx context.Context, s *v1.TerminalSession) error {
	now := &v1.TerminalSession{}
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(s), now, client.UnsafeDisableDeepCopy); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading session %s: %w", client.ObjectKeyFromObject(s), err)
	}
	if now.UID == s.UID && now.Spec.ProviderRef != s.Spec.ProviderRef {
		return fmt.Errorf("session %s was given another provider while the one before was asked, and the token of that one was discarded", client.ObjectKeyFromObject(s))
	}
	return nil
}
