package health_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

func clusterProvider() *v1.ClusterSessionProvider {
	p := &v1.ClusterSessionProvider{}
	p.Spec.Embedded = &v1.EmbeddedProvider{}
	return p
}

var banSpec = v1.SessionBanSpec{Match: v1.BanMatch{User: "mallory@acme.example"}, Code: "UserBanned"}

// is are conditions of one reason and message: the types of those that are True, and with a '!' of those that are False.
func is(reason, message string, kinds ...string) []metav1.Condition {
	var all []metav1.Condition
	for _, kind := range kinds {
		c := metav1.Condition{Type: kind, Status: "True", Reason: reason, Message: message}
		if kind[0] == '!' {
			c.Type, c.Status = kind[1:], "False"
		}
		meta.SetStatusCondition(&all, c)
	}
	return conditions(all...)
}

func provider(all []metav1.Condition) func(*testing.T, client.Object) {
	return func(_ *testing.T, obj client.Object) {
		st := obj.(v1.Provider).ProviderStatus()
		st.ObservedGeneration, st.Conditions = 1, all
	}
}

func providerRows() []row {
	var rows []row
	for _, kind := range []string{"SessionProvider", "ClusterSessionProvider"} {
		object := applied[kind]
		rows = append(rows, []row{
			{kind + " can issue tokens", object, provider(is(v1.ReasonReady, "The provider can issue tokens.", "Ready")), current, v1.ReasonReady},
			{kind + " has no credentials", object,
				provider(is(v1.ReasonCredentialsMissing, "Secret idp does not exist.", "!Ready", "Stalled")), failed, v1.ReasonCredentialsMissing},
			{kind + " has a server that is out of reach", object,
				provider(is(v1.ReasonDiscoveryFailed, "The server gave no answer in time.", "!Ready", "Reconciling")), inProgress, v1.ReasonDiscoveryFailed},
			{kind + " has lost a signing key", object,
				provider(is(v1.ReasonSigningKeyMissing, "A signing key is gone.", "!Ready", "Stalled")), failed, v1.ReasonSigningKeyMissing},
		}...)
	}
	return rows
}

func TestTheHealthOfAProvider(t *testing.T) { judgeRows(t, providerRows()) }

func ban(matched, enforced int, edits ...func(v1.Ban)) func(*testing.T, client.Object) {
	return func(_ *testing.T, obj client.Object) {
		b := obj.(v1.Ban)
		for _, edit := range edits {
			edit(b)
		}
		*b.BanStatus() = session.BanStatus(b, matched, enforced, start)
	}
}

func isOver(b v1.Ban) { b.BanSpec().ExpiresAt = new(metav1.NewTime(start)) }

func selectsByNothing(b v1.Ban) {
	b.(*v1.ClusterSessionBan).Spec.NamespaceSelector = &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "region", Operator: "Is"}},
	}
}

func banRows() []row {
	var rows []row
	for _, kind := range []string{"SessionBan", "ClusterSessionBan"} {
		object := applied[kind]
		rows = append(rows, []row{
			{kind + " is enforced", object, ban(3, 3), current, v1.ReasonEnforced},
			{kind + " matches nothing", object, ban(0, 0), current, v1.ReasonNothingMatched},
			{kind + " is being enforced", object, ban(3, 1), inProgress, v1.ReasonEnforcing},
			{kind + " is over", object, ban(0, 0, isOver), current, v1.ReasonExpired},
		}...)
	}
	return append(rows, row{"ClusterSessionBan has a selector that is none", applied["ClusterSessionBan"],
		ban(0, 0, selectsByNothing), failed, v1.ReasonSelectorInvalid})
}

func TestTheHealthOfABan(t *testing.T) { judgeRows(t, banRows()) }

func logout(names, left []string, edits ...func(*v1.SessionLogoutSpec)) func(*testing.T, client.Object) {
	return func(_ *testing.T, obj client.Object) {
		l := obj.(*v1.SessionLogout)
		for _, edit := range edits {
			edit(&l.Spec)
		}
		l.Status = session.LogoutStatus(l, called(names), 0, start)
		if !session.Finished(l) {
			l.Status = session.LogoutStatus(l, called(left), len(names)-len(left), start)
		}
	}
}

func called(names []string) []*v1.TerminalSession {
	var all []*v1.TerminalSession
	for _, name := range names {
		all = append(all, &v1.TerminalSession{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return all
}

func logoutRows() []row {
	object, names := applied["SessionLogout"], []string{"till-07", "till-08"}
	return []row{
		{"SessionLogout is running", object, logout(names, names[1:]), inProgress, v1.ReasonSigningOut},
		{"SessionLogout has run", object, logout(names, nil), current, v1.ReasonAllSignedOut},
		{"SessionLogout has found nothing", object, logout(nil, nil), current, v1.ReasonNothingMatched},
		{"SessionLogout was a dry run", object,
			logout(names, nil, func(s *v1.SessionLogoutSpec) { s.DryRun = new(true) }), current, v1.ReasonDryRun},
		{"SessionLogout has failed", object,
			logout(names, nil, func(s *v1.SessionLogoutSpec) { s.MaxAffected = 1 }), failed, v1.ReasonTooManyAffected},
	}
}

func TestTheHealthOfALogout(t *testing.T) { judgeRows(t, logoutRows()) }
