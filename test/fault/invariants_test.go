package fault_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// outside is everything that can be seen of a run from outside: what the API server has, and the provider's book.
type outside struct {
	sessions []v1.TerminalSession
	bans     []v1.SessionBan
	// tokens and grants are the sessions' Secrets, and revocations those in the controller's namespace.
	tokens, grants, revocations []corev1.Secret
	// live is what the provider honours, and kept are the access tokens that were ever in a Secret, with their session.
	live []entryOfBook
	kept map[string]string
	// noBook is whether the provider writes nothing down.
	noBook bool
}

const (
	typeToken      corev1.SecretType = "terminals.dev/token"
	typeGrant      corev1.SecretType = "terminals.dev/grant"
	typeRevocation corev1.SecretType = "terminals.dev/revocation"
)

func (r *run) look() (o outside) {
	r.t.Helper()
	all, own, sessions, bans := &corev1.SecretList{}, &corev1.SecretList{}, &v1.TerminalSessionList{}, &v1.SessionBanList{}
	for _, list := range []client.ObjectList{all, sessions, bans} {
		if err := plane.admin.List(r.ctx, list, client.InNamespace(r.namespace)); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := plane.admin.List(r.ctx, own, client.InNamespace(r.own)); err != nil {
		r.t.Fatal(err)
	}
	o.sessions, o.bans = sessions.Items, bans.Items
	for _, s := range slices.Concat(all.Items, own.Items) {
		switch s.Type {
		case typeToken:
			o.tokens = append(o.tokens, s)
		case typeGrant:
			o.grants = append(o.grants, s)
		case typeRevocation:
			o.revocations = append(o.revocations, s)
		}
	}
	o.live = r.issuer.book.live()
	o.noBook = r.scenario.provider(r).Embedded != nil
	r.mu.Lock()
	defer r.mu.Unlock()
	o.kept = r.kept
	return o
}

// violations are the promises that are not kept by what is seen, of a run that is at rest with a provider that is up. orphans are the live
// tokens that nobody owns.
func (o outside) violations() (wrong []string, orphans []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, s := range slices.Concat(o.tokens, o.grants) {
		if o.owner(s) == nil {
			say("Secret %s has no session", s.Name)
		}
	}
	for _, s := range o.revocations {
		say("revocation %s is left, though the provider is up", s.Name)
	}
	for i := range o.sessions {
		s := &o.sessions[i]
		if !s.DeletionTimestamp.IsZero() {
			say("session %s is stuck in deletion", s.Name)
		}
		if s.Status.Phase == v1.PhaseEstablished {
			if why := o.deadToken(s); why != "" {
				say("session %s is Established with a dead token: %s", s.Name, why)
			}
		}
		if o.isBanned(s) && slices.ContainsFunc(slices.Concat(o.tokens, o.grants), func(x corev1.Secret) bool { return ownedBy(x, s) }) {
			say("session %s is banned and has a Secret", s.Name)
		}
	}
	return wrong, o.orphans()
}

// owner is the session that a Secret belongs to; nil for none that is there.
func (o outside) owner(secret corev1.Secret) *v1.TerminalSession {
	for i := range o.sessions {
		if ownedBy(secret, &o.sessions[i]) {
			return &o.sessions[i]
		}
	}
	return nil
}

func ownedBy(secret corev1.Secret, s *v1.TerminalSession) bool {
	ref := metav1.GetControllerOf(&secret)
	return ref != nil && ref.UID == s.UID
}

// deadToken is what is wrong with the token of a session that has one; empty if nothing is.
func (o outside) deadToken(s *v1.TerminalSession) string {
	if s.Status.Token == nil {
		return "status tells of none"
	}
	i := slices.IndexFunc(o.tokens, func(secret corev1.Secret) bool { return secret.Name == s.Status.Token.SecretName && ownedBy(secret, s) })
	switch {
	case i < 0:
		return "its Secret is not there"
	case string(o.tokens[i].Data["sessionID"]) != s.Status.SessionID:
		return "its Secret has another session's"
	case o.tokens[i].ResourceVersion != s.Status.Token.SecretVersion:
		return "its Secret is in another version than status tells of"
	case len(o.tokens[i].Data["token"]) == 0:
		return "its Secret is empty"
	case !o.noBook && !o.honours(string(o.tokens[i].Data["token"])):
		return "the provider does not honour it"
	}
	return ""
}

func (o outside) honours(access string) bool {
	return slices.ContainsFunc(o.live, func(e entryOfBook) bool { return e.access == access })
}

func (o outside) isBanned(s *v1.TerminalSession) bool {
	return slices.ContainsFunc(o.bans, func(b v1.SessionBan) bool { return session.Matches(&b.Spec.Match, s) })
}

// orphans are the logins of which something is live and no session's: neither in a Secret nor, for an access token, what a session had
// before it renewed.
func (o outside) orphans() (orphans []string) {
	in := func(secrets []corev1.Secret, key, token string) bool {
		return slices.ContainsFunc(secrets, func(s corev1.Secret) bool { return string(s.Data[key]) == token })
	}
	for _, login := range o.live {
		of := o.kept[login.access]
		renewed := of != "" && in(o.tokens, "sessionID", of)
		if login.access != "" && !in(o.tokens, "token", login.access) && !renewed || login.refresh != "" && !in(o.grants, "refreshToken", login.refresh) {
			orphans = append(orphans, login.String())
		}
	}
	return orphans
}

// differences are what a scenario has not come to that it was to come to.
func (o outside) differences(want end) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if len(o.tokens) != want.tokens || len(o.grants) != want.grants {
		say("there are %d Secrets with tokens and %d with grants, want %d and %d", len(o.tokens), len(o.grants), want.tokens, want.grants)
	}
	if want.gone {
		if len(o.sessions) > 0 {
			say("the session is still there")
		}
		return wrong
	}
	if len(o.sessions) != 1 {
		say("there are %d sessions, want one", len(o.sessions))
		return wrong
	}
	s := &o.sessions[0]
	reason := ""
	if ready := meta.FindStatusCondition(s.Status.Conditions, v1.ConditionReady); ready != nil {
		reason = ready.Reason
	}
	if s.Status.Phase != want.phase || reason != want.ready {
		say("session %s is %s (%s), want %s (%s)", s.Name, s.Status.Phase, reason, want.phase, want.ready)
	}
	return wrong
}

// session is the scenario's session as the API server has it.
func (r *run) session() *v1.TerminalSession {
	r.t.Helper()
	s := &v1.TerminalSession{}
	err := plane.admin.Get(r.ctx, client.ObjectKey{Namespace: r.namespace, Name: theSession}, s)
	if err != nil && !errors.IsNotFound(err) {
		r.t.Fatal(err)
	}
	return s
}

// tokenIn is the access token that a write puts into a Secret, and the session that it is of, unless it is to be revoked; empty where it puts none.
func tokenIn(q request) (session, token string) {
	if q.resource != secrets || q.verb == http.MethodDelete {
		return "", ""
	}
	var secret struct {
		Data map[string][]byte `json:"data"`
	}
	if json.Unmarshal(q.body, &secret) != nil {
		return "", ""
	}
	return string(secret.Data["sessionID"]), string(secret.Data["token"])
}
