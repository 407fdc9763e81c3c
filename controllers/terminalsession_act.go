package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/internal/tokenstore"
)

// maxToken is the largest token that is kept: a Secret holds 1 MiB, and no header a hundredth of that.
const maxToken = 64 << 10

// act does the one thing that was decided. What a provider answers is an outcome; an error is one of the API server's, after which the
// same is tried again.
func (r *TerminalSessionReconciler) act(ctx context.Context, seen observation, d session.Decision) (session.Outcome, error) {
	if err := r.tidy(ctx, &seen); err != nil {
		return session.Outcome{}, err
	}
	switch d.Action {
	case session.ActionLogin:
		return r.login(ctx, seen)
	case session.ActionRenew:
		return r.renew(ctx, seen)
	case session.ActionMove:
		return r.move(ctx, seen)
	case session.ActionEnd:
		return session.Outcome{}, r.end(ctx, seen, cmp.Or(d.End, v1.ReasonTerminating))
	case session.ActionRelease:
		if seen.Session.Status.Token != nil { // somebody else has deleted its Secret
			r.Metrics.Revocation(telemetry.Lost)
		}
		return session.Outcome{}, r.release(ctx, seen.Session)
	case session.ActionDelete:
		return session.Outcome{}, r.remove(ctx, seen.Session)
	}
	return session.Outcome{}, nil
}

func (r *TerminalSessionReconciler) login(ctx context.Context, seen observation) (session.Outcome, error) {
	s := seen.Session
	attempt := session.NextAttempt(s)
	return r.obtain(ctx, seen, "Login", sessionIDOf(s, attempt), seen.wanted, func(ctx context.Context, req provider.Request) (provider.Token, error) {
		answer, err := seen.provider.Login(ctx, req)
		if err != nil {
			return provider.Token{}, err
		}
		if answer.Token == nil {
			return provider.Token{}, provider.Errorf(provider.Misconfigured, "the provider asks for a person, which this version does not support")
		}
		return *answer.Token, nil
	})
}

// sessionIDOf is the ID of the session that an attempt to log in makes. It follows from the attempt, so that one made again after a crash is
// the same session; and so that nobody who writes a Secret can have it pass for another's session.
func sessionIDOf(s *v1.TerminalSession, attempt int64) string {
	return uuid.NewSHA1(uuid.NewSHA1(uuid.NameSpaceURL, []byte(s.UID)), []byte(strconv.FormatInt(attempt, 10))).String()
}

func (r *TerminalSessionReconciler) renew(ctx context.Context, seen observation) (session.Outcome, error) {
	outcome, err := r.obtain(ctx, seen, "Renew", seen.Session.Status.SessionID, seen.kept, func(ctx context.Context, req provider.Request) (provider.Token, error) {
		return seen.provider.Renew(ctx, req)
	})
	if err == nil && outcome.Failure.EndsSession() {
		err = r.end(ctx, seen, string(outcome.Failure.Kind))
	}
	return outcome, err
}

// obtain asks the provider for a token and puts it into the Secret.
func (r *TerminalSessionReconciler) obtain(ctx context.Context, seen observation, operation, sessionID string, over tokenstore.Found,
	ask func(context.Context, provider.Request) (provider.Token, error),
) (session.Outcome, error) {
	s := seen.Session
	req := request(s, sessionID)
	err := r.promise(ctx, seen)
	if err != nil {
		return session.Outcome{}, err
	}
	if req.AuthToken, err = r.authToken(ctx, seen); err != nil {
		return session.Outcome{}, err
	}
	if missing := secureLogin(seen.provider, req); missing != nil {
		return session.Outcome{Failure: missing}, nil
	}
	asked := r.Clock.Now()
	var token provider.Token
	err = r.calls.make(ctx, s, seen.provider, func(ctx context.Context) (err error) {
		token, err = ask(ctx, req)
		return err
	})
	if full := (*noRoom)(nil); errors.As(err, &full) || errors.Is(err, errCalledOff) {
		return session.Outcome{}, err
	}
	refused := failure(err)
	if refused == nil {
		refused = check(s, token)
	}
	r.Metrics.ProviderRequest(seen.provider.Kind, operation, outcomeName(refused), r.Clock.Since(asked))
	req.Token = token.Value
	if refused != nil {
		r.revoke(ctx, seen, req, asked.Add(token.ExpiresIn))
		return session.Outcome{Failure: refused}, nil
	}
	if err := r.stillWanted(ctx, s, token.Identity.Email); err != nil {
		r.revoke(ctx, seen, req, asked.Add(token.ExpiresIn))
		return session.Outcome{}, err
	}

	// Expiry counts from the moment of the request, by this clock and not by the provider's.
	asked = asked.Truncate(time.Second)
	issue := tokenstore.Issue{
		SessionID: sessionID, Attempt: session.NextAttempt(s), IssuedAt: asked, ExpiresAt: asked.Add(token.ExpiresIn).Truncate(time.Second),
		Email: token.Identity.Email, Subject: token.Identity.Subject, Request: session.RequestOf(s),
		Tell: tell(seen),
	}
	outcome, err := r.put(ctx, s, over, token.Value, issue)
	if refused := secretRefused(over.Name, err); refused != nil {
		r.revoke(ctx, seen, req, issue.ExpiresAt)
		return session.Outcome{Failure: refused}, nil
	}
	return outcome, err
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

// secretRefused is why the API server does not let a token be kept, if that is what an error says: trying again at once would only have the
// provider issue one token after the other. What the API server says is left out, since a policy may quote what it refuses.
func secretRefused(name string, err error) *session.Failure {
	if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) && !apierrors.IsRequestEntityTooLargeError(err) ||
		apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return &session.Failure{
		Kind:    session.FailureSecretRefused,
		Message: fmt.Sprintf("The API server refuses Secret %s (%s): look for a quota, an admission policy or a missing permission.", name, apierrors.ReasonForError(err)),
	}
}

func (r *TerminalSessionReconciler) put(ctx context.Context, s *v1.TerminalSession, over tokenstore.Found, token string, issue tokenstore.Issue) (session.Outcome, error) {
	version, err := r.Store.Put(ctx, s, over, token, issue)
	if err != nil {
		return session.Outcome{}, err
	}
	return session.Outcome{Issued: new(issued(over.Name, version, issue))}, nil
}

// move puts the token under the name that spec gives now. The Secret under the old name is a stray once status tells of the new one.
func (r *TerminalSessionReconciler) move(ctx context.Context, seen observation) (session.Outcome, error) {
	token, issue, err := r.Store.Token(ctx, seen.Session, seen.kept)
	if err != nil {
		return session.Outcome{}, err
	}
	return r.put(ctx, seen.Session, seen.wanted, token, issue)
}

// authToken reads the auth token that the session names. One that is not there is empty and no error: the provider decides whether it
// needs one.
func (r *TerminalSessionReconciler) authToken(ctx context.Context, seen observation) (string, error) {
	s := seen.Session
	ref := s.Spec.AuthTokenSecretRef
	if ref == nil || seen.provider.Kind == kindEmbedded && !seen.provider.SecureLogin {
		return "", nil
	}
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: s.Namespace, Name: ref.Name}
	if err := r.Store.Live.Get(tokenstore.Unlogged(ctx), key, secret); apierrors.IsNotFound(err) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("reading the auth token's Secret %s: %w", key, err)
	}
	return string(secret.Data[ref.Key]), nil
}

func request(s *v1.TerminalSession, sessionID string) provider.Request {
	req := provider.Request{
		IdempotencyKey: fmt.Sprintf("%s/%d", s.UID, session.NextAttempt(s)),
		Session: provider.Session{
			Namespace: s.Namespace, Name: s.Name, ID: sessionID,
			TerminalID: s.Spec.Terminal.ID, SerialNumber: s.Spec.Terminal.SerialNumber, MerchantID: s.Spec.MerchantID,
			Purpose: string(s.Spec.Purpose), Type: string(s.Spec.Type),
			Scopes: s.Spec.Token.Scopes, Audiences: s.Spec.Token.Audiences,
		},
	}
	if d := s.Spec.Token.Lifetime; d != nil {
		req.Session.Lifetime = d.Duration
	}
	if u := s.Spec.User; u != nil {
		req.Session.UserEmail, req.Session.UserName = u.Email, u.Name
	}
	if d := s.Spec.Display; d != nil {
		req.Session.Announce = d.Announce
	}
	return req
}

// secureLogin refuses to go on without the auth token where the provider demands one.
func secureLogin(p resolved, req provider.Request) *session.Failure {
	if !p.SecureLogin || req.AuthToken != "" {
		return nil
	}
	return &session.Failure{
		Kind:    session.FailureAuthTokenMissing,
		Message: "The provider has secure login: have spec.authTokenSecretRef name a Secret, and put the user's auth token into it.",
	}
}

// check looks at what a provider gave before it is kept.
func check(s *v1.TerminalSession, token provider.Token) *session.Failure {
	switch {
	case !session.IdentityFits(s, token.Identity.Email):
		return &session.Failure{Kind: session.FailureIdentity, Message: "The provider logged in somebody else than spec.user; that token was discarded."}
	case token.Value == "" || token.ExpiresIn < time.Second:
		return &session.Failure{Kind: session.FailureUnavailable, Message: "The provider answered without a token that is valid for a second or more."}
	case len(token.Value) > maxToken:
		return &session.Failure{Kind: session.FailureRejected, Message: "The provider's token is larger than 64 KiB: have it issue smaller ones."}
	}
	return nil
}

func failure(err error) *session.Failure {
	e := provider.AsError(err)
	if e == nil {
		return nil
	}
	return &session.Failure{Kind: session.FailureKind(e.Kind), Code: e.Code, Message: e.Message, RetryAfter: e.RetryAfter}
}

func outcomeName(f *session.Failure) string {
	if f == nil {
		return "Issued"
	}
	return string(f.Kind)
}
