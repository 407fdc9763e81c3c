package controllers

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
	"terminals.dev/session-controller/internal/tokenstore"
)

// finish deletes the Secrets that have in them what is about to be revoked. Whoever puts a token aside deletes its Secrets next, but may be
// killed before; and when the next process comes up, the session may be wanted again, and would go on with a token that is dead.
func (r *RevocationReconciler) finish(ctx context.Context, kept tokenstore.Revocation, req provider.Request) error {
	s, key := &v1.TerminalSession{}, client.ObjectKey{Namespace: req.Session.Namespace, Name: req.Session.Name}
	if err := r.Providers.Reader.Get(ctx, key, s, client.UnsafeDisableDeepCopy); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading session %s: %w", key, err)
	}
	if s.UID != kept.SessionUID || s.Status.SessionID != kept.SessionID {
		return nil // it has ended
	}
	left, err := r.Store.Of(ctx, key, s.UID)
	if err != nil {
		return err
	}
	// The grant goes first: with nothing but that, the session would be renewed.
	slices.SortFunc(left, func(a, b tokenstore.Found) int { return len(b.Grant) - len(a.Grant) })
	for _, f := range left {
		same, err := r.holds(ctx, s, f, req)
		if err == nil && same {
			log.FromContext(ctx).Info("a session has a token that was put aside for revocation, and is ended", "session", key, "secret", f.Name)
			err = r.Store.Delete(ctx, s.Namespace, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holds is whether a Secret of a session has in it what is to be revoked.
func (r *RevocationReconciler) holds(ctx context.Context, s *v1.TerminalSession, f tokenstore.Found, req provider.Request) (same bool, err error) {
	switch {
	case f.State != tokenstore.Intact:
		return false, nil
	case f.Grant == "":
		var token string
		token, _, err = r.Store.Token(ctx, s, f)
		same = token != "" && alike(token, req.Token)
	case f.Grant == tokenstore.GrantRefreshToken:
		var grant tokenstore.Grant
		grant, err = r.Store.ReadGrant(ctx, s.Namespace, f)
		same = grant.RefreshToken != "" && alike(grant.RefreshToken, req.RefreshToken)
	}
	if errors.Is(err, tokenstore.ErrAltered) { // or gone
		return false, nil
	}
	return same, err
}

// alike compares tokens, and takes as long for those that differ.
func alike(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
