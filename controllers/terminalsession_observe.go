package controllers

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/tokenstore"
)

// observation is what was seen of a session, and the handles that acting on it takes.
type observation struct {
	session.Input
	// kept and wanted are what is under the name where the token is, and under the one that spec gives; mostly they are the same.
	kept, wanted tokenstore.Found
	// grant is what is under the name of the session's grant.
	grant tokenstore.Found
	// strays are Secrets of the session, or of an earlier one of its name, that are under neither.
	strays []tokenstore.Found
	// provider is there when Input.Provider has no problem.
	provider resolved
}

// observe only reads; at rest, only from the cache.
func (r *TerminalSessionReconciler) observe(ctx context.Context, s *v1.TerminalSession) (observation, error) {
	seen := observation{Input: session.Input{Session: s, LastActive: r.lastActive(s)}}
	seen.Silence = r.silence.of(s, seen.LastActive, r.Clock)
	name, version := session.SecretName(s), ""
	if t := s.Status.Token; t != nil {
		name, version = t.SecretName, t.SecretVersion
	}
	var err error
	if seen.kept, seen.Secret, err = r.observeSecret(ctx, s, name, version); err != nil {
		return seen, err
	}
	seen.wanted = seen.kept
	if wanted := session.SecretName(s); wanted != name {
		if seen.wanted, seen.Target, err = r.observeSecret(ctx, s, wanted, ""); err != nil {
			return seen, err
		}
	}
	if err = r.observeGrant(ctx, s, &seen); err != nil {
		return seen, err
	}
	all, err := r.Store.Of(ctx, client.ObjectKeyFromObject(s), s.UID)
	if err != nil {
		return seen, err
	}
	for _, f := range all {
		if f.Name != seen.kept.Name && f.Name != seen.wanted.Name && f.Name != seen.grant.Name {
			seen.strays = append(seen.strays, f)
		}
	}
	if seen.Ban, err = r.Orders.ban(ctx, s); err != nil {
		return seen, err
	}
	if seen.Logout, err = r.Orders.logout(ctx, s); err != nil {
		return seen, err
	}
	if seen.NamespaceEnding, err = r.Providers.namespaceEnding(ctx, s.Namespace); err != nil {
		return seen, err
	}
	if seen.provider, seen.Provider, err = r.Providers.resolve(ctx, s); err != nil {
		return seen, err
	}
	seen.Secret.Refreshable = seen.Grant.Refreshes(s) && !seen.provider.SecureLogin
	if r.spent.is(s) {
		seen.Discarded = &session.Discarded{}
	}
	seen.NextPoll = r.pace.nextPoll(s)
	seen.CheckDue = r.pace.checkDue(s, seen.provider.CheckEvery, r.Clock.Now())
	return seen, nil
}

// observeGrant finds the session's grant, and tells what it is to the session.
func (r *TerminalSessionReconciler) observeGrant(ctx context.Context, s *v1.TerminalSession, seen *observation) error {
	var expected int64
	if session.Confirming(s) && s.Status.Attempt != nil {
		expected = s.Status.Attempt.Number
	}
	var err error
	if seen.grant, err = r.Store.Grant(ctx, s, expected); err != nil || seen.grant.State != tokenstore.Intact {
		return err
	}
	found := session.Grant{Kind: session.GrantKind(seen.grant.Grant), SessionID: seen.grant.SessionID, Attempt: seen.grant.Attempt}
	// What is ahead of the next attempt is nothing that was written here, or the view is behind, which is found out before anything is deleted.
	if found.Stale(s) || found.Attempt > session.NextAttempt(s) {
		seen.strays = append(seen.strays, seen.grant)
		return nil
	}
	found.Confirmed = found.Kind == session.GrantRefreshToken && session.Confirming(s) && found.SessionID == confirmedID(s)
	seen.Grant = found
	return nil
}

// observeSecret finds what is under a name, and tells what that is to the session.
func (r *TerminalSessionReconciler) observeSecret(ctx context.Context, s *v1.TerminalSession, name, version string) (tokenstore.Found, session.Secret, error) {
	holder, err := r.holder(ctx, s, name)
	if err != nil {
		return tokenstore.Found{}, session.Secret{}, err
	}
	if holder != nil && holder.UID != s.UID {
		return tokenstore.Found{State: tokenstore.Taken, Name: name},
			session.Secret{State: session.SecretTaken, Holder: "that of session " + holder.Name}, nil
	}
	found, err := r.Store.Find(ctx, s, name, version)
	return found, secretState(s, found), err
}

// holder is the session that has a Secret's name, where more than one names it.
func (r *TerminalSessionReconciler) holder(ctx context.Context, s *v1.TerminalSession, name string) (*v1.TerminalSession, error) {
	named, err := naming(ctx, r.Client, s.Namespace, name)
	if err != nil {
		return nil, err
	}
	named = slices.DeleteFunc(named, func(s *v1.TerminalSession) bool { return isGoing(s) })
	if len(named) < 2 {
		return nil, nil
	}
	owner, err := r.Store.Owner(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name})
	if err != nil {
		return nil, err
	}
	return session.Holder(name, owner, named), nil
}

// mostAhead is how far a token's attempt can be ahead of what the cache shows: whoever writes Secrets is not to choose the numbers.
const mostAhead = 1000

// secretState translates what the store found into what the lifecycle asks.
func secretState(s *v1.TerminalSession, found tokenstore.Found) session.Secret {
	switch found.State {
	case tokenstore.Absent, tokenstore.Leftover:
		return session.Secret{State: session.SecretAbsent}
	case tokenstore.Unchanged:
		return session.Secret{State: session.SecretCurrent}
	case tokenstore.Taken:
		return session.Secret{State: session.SecretTaken, Holder: "not the session's own"}
	case tokenstore.Going:
		return session.Secret{State: session.SecretTaken, Holder: "being deleted, and a finalizer holds it up"}
	case tokenstore.Intact:
		own := found.Issue.SessionID == sessionIDOf(s, found.Issue.Attempt) || found.Issue.SessionID == s.Status.SessionID ||
			session.Confirming(s) && found.Issue.SessionID == confirmedID(s)
		ahead := found.Issue.Attempt - session.NextAttempt(s)
		if own && ahead >= 0 && ahead < mostAhead || recorded(s, found.Issue) {
			return session.Secret{State: session.SecretNewer, Issued: issued(found.Name, found.Version, found.Issue)}
		}
	}
	return session.Secret{State: session.SecretAltered}
}

// recorded is whether a token is the one that status describes: somebody has touched its Secret, and left the token alone. The number of
// the attempt does not tell, since attempts may have failed in the meantime.
func recorded(s *v1.TerminalSession, i tokenstore.Issue) bool {
	t := s.Status.Token
	return t != nil && i.SessionID == s.Status.SessionID && i.IssuedAt.Equal(t.IssuedAt.Time) && i.ExpiresAt.Equal(t.ExpiresAt.Time)
}

func issued(name, version string, i tokenstore.Issue) session.Issued {
	return session.Issued{
		SecretName: name, SecretVersion: version, SessionID: i.SessionID, Attempt: i.Attempt,
		IssuedAt: i.IssuedAt, ExpiresAt: i.ExpiresAt, UserEmail: i.Email, UserSubject: i.Subject, Request: i.Request, Tell: i.Tell,
	}
}

// namespaceOf is the metadata of a namespace, or nil where the controller may not read any.
func namespaceOf(ctx context.Context, namespaces client.Reader, name string) (*metav1.PartialObjectMetadata, error) {
	if namespaces == nil {
		return nil, nil
	}
	ns := namespaceMetadata()
	if err := namespaces.Get(ctx, client.ObjectKey{Name: name}, ns, client.UnsafeDisableDeepCopy); err != nil {
		return nil, client.IgnoreNotFound(fmt.Errorf("reading namespace %s: %w", name, err))
	}
	return ns, nil
}
