package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/internal/tokenstore"
)

// refreshTokenLife is for how long a refresh token that is put aside may go on living, as far as anybody knows: no server says.
const refreshTokenLife = 30 * 24 * time.Hour

// end deletes every Secret of the session, which ends with a word for why.
func (r *TerminalSessionReconciler) end(ctx context.Context, seen observation, why string) error {
	var mine []tokenstore.Found
	if seen.Grant.Kind != "" { // first: after a crash, with nothing but the grant, a session that is wanted again would be renewed
		mine = append(mine, seen.grant)
	}
	token := len(mine)
	for _, f := range []tokenstore.Found{seen.kept, seen.wanted} {
		switch f.State {
		case tokenstore.Unchanged, tokenstore.Intact, tokenstore.Altered:
			if len(mine) == token || mine[token].Name != f.Name {
				mine = append(mine, f)
			}
		}
	}
	if err := r.discard(ctx, seen.Session, mine, why); err != nil || !isGoing(seen.Session) {
		return err
	}
	return r.release(ctx, seen)
}

// remove deletes the object of a finished session, as it was seen.
func (r *TerminalSessionReconciler) remove(ctx context.Context, s *v1.TerminalSession) error {
	err := r.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting session %s, which finished ttlSecondsAfterFinished ago: %w", client.ObjectKeyFromObject(s), err)
	}
	return nil
}

// release lets go of a session that is being deleted. Whatever Secrets it has go with it, so it fails where there is one that was not seen: the
// caches of sessions and Secrets do not go together, and nobody would tell the provider of the token in that one.
func (r *TerminalSessionReconciler) release(ctx context.Context, seen observation) error {
	s := seen.Session
	if !controllerutil.ContainsFinalizer(s, v1.Finalizer) {
		return nil
	}
	maybe := []tokenstore.Found{seen.kept}
	if seen.wanted.Name != seen.kept.Name {
		maybe = append(maybe, seen.wanted)
	}
	if seen.provider.Provider == nil || seen.provider.Capabilities().Refreshes {
		maybe = append(maybe, seen.grant)
	}
	for _, f := range maybe {
		if f.State != tokenstore.Absent {
			continue
		}
		if has, err := r.Store.Has(ctx, s, f.Name); err != nil {
			return err
		} else if has {
			return fmt.Errorf("the Secret %s of session %s was not seen yet, and is looked at again", f.Name, client.ObjectKeyFromObject(s))
		}
	}
	return client.IgnoreNotFound(r.finalizer(ctx, s, controllerutil.RemoveFinalizer))
}

// promise puts the finalizer on a session whose provider has to be told of its end, before there is anything to tell. It says whether it
// has: then the session is as it was seen.
func (r *TerminalSessionReconciler) promise(ctx context.Context, seen observation) (promised bool, err error) {
	if tell(seen) == nil || controllerutil.ContainsFinalizer(seen.Session, v1.Finalizer) {
		return false, nil
	}
	return true, r.finalizer(ctx, seen.Session, controllerutil.AddFinalizer)
}

// finalizer adds or removes the finalizer, against the version that was read.
func (r *TerminalSessionReconciler) finalizer(ctx context.Context, s *v1.TerminalSession, change func(client.Object, string) bool) error {
	before := s.DeepCopy()
	if !change(s, v1.Finalizer) {
		return nil
	}
	if err := r.Client.Patch(ctx, s, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("changing the finalizer of session %s: %w", client.ObjectKeyFromObject(s), err)
	}
	r.written.note(client.ObjectKeyFromObject(s), before.ResourceVersion, s.ResourceVersion)
	return nil
}

// tidy deletes Secrets that belong to nobody any more, so that the names are free.
func (r *TerminalSessionReconciler) tidy(ctx context.Context, seen *observation) error {
	left := seen.strays
	for _, f := range []*tokenstore.Found{&seen.kept, &seen.wanted, &seen.grant} {
		if f.State == tokenstore.Going && !f.Emptied {
			if err := r.Store.Empty(ctx, seen.Session.Namespace, *f); err != nil {
				return err
			}
			f.Emptied = true
			if seen.wanted.Name == f.Name { // the two are mostly one
				seen.wanted = *f
			}
		}
		if f.State == tokenstore.Leftover {
			if !slices.Contains(left, *f) { // the two are mostly one
				left = append(left, *f)
			}
			*f = tokenstore.Found{State: tokenstore.Absent, Name: f.Name}
		}
	}
	return r.discard(ctx, seen.Session, left, "")
}

// discard deletes Secrets that the session, as it was seen, has no use for. A view that is behind would take the newest token for such a
// one, so the session is looked up first, unless all that goes is the very version that status tells of. A token that a provider has to be
// told of is put aside before; without a word for how the session ends, the token that status tells of lives on elsewhere.
func (r *TerminalSessionReconciler) discard(ctx context.Context, s *v1.TerminalSession, secrets []tokenstore.Found, end string) error {
	if len(secrets) == 0 {
		return nil
	}
	if slices.ContainsFunc(secrets, func(f tokenstore.Found) bool { return f.State != tokenstore.Unchanged }) {
		if err := r.makeSure(ctx, s); err != nil {
			return err
		}
	}
	if err := r.putAside(ctx, s, secrets, end); err != nil {
		return err
	}
	return r.Store.Delete(ctx, s.Namespace, secrets...)
}

// makeSure fails where a session is not as it was seen: what is about to be done cannot be taken back.
func (r *TerminalSessionReconciler) makeSure(ctx context.Context, s *v1.TerminalSession) error {
	now := &metav1.PartialObjectMetadata{}
	now.SetGroupVersionKind(v1.GroupVersion.WithKind("TerminalSession"))
	if err := r.Store.Live.Get(ctx, client.ObjectKeyFromObject(s), now); err != nil {
		return fmt.Errorf("making sure of session %s: %w", client.ObjectKeyFromObject(s), err)
	}
	if now.UID != s.UID || now.ResourceVersion != s.ResourceVersion {
		return fmt.Errorf("session %s has changed since it was seen, and is looked at again", client.ObjectKeyFromObject(s))
	}
	return nil
}

// putAside keeps the tokens in Secrets that are about to be deleted until their provider has been told of them: an access token together
// with the refresh token that it came with. Where nobody has to be told, nothing is read.
func (r *TerminalSessionReconciler) putAside(ctx context.Context, s *v1.TerminalSession, secrets []tokenstore.Found, end string) error {
	grant, err := r.refreshToken(ctx, s, secrets)
	if err != nil {
		return err
	}
	for _, f := range secrets {
		if f.Grant != "" || !f.Tell && !controllerutil.ContainsFinalizer(s, v1.Finalizer) {
			continue
		}
		token, issue, err := r.Store.Token(ctx, s, f)
		switch {
		case errors.Is(err, tokenstore.ErrAltered):
			if end != v1.ReasonSecretChanged { // which is counted when it is reported
				r.Metrics.Revocation(telemetry.Lost)
			}
			continue
		case err != nil:
			return err
		case issue.Tell == nil, end == "" && recorded(s, issue):
			continue
		case !believable(s, issue.SessionID, issue.Attempt, *issue.Tell):
			r.Metrics.Revocation(telemetry.Lost)
			continue
		}
		req := request(s, issue.SessionID)
		req.Token = token
		if grant.SessionID == issue.SessionID {
			req.RefreshToken, grant.RefreshToken = grant.RefreshToken, ""
		}
		if err := r.aside(ctx, s, req, issue.Attempt, *issue.Tell, issue.ExpiresAt); err != nil {
			return err
		}
	}
	if grant.RefreshToken == "" {
		return nil
	}
	req := request(s, grant.SessionID)
	req.RefreshToken = grant.RefreshToken
	return r.aside(ctx, s, req, grant.Attempt, *grant.Tell, r.Clock.Now())
}

// refreshToken reads the refresh token that is among Secrets, if there is one whose provider has to be told.
func (r *TerminalSessionReconciler) refreshToken(ctx context.Context, s *v1.TerminalSession, secrets []tokenstore.Found) (tokenstore.Grant, error) {
	for _, f := range secrets {
		if f.Grant != tokenstore.GrantRefreshToken || !f.Tell && !controllerutil.ContainsFinalizer(s, v1.Finalizer) {
			continue
		}
		grant, err := r.Store.ReadGrant(ctx, s.Namespace, f)
		switch {
		case errors.Is(err, tokenstore.ErrAltered), err == nil && grant.Tell != nil && !believable(s, grant.SessionID, grant.Attempt, *grant.Tell):
			r.Metrics.Revocation(telemetry.Lost)
		case err != nil, grant.Tell != nil:
			return grant, err
		}
	}
	return tokenstore.Grant{}, nil
}

// believable is whether a token can be what its Secret says. Whoever may write Secrets beside a session must not choose which provider is
// told of which session's end: the provider is the one that spec or status name, and the session's ID follows from the object.
func believable(s *v1.TerminalSession, sessionID string, attempt int64, of v1.ProviderReference) bool {
	if b := s.Status.Binding; of != s.Spec.ProviderRef && (b == nil || b.ProviderRef == nil || of != *b.ProviderRef) {
		return false
	}
	if sessionID == s.Status.SessionID && sessionID != "" {
		return true
	}
	// A session keeps its ID through renewals, which are attempts as well.
	for n := min(attempt, session.NextAttempt(s)); n > 0 && n > attempt-mostRenewals; n-- {
		if sessionIDOf(s, n) == sessionID {
			return true
		}
	}
	return false
}

// mostRenewals bounds how far back a session's beginning is looked for.
const mostRenewals = 1000

// aside puts tokens aside. One that the API server will not keep is counted and ends by itself: no end waits for the controller's namespace
// either, when that is full, closed by a policy, or going.
func (r *TerminalSessionReconciler) aside(ctx context.Context, s *v1.TerminalSession, req provider.Request, attempt int64, of v1.ProviderReference, expiresAt time.Time) error {
	if until := r.Clock.Now().Add(refreshTokenLife); req.RefreshToken != "" && expiresAt.Before(until) {
		expiresAt = until
	}
	aside, err := revocationOf(req, s.UID, attempt, of, expiresAt)
	if err != nil {
		return err
	}
	if err = r.Store.PutAside(ctx, r.Providers.Namespace, aside); refused(err) {
		r.Metrics.Revocation(telemetry.Lost)
		log.FromContext(ctx).Info("a token cannot be put aside for its provider to be told, and ends by itself",
			"namespace", r.Providers.Namespace, "reason", apierrors.ReasonForError(err))
		return nil
	}
	return err
}

// late takes what came of a call whose session has not waited for it, since it was to end. Nobody needs the token that there may be.
func (r *TerminalSessionReconciler) late(ctx context.Context, seen observation, q question, answer provider.Result, err error, began time.Time) {
	said, well := failure(err), "Issued"
	if answer.Pending != nil {
		well = "Pending"
	}
	if !errors.Is(err, errNotAsked) {
		r.Metrics.ProviderRequest(seen.provider.Kind, q.operation, outcomeName(said, well), r.Clock.Since(began))
	}
	switch {
	case said == nil && answer.Token != nil:
		r.giveBack(ctx, seen, q, *answer.Token, began)
	case q.operation != opRenew && unclear(said, err) && seen.provider.Capabilities().RevokesBySession:
		r.revoke(ctx, seen, request(seen.Session, q.sessionID), began.Add(refreshTokenLife))
	}
}

// unclear is whether a provider may have done what it was asked for, though nobody has heard of it.
func unclear(said *session.Failure, err error) bool {
	return said != nil && said.Kind == session.FailureUnavailable && !errors.Is(err, errNotAsked) && !errors.Is(err, errNoTurn)
}

// giveBack puts aside a token that is discarded, if the provider has to be told of it.
func (r *TerminalSessionReconciler) giveBack(ctx context.Context, seen observation, q question, token provider.Token, asked time.Time) {
	req := request(seen.Session, q.sessionID)
	if req.Token, req.RefreshToken = token.Value, token.RefreshToken; req.Token == "" && req.RefreshToken == "" {
		return
	}
	r.revoke(ctx, seen, req, asked.Add(token.ExpiresIn))
}

// revoke puts aside what is discarded, if the provider has to be told of it.
func (r *TerminalSessionReconciler) revoke(ctx context.Context, seen observation, req provider.Request, expiresAt time.Time) {
	issuer := tell(seen)
	if issuer == nil {
		return
	}
	if err := r.aside(ctx, seen.Session, req, session.NextAttempt(seen.Session), *issuer, expiresAt); err != nil {
		r.Metrics.Revocation(telemetry.Lost)
		log.FromContext(ctx).Info("a discarded token could not be put aside and ends by itself", "reason", apierrors.ReasonForError(err))
	}
}

// tell is the provider of a session where it has to be told when a token is over, or nil.
func tell(seen observation) *v1.ProviderReference {
	if can := seen.provider.Capabilities(); can.RevokesByToken || can.RevokesBySession {
		return &seen.Session.Spec.ProviderRef
	}
	return nil
}

// refused is whether the API server will not keep a Secret, and will not at another try.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsNotFound(err) || apierrors.IsRequestEntityTooLargeError(err)
}
