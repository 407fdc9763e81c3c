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

// end deletes every Secret of the session, which ends with a word for why.
func (r *TerminalSessionReconciler) end(ctx context.Context, seen observation, why string) error {
	var mine []tokenstore.Found
	for _, f := range []tokenstore.Found{seen.kept, seen.wanted} {
		switch f.State {
		case tokenstore.Unchanged, tokenstore.Intact, tokenstore.Altered:
			if len(mine) == 0 || mine[0].Name != f.Name {
				mine = append(mine, f)
			}
		}
	}
	if err := r.discard(ctx, seen.Session, mine, why); err != nil || !isGoing(seen.Session) {
		return err
	}
	return r.release(ctx, seen.Session)
}

// remove deletes the object of a finished session, as it was seen.
func (r *TerminalSessionReconciler) remove(ctx context.Context, s *v1.TerminalSession) error {
	err := r.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting session %s, which finished ttlSecondsAfterFinished ago: %w", client.ObjectKeyFromObject(s), err)
	}
	return nil
}

// release lets go of a session that is being deleted.
func (r *TerminalSessionReconciler) release(ctx context.Context, s *v1.TerminalSession) error {
	return client.IgnoreNotFound(r.finalizer(ctx, s, controllerutil.RemoveFinalizer))
}

// promise puts the finalizer on a session whose provider has to be told of its end, before there is anything to tell.
func (r *TerminalSessionReconciler) promise(ctx context.Context, seen observation) error {
	if tell(seen) == nil {
		return nil
	}
	return r.finalizer(ctx, seen.Session, controllerutil.AddFinalizer)
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
	for _, f := range []*tokenstore.Found{&seen.kept, &seen.wanted} {
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
	for _, f := range secrets {
		if err := r.putAside(ctx, s, f, end); err != nil {
			return err
		}
	}
	return r.Store.Delete(ctx, s.Namespace, secrets...)
}

// makeSure fails where a session is not as it was seen.
func (r *TerminalSessionReconciler) makeSure(ctx context.Context, s *v1.TerminalSession) error {
	now := &metav1.PartialObjectMetadata{}
	now.SetGroupVersionKind(v1.GroupVersion.WithKind("TerminalSession"))
	if err := r.Store.Live.Get(ctx, client.ObjectKeyFromObject(s), now); err != nil {
		return fmt.Errorf("making sure of session %s before its Secrets are deleted: %w", client.ObjectKeyFromObject(s), err)
	}
	if now.UID != s.UID || now.ResourceVersion != s.ResourceVersion {
		return fmt.Errorf("session %s has changed since it was seen: its Secrets are left alone for now", client.ObjectKeyFromObject(s))
	}
	return nil
}

// putAside keeps the token in a Secret that is about to be deleted until its provider has been told of it. Where nobody has to be told,
// nothing is read.
func (r *TerminalSessionReconciler) putAside(ctx context.Context, s *v1.TerminalSession, f tokenstore.Found, end string) error {
	if !f.Tell && !controllerutil.ContainsFinalizer(s, v1.Finalizer) {
		return nil
	}
	token, issue, err := r.Store.Token(ctx, s, f)
	switch {
	case errors.Is(err, tokenstore.ErrAltered):
		if end != v1.ReasonSecretChanged { // which is counted when it is reported
			r.Metrics.Revocation(telemetry.Lost)
		}
		return nil
	case err != nil:
		return err
	case issue.Tell == nil, end == "" && recorded(s, issue):
		return nil
	}
	req := request(s, issue.SessionID)
	req.Token = token
	aside, err := revocationOf(req, s.UID, issue.Attempt, *issue.Tell, issue.ExpiresAt)
	if err != nil {
		return err
	}
	if err = r.Store.PutAside(ctx, r.Providers.Namespace, aside); refused(err) {
		// No end waits for the controller's namespace either, when that is full, closed by a policy, or going.
		r.Metrics.Revocation(telemetry.Lost)
		log.FromContext(ctx).Info("a token cannot be put aside for its provider to be told, and ends by itself",
			"namespace", r.Providers.Namespace, "reason", apierrors.ReasonForError(err))
		return nil
	}
	return err
}

// revoke puts aside a token that is discarded, if there is one that the provider has to be told of.
func (r *TerminalSessionReconciler) revoke(ctx context.Context, seen observation, req provider.Request, expiresAt time.Time) {
	issuer := tell(seen)
	if req.Token == "" || issuer == nil {
		return
	}
	aside, err := revocationOf(req, seen.Session.UID, session.NextAttempt(seen.Session), *issuer, expiresAt)
	if err == nil {
		err = r.Store.PutAside(ctx, r.Providers.Namespace, aside)
	}
	if err != nil {
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
