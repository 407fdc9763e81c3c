package controllers

import (
	"cmp"
	"context"
	"strconv"

	"github.com/google/uuid"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
	"terminals.dev/session-controller/internal/telemetry"
	"terminals.dev/session-controller/internal/tokenstore"
)

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
	case session.ActionPoll:
		return r.poll(ctx, seen)
	case session.ActionCheck:
		return r.check(ctx, seen)
	case session.ActionAdopt:
		if seen.Grant.Kind == session.GrantDeviceCode { // it was used
			return session.Outcome{}, r.discard(ctx, seen.Session, []tokenstore.Found{seen.grant}, "")
		}
	case session.ActionMove:
		return r.move(ctx, seen)
	case session.ActionEnd:
		return session.Outcome{}, r.end(ctx, seen, cmp.Or(d.End, v1.ReasonTerminating))
	case session.ActionRelease:
		err := r.release(ctx, seen)
		if err == nil && seen.Session.Status.Token != nil { // somebody else has deleted its Secret
			r.Metrics.Revocation(telemetry.Lost)
		}
		return session.Outcome{}, err
	case session.ActionDelete:
		return session.Outcome{}, r.remove(ctx, seen.Session)
	}
	return session.Outcome{}, nil
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

// sessionIDOf is the ID of the session that an attempt to log in makes. It follows from the attempt, so that one made again after a crash is
// the same session; and so that nobody who writes a Secret can have it pass for another's session.
func sessionIDOf(s *v1.TerminalSession, attempt int64) string {
	return uuid.NewSHA1(uuid.NewSHA1(uuid.NameSpaceURL, []byte(s.UID)), []byte(strconv.FormatInt(attempt, 10))).String()
}

// confirmedID is the session that is established when the login that status tells of is confirmed.
func confirmedID(s *v1.TerminalSession) string { return sessionIDOf(s, s.Status.Attempt.Number) }
