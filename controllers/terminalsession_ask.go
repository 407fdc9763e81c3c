package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/tokenstore"
)

// The operations, as metrics name them.
const (
	opLogin = "Login"
	opPoll  = "Poll"
	opRenew = "Renew"
	opCheck = "Check"
)

// question is one call for a token.
type question struct {
	// operation names it in metrics.
	operation string
	// sessionID is the session that the token is to be of, and over what the token takes the place of.
	sessionID string
	over      tokenstore.Found
	// sure is whether the provider may be asked only if the session is still as it was seen.
	sure bool
	// read makes the request complete, where there is more to it. It is called once the provider may be asked.
	read func(context.Context, *provider.Request) error
	ask  func(context.Context, provider.Request) (provider.Result, error)
}

func (r *TerminalSessionReconciler) login(ctx context.Context, seen observation) (session.Outcome, error) {
	s := seen.Session
	return r.obtain(ctx, seen, question{
		operation: opLogin, sessionID: sessionIDOf(s, session.NextAttempt(s)), over: seen.wanted,
		// Asked twice, it would log in twice, and of a token for a session that is gone nobody would tell it: a view that is behind must not
		// make it so.
		sure: !seen.provider.Capabilities().Idempotent || tell(seen) != nil,
		ask: func(ctx context.Context, req provider.Request) (provider.Result, error) {
			return seen.provider.Login(ctx, req)
		},
	})
}

func (r *TerminalSessionReconciler) renew(ctx context.Context, seen observation) (session.Outcome, error) {
	s := seen.Session
	outcome, err := r.obtain(ctx, seen, question{
		operation: opRenew, sessionID: s.Status.SessionID, over: seen.kept,
		read: func(ctx context.Context, req *provider.Request) error {
			if seen.Secret.Refreshable {
				grant, err := r.Store.ReadGrant(ctx, s.Namespace, seen.grant)
				if errors.Is(err, tokenstore.ErrAltered) { // without one the provider may have another way, if the session is there
					err = r.makeSure(ctx, s)
				}
				if err != nil {
					return err
				}
				if seen.grant.Attempt >= session.NextAttempt(s) {
					// This attempt has been made before, and its token may be there though the view does not show it: to refresh again would end
					// that one.
					if _, _, err := r.Store.Token(ctx, s, seen.kept); err != nil && !errors.Is(err, tokenstore.ErrAltered) {
						return err
					}
				}
				req.RefreshToken = grant.RefreshToken
			} else if err := r.makeSureOfGrant(ctx, seen); err != nil {
				return err
			}
			if seen.provider.Kind != kindWebhook || seen.Secret.State != session.SecretCurrent {
				return nil
			}
			var err error
			req.Token, _, err = r.Store.Token(ctx, s, seen.kept)
			return err
		},
		ask: func(ctx context.Context, req provider.Request) (provider.Result, error) {
			token, err := seen.provider.Renew(ctx, req)
			return provider.Result{Token: &token}, err
		},
	})
	if err == nil && outcome.Failure.EndsSession() {
		err = r.end(ctx, seen, string(outcome.Failure.Kind))
	}
	return outcome, err
}

// makeSureOfGrant fails where a grant has come up that was not seen. The caches of sessions and Secrets do not go together: a renewal without the
// refresh token would be another login, and what came of the first nobody would have any more.
func (r *TerminalSessionReconciler) makeSureOfGrant(ctx context.Context, seen observation) error {
	s := seen.Session
	if seen.grant.State != tokenstore.Absent || !seen.provider.Capabilities().Refreshes || s.Status.Attempt == nil {
		return nil
	}
	now, err := r.Store.Grant(ctx, s, s.Status.Attempt.Number)
	if err == nil && now.State == tokenstore.Intact {
		err = fmt.Errorf("the grant of session %s was not seen yet, and is looked at again", client.ObjectKeyFromObject(s))
	}
	return err
}

// poll asks whether a person has confirmed the login. What it was asked with goes at the next look, once it is recorded how the login
// has ended: the other way round, a crash would make a denial a new login.
func (r *TerminalSessionReconciler) poll(ctx context.Context, seen observation) (session.Outcome, error) {
	s, key := seen.Session, client.ObjectKeyFromObject(seen.Session)
	known, asked := r.pace.pollOf(s)
	pending := provider.Pending{Interval: known.interval}
	read := func(ctx context.Context, req *provider.Request) error {
		grant, err := r.Store.ReadGrant(ctx, s.Namespace, seen.grant)
		if err == nil {
			req.RefreshToken, pending.Handle, pending.Interval = grant.RefreshToken, grant.DeviceCode, max(pending.Interval, grant.Interval)
		}
		return err
	}
	if !asked {
		// Another process may have asked a moment ago.
		err := read(ctx, &provider.Request{})
		if err == nil {
			r.pace.pollAgain(key, s.Status.Attempt.Number, pending.Interval, r.Clock.Now())
		}
		return polled(session.Outcome{}, err)
	}
	outcome, err := r.obtain(ctx, seen, question{
		operation: opPoll, sessionID: confirmedID(s), over: seen.wanted, read: read,
		ask: func(ctx context.Context, req provider.Request) (provider.Result, error) {
			if req.RefreshToken != "" { // it was confirmed, and a crash came before the access token was kept
				token, err := seen.provider.Renew(ctx, req)
				return provider.Result{Token: &token}, err
			}
			answer, err := seen.provider.Poll(ctx, req, pending)
			if answer.Pending != nil {
				pending.Interval = max(pending.Interval, answer.Pending.Interval)
			}
			return answer, err
		},
	})
	if !unasked(err) {
		r.pace.pollAgain(key, s.Status.Attempt.Number, pending.Interval, r.Clock.Now())
	}
	if err == nil && outcome.Issued != nil && seen.Grant.Kind == session.GrantDeviceCode && !outcome.Issued.Refreshable {
		err = r.Store.Delete(ctx, s.Namespace, seen.grant) // else the refresh token has taken its place
	}
	return polled(outcome, err)
}

// polled makes a failed login of a grant that somebody has altered.
func polled(outcome session.Outcome, err error) (session.Outcome, error) {
	if errors.Is(err, tokenstore.ErrAltered) {
		return session.Outcome{Failure: &session.Failure{
			Kind: session.FailureGrantDead, Message: "Somebody else has changed the Secret that the login was to be asked after with: ask for a new login.",
		}}, nil
	}
	return outcome, err
}

// check asks whether the provider still honours the token. What goes wrong with the question says nothing of the session.
func (r *TerminalSessionReconciler) check(ctx context.Context, seen observation) (session.Outcome, error) {
	s, req := seen.Session, request(seen.Session, seen.Session.Status.SessionID)
	began, status := r.Clock.Now(), provider.Status{}
	err := r.call(context.WithoutCancel(ctx), seen, session.PriorityResync, asked{
		read: func(ctx context.Context) (err error) {
			req.Token, _, err = r.Store.Token(ctx, s, seen.kept)
			return err
		},
		ask: func(ctx context.Context) (err error) {
			status, err = seen.provider.Check(ctx, req)
			return err
		},
		late: func(error) {},
	})
	if unasked(err) {
		return session.Outcome{}, err
	}
	r.pace.checked(s, seen.provider.CheckEvery, r.Clock.Now())
	ended, said := over(status), failure(err)
	if said != nil {
		ended = nil
	}
	if !errors.Is(err, errNotAsked) {
		r.Metrics.ProviderRequest(seen.provider.Kind, opCheck, outcomeName(cmp.Or(said, ended), "Active"), r.Clock.Since(began))
	}
	if ended == nil {
		return session.Outcome{}, nil
	}
	return session.Outcome{Failure: ended}, r.end(ctx, seen, string(ended.Kind))
}

// over is why a token is over of which the provider says so, or nil.
func over(status provider.Status) *session.Failure {
	switch {
	case status.Banned:
		return &session.Failure{Kind: session.FailureBanned, Code: status.Code, Message: "The provider says that the user or the device is barred or deleted."}
	case !status.Active:
		return &session.Failure{
			Kind: session.FailureGrantDead, Code: status.Code, Message: "The provider no longer honours the token: somebody has revoked it, or signed out there.",
		}
	}
	return nil
}

// call makes a call that is so urgent, while this process leads.
func (r *TerminalSessionReconciler) call(ctx context.Context, seen observation, priority int, do asked) error {
	read := do.read
	do.read = func(ctx context.Context) error {
		if err := read(ctx); err != nil {
			return err
		}
		if !whether(r.Providers.Leading) { // it may have stood still since the look began
			return errNotLeading
		}
		return nil
	}
	return r.calls.make(ctx, seen.Session, priority, seen.provider, do)
}

// obtain asks the provider for a token and puts it into the Secret, or what to ask again with into the grant. Once it has begun to ask it
// goes on, though the manager is told to stop or the session is to end: what a provider gives it gives once.
func (r *TerminalSessionReconciler) obtain(ctx context.Context, seen observation, q question) (session.Outcome, error) {
	ctx = context.WithoutCancel(ctx)
	req := request(seen.Session, q.sessionID)
	began, answer := r.Clock.Now(), provider.Result{}
	err := r.call(ctx, seen, session.Priority(seen.Session, began), asked{
		read: func(ctx context.Context) (err error) {
			promised, err := r.promise(ctx, seen)
			if err == nil && q.sure && !promised {
				err = r.makeSure(ctx, seen.Session)
			}
			if err == nil && q.read != nil {
				err = q.read(ctx, &req)
			}
			if err == nil {
				req.AuthToken, err = r.authToken(ctx, seen)
			}
			return err
		},
		ask: func(ctx context.Context) (err error) {
			if err := secureLogin(seen.provider, req); err != nil {
				return err
			}
			answer, err = q.ask(ctx, req)
			return err
		},
		late: func(err error) { r.late(ctx, seen, q, answer, err, began) },
	})
	if errors.Is(err, errCalledOff) && !errors.Is(err, errNotAsked) {
		r.spent.note(seen.Session)
	}
	if unasked(err) {
		return session.Outcome{}, err
	}
	said := failure(err)
	if said == nil && answer.Pending != nil {
		r.Metrics.ProviderRequest(seen.provider.Kind, q.operation, "Pending", r.Clock.Since(began))
		return r.wait(ctx, seen, q, *answer.Pending, began)
	}
	token := provider.Token{}
	if said == nil {
		token = *answer.Token
		said = check(seen, q, req, token)
	}
	if !errors.Is(err, errNotAsked) {
		r.Metrics.ProviderRequest(seen.provider.Kind, q.operation, outcomeName(said, "Issued"), r.Clock.Since(began))
	}
	return r.take(ctx, seen, q, req, token, said, began)
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
	return strings.TrimSpace(string(secret.Data[ref.Key])), nil // a file's last line break is no part of it
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
func secureLogin(p resolved, req provider.Request) error {
	if !p.SecureLogin || req.AuthToken != "" {
		return nil
	}
	return &provider.Error{
		Kind: provider.AuthTokenMissing, Err: errNotAsked,
		Message: "The provider has secure login: have spec.authTokenSecretRef name a Secret, and put the user's auth token into it.",
	}
}

// check looks at what a provider gave before it is kept.
func check(seen observation, q question, req provider.Request, token provider.Token) *session.Failure {
	switch who := token.Identity.Email; {
	case !session.IdentityFits(seen.Session, who), q.operation == opRenew && !session.SamePerson(seen.Session, who, token.Identity.Subject):
		return &session.Failure{Kind: session.FailureIdentity, Message: "The provider logged in somebody else than spec.user; that token was discarded."}
	case who == "" && seen.provider.NamesUsers && req.RefreshToken == "" && seen.Session.Spec.User != nil:
		return &session.Failure{
			Kind: session.FailureIdentity,
			Message: "The provider does not say who logged in, so nobody knows whether it was spec.user; that token was discarded. " +
				"Add the scopes openid and email to the provider's spec.oauth2.scopes.",
		}
	case token.Value == "" || token.ExpiresIn < leastLife:
		return &session.Failure{
			Kind: session.FailureUnavailable, Message: "The provider answered without a token that lives for two seconds or more: have it issue such.",
		}
	case len(token.Value) > maxToken || len(token.RefreshToken) > maxToken:
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

// outcomeName is how metrics name what came of a call.
func outcomeName(f *session.Failure, well string) string {
	if f == nil {
		return well
	}
	return string(f.Kind)
}
