package processes

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/tokenstore"
	"terminals.dev/session-controller/test/identityenv"
)

// crash is when calls may have been interrupted, or made by two leaders at once. Each of so many may have left a grant of which nobody heard.
type crash struct {
	spans []span
	calls int
}

type span struct{ from, to time.Time }

// interrupted is a crash of one manager, which ends or goes without the API server for a while.
func interrupted(from, to time.Time) crash { return crash{[]span{{from, to}}, underway} }

func (c crash) over() time.Time { return c.spans[len(c.spans)-1].to }

// slack is how long before a crash a call may have begun that it interrupts, and how long after it the server may yet answer to nobody.
const slack = 2 * time.Second

func (c crash) covers(at time.Time) bool {
	return slices.ContainsFunc(c.spans, func(s span) bool { return at.After(s.from.Add(-slack)) && at.Before(s.to.Add(slack)) })
}

// verdict is what came of a fault.
type verdict struct {
	lost, orphans int
	// wrong is what should not be.
	wrong []string
}

func (v *verdict) is(wrong string, args ...any) {
	v.wrong = append(v.wrong, fmt.Sprintf(wrong, args...))
}

// judge compares what there is at rest with what was asked for, and with the server's book.
func (s *scene) judge(ctx context.Context, f found, before account, crashes []crash) (*verdict, error) {
	v := &verdict{}
	had := v.secrets(s.load, f)
	v.sessions(s.load, f)
	var access, refresh []string
	for till, mine := range had {
		access, refresh = append(access, mine.access), append(refresh, mine.refresh)
		book, err := s.server.Audit(ctx, identityenv.ClientBasic, []string{mine.access}, []string{mine.refresh})
		if err != nil {
			return nil, fmt.Errorf("asking the server for its book: %w", err)
		}
		if book.Dead+book.Spent > 0 { // one that was replaced is honoured, and its successor is an orphan
			v.is("the server does not honour what there is of %s: %+v", till, book)
		}
	}
	book, err := s.server.Audit(ctx, identityenv.ClientBasic, access, refresh)
	if err != nil {
		return nil, fmt.Errorf("asking the server for its book: %w", err)
	}
	asked := s.load.logins() - before.asked
	for _, c := range crashes {
		asked += c.calls
	}
	if logins := book.Logins - before.logins; logins > asked {
		v.is("there were %d logins, where %d at most were asked for or interrupted", logins, asked)
	}
	orphaned, err := s.server.Orphaned(ctx, identityenv.ClientBasic, access)
	if err != nil {
		return nil, fmt.Errorf("asking the server for its orphans: %w", err)
	}
	v.grants(slices.DeleteFunc(orphaned, before.at.After), crashes)
	return v, nil
}

// tokens are what is kept of a session.
type tokens struct{ access, refresh string }

// secrets are to be the token and the grant of each established session, and nothing else. Those are returned.
func (v *verdict) secrets(l *load, f found) map[*till]tokens {
	had, kept := map[*till]tokens{}, map[string][]*corev1.Secret{}
	for i := range f.secrets {
		name := f.secrets[i].Labels[tokenstore.LabelSession]
		kept[name] = append(kept[name], &f.secrets[i])
	}
	for _, t := range l.tills {
		s, mine := f.sessions[t.name], kept[t.name]
		delete(kept, t.name)
		if s == nil || s.Status.Phase != v1.PhaseEstablished {
			if len(mine) > 0 {
				v.is("Secret %s is there yet of %s", mine[0].Name, t)
			}
			continue
		}
		var err error
		if had[t], err = tokensOf(s, mine); err != nil {
			v.is("%s: %v", t, err)
			delete(had, t)
		}
	}
	for name := range kept {
		v.is("there is a Secret of %q, and no such session", name)
	}
	return had
}

// tokensOf are those of an established session.
func tokensOf(s *v1.TerminalSession, kept []*corev1.Secret) (found tokens, err error) {
	if len(kept) != 2 {
		return found, fmt.Errorf("it has %d Secrets", len(kept))
	}
	for _, secret := range kept {
		switch owner := secret.OwnerReferences; {
		case secret.DeletionTimestamp != nil, len(owner) != 1, owner[0].UID != s.UID:
			return found, fmt.Errorf("its Secret %s is another's, or being deleted", secret.Name)
		case secret.Type == tokenstore.TypeGrant && secret.Labels[tokenstore.LabelSessionID] == s.Status.SessionID:
			found.refresh = string(secret.Data["refreshToken"])
		case secret.Name == s.Status.Token.SecretName && secret.ResourceVersion == s.Status.Token.SecretVersion &&
			string(secret.Data[tokenstore.KeySessionID]) == s.Status.SessionID:
			found.access = string(secret.Data[tokenstore.KeyToken])
		}
	}
	if found.access == "" || found.refresh == "" {
		return found, fmt.Errorf("its Secrets are not those that its status tells of")
	}
	return found, nil
}

// sessions that were left alone are to be the ones that there were.
func (v *verdict) sessions(l *load, f found) {
	for _, t := range l.tills {
		if s := f.sessions[t.name]; t.left && (s == nil || s.Status.SessionID != t.seen) {
			v.lost++
			v.is("%s had session %s and is now %+v", t, t.seen, s)
		}
	}
}

// grants that nobody has the token of are to be of a crash each, and of each crash there are to be no more than calls could be under way.
func (v *verdict) grants(made []time.Time, crashes []crash) {
	v.orphans = len(made)
	// Each is of the crash with room that is over first: whatever comes later has most to choose from.
	slices.SortFunc(made, time.Time.Compare)
	crashes = slices.SortedFunc(slices.Values(crashes), func(a, b crash) int { return a.over().Compare(b.over()) })
	for _, at := range made {
		during := func(c crash) bool { return c.covers(at) }
		with := slices.IndexFunc(crashes, func(c crash) bool { return during(c) && c.calls > 0 })
		switch {
		case with >= 0:
			crashes[with].calls--
		case slices.ContainsFunc(crashes, during):
			v.is("nobody has the token that was issued at %s, and each call that was interrupted then has left one", at.Format(time.StampMilli))
		default:
			v.is("nobody has the token that was issued at %s, when no call was interrupted", at.Format(time.StampMilli))
		}
	}
}
