package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
)

const (
	established = "Established: Ready (Established)"
	terminated  = "Terminated: Ready (BanInForce)"
)

// ban is one on anna, with some changes.
func ban(name string, changes ...func(*v1.SessionBanSpec)) *v1.SessionBan {
	b := &v1.SessionBan{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1.SessionBanSpec{Match: v1.BanMatch{User: "anna@acme.example"}, Code: "UserBanned", Reason: "card skimmer found"},
	}
	for _, change := range changes {
		change(&b.Spec)
	}
	return b
}

// clusterBan is one for the test's namespace alone, since tests share the cluster.
func (h *harness) clusterBan(name string, changes ...func(*v1.SessionBanSpec)) *v1.ClusterSessionBan {
	b := &v1.ClusterSessionBan{ObjectMeta: metav1.ObjectMeta{Name: h.namespace + "-" + name}}
	b.Spec.SessionBanSpec = ban(name, changes...).Spec
	b.Spec.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": h.namespace}}
	return b
}

// enforce has the controller look at a ban, and returns what the condition Enforced then says: "True Enforced, 2 of 3".
func (h *harness) enforce(b v1.Ban) string {
	h.t.Helper()
	h.count(b)
	h.again(b)
	st := b.BanStatus()
	c := meta.FindStatusCondition(st.Conditions, v1.ConditionEnforced)
	if c == nil || st.ObservedGeneration != b.GetGeneration() {
		h.t.Fatalf("ban %s is %+v", b.GetName(), st)
	}
	return fmt.Sprintf("%s %s, %d of %d", c.Status, c.Reason, *st.Enforced, *st.Matched)
}

func (h *harness) count(b v1.Ban) ctrl.Result {
	h.t.Helper()
	h.sync()
	_, cluster := b.(*v1.ClusterSessionBan)
	r := &controllers.SessionBanReconciler{Cluster: cluster, Client: h.sessions.Client, Orders: h.sessions.Orders, Clock: h.clock}
	result, err := r.Reconcile(h.loud, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
	if err != nil {
		h.t.Fatalf("looking at ban %s: %v", b.GetName(), err)
	}
	return result
}

func TestABanEndsTheSessionsThatItMatches(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	bobs := session("till-2", func(s *v1.TerminalSessionSpec) { s.User.Email = "bob@acme.example" })
	h.loggedIn(session("till-1"), bobs)
	old := h.get("till-1").Status.SessionID
	b := ban("anna", func(s *v1.SessionBanSpec) { s.Match.User = "Anna@ACME.example" })
	h.apply(b)
	if got := h.enforce(b); got != "False Enforcing, 0 of 1" {
		t.Errorf("the ban says %s", got)
	}
	h.wire.taken()

	h.settle("till-1", "till-2")
	h.expectWrites("delete Secret till-1-token", "patch TerminalSession/status till-1")
	h.expectCalls()
	h.expect("till-1", terminated)
	h.expectNo("till-1-token")
	h.expect("till-2", established)
	st := h.get("till-1").Status
	if st.Error == nil || st.Error.Code != "UserBanned" || !strings.Contains(st.Error.Message, "card skimmer found") || st.History != v1.HistoryError ||
		st.Recent[0].SessionID != old || st.Recent[0].End != v1.ReasonBanInForce {
		t.Errorf("status is %+v", st)
	}
	if got, want := h.events, "Warning BanInForce: SessionBan anna is in force: card skimmer found."; len(got) != 1 || got[0] != want {
		t.Errorf("the events are %q, want %q", got, want)
	}
	if got := h.enforce(b); got != "True Enforced, 1 of 1" {
		t.Errorf("the ban says %s", got)
	}
}

func TestNobodyUnderABanIsLoggedInHoweverOftenTheSessionIsAppliedAgain(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"the session was there before", "the session comes after", "nobody looks while the ban is applied"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			switch when {
			case "the session was there before":
				h.loggedIn(session("till-1"))
				h.apply(ban("anna"))
			case "the session comes after":
				h.apply(ban("anna"), session("till-1"))
			default:
				h.loggedIn(session("till-1"))
				h.apply(ban("anna"))
				h.restart()
			}
			h.settle("till-1")
			h.expect("till-1", terminated)
			for n := range 50 {
				h.delete(h.get("till-1"))
				h.reconcile("till-1")
				h.apply(session("till-1"))
				if n%10 == 9 {
					h.annotate("till-1", v1.AnnotationLoginRequested, fmt.Sprint(n))
					h.restart()
				}
				h.settle("till-1")
			}
			h.expect("till-1", terminated)
			h.expectNo("till-1-token")
			h.expectCalls()
		})
	}
}

func TestALiftedBanLeavesWhatSpecAndHoldSay(t *testing.T) {
	t.Parallel()
	soon := func(h *harness) func(*v1.SessionBanSpec) {
		return func(s *v1.SessionBanSpec) { s.ExpiresAt = new(seconds(h.clock.Now().Add(time.Hour))) }
	}
	for name, test := range map[string]struct {
		given func(*harness)
		is    string
		calls []string
	}{
		"a session that is wanted is logged in anew": {given: func(*harness) {}, is: established, calls: []string{"Login"}},
		"a session that is not wanted stays out":     {given: func(h *harness) { h.edit("till-1", to(loggedOut)) }, is: "NotLoggedIn: Ready (LoggedOut)"},
		"a session of another person is that one's":  {given: func(h *harness) { h.edit("till-1", toUser("bob@acme.example")) }, is: established, calls: []string{"Login"}},
		"a request that was made meanwhile is answered": {given: func(h *harness) {
			h.annotate("till-1", v1.AnnotationLoginRequested, "1")
			h.settle("till-1")
			if got := h.get("till-1").Status.LastHandledLoginRequest; got != "1" {
				h.t.Errorf("the request that was handled last is %q", got)
			}
		}, is: established, calls: []string{"Login"}},
	} {
		for _, lifting := range []string{"deleted", "expired"} {
			t.Run(name+" when the ban is "+lifting, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				h.loggedIn(session("till-1"))
				b := ban("anna", soon(h))
				h.apply(b)
				result := h.reconcile("till-1")
				h.expect("till-1", terminated)
				test.given(h)
				if lifting == "deleted" {
					h.delete(b)
				} else {
					if result.RequeueAfter <= 0 || result.RequeueAfter > time.Hour {
						t.Errorf("the session is looked at again in %v, want in an hour", result.RequeueAfter)
					}
					if again := h.count(b).RequeueAfter; again <= 0 || again > time.Hour {
						t.Errorf("the ban is looked at again in %v, want in an hour", again)
					}
					h.step(time.Hour)
					if got := h.enforce(b); got != "False Expired, 0 of 0" {
						t.Errorf("the ban says %s", got)
					}
				}
				h.settle("till-1")
				h.expect("till-1", test.is)
				h.expectCalls(test.calls...)
				if st := h.get("till-1").Status; st.Error != nil {
					t.Errorf("the error stays: %+v", st.Error)
				}
			})
		}
	}
	t.Run("a session that was signed out before stays out", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		h.loggedIn(session("till-1"))
		h.run(logout("out"), "till-1")
		b := ban("anna")
		h.apply(b)
		h.settle("till-1")
		h.expect("till-1", "Terminated, held SignedOut: Ready (BanInForce)")
		h.delete(b)
		h.settle("till-1")
		h.expect("till-1", "NotLoggedIn, held SignedOut: Ready (SignedOut)")
		h.expectCalls()
	})
}

func toUser(email string) func(*v1.TerminalSession) {
	return to(func(s *v1.TerminalSessionSpec) { s.User = &v1.User{Email: email} })
}

func TestATokenThatComesAfterABanIsDiscardedAndRevoked(t *testing.T) {
	t.Parallel()
	t.Run("at a login", func(t *testing.T) {
		t.Parallel()
		h := newTelling(t)
		h.apply(session("till-1"))
		h.answers.say(meanwhile(func() { h.apply(ban("anna")); h.sync() }))
		h.settle("till-1")
		h.expect("till-1", terminated)
		h.expectNo("till-1-token")
		h.expectCalls("Login")
		h.expectAside(h.answers.tokens...)
		if got := h.get("till-1").Status.Attempt; got == nil || got.Number != 1 {
			t.Errorf("the attempt is not counted, so that its token could come again: %+v", got)
		}
	})
	t.Run("at a renewal", func(t *testing.T) {
		t.Parallel()
		h := newTelling(t)
		h.loggedIn(session("till-1"))
		h.annotate("till-1", v1.AnnotationRenewRequested, "1")
		h.answers.say(meanwhile(func() { h.apply(ban("anna")); h.sync() }))
		h.settle("till-1")
		h.expect("till-1", terminated)
		h.expectNo("till-1-token")
		h.expectCalls("Renew")
		h.expectAside(h.answers.tokens...)
	})
}

func TestABanMeetsWhoeverLogsInWhereSpecNamesNobody(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	b := ban("mallory", func(s *v1.SessionBanSpec) { s.Match.User = "mallory@acme.example" })
	h.apply(b, session("till-1", func(s *v1.TerminalSessionSpec) { s.User = nil }))
	h.answers.say(identity("Mallory@acme.example"))
	h.settle("till-1")
	h.expect("till-1", terminated)
	h.expectNo("till-1-token")
	h.expectCalls("Login")
	h.expectAside(h.answers.tokens...)
	h.settle("till-1")
	h.expectCalls()
	if got := h.enforce(b); got != "True Enforced, 1 of 1" {
		t.Errorf("the ban says %s", got)
	}
	h.answers.say(identity("carol@acme.example"))
	h.delete(b)
	h.settle("till-1")
	h.expect("till-1", established)
}

func TestOfSeveralBansTheFirstGivesTheCode(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	code := func(code string) func(*v1.SessionBanSpec) { return func(s *v1.SessionBanSpec) { s.Code = code } }
	h.apply(session("till-1"))
	older, younger := ban("a-older", code("Older")), ban("b-younger", code("Younger"))
	h.apply(older, younger)
	cluster := h.clusterBan("all", code("Cluster"))
	h.apply(cluster)
	for _, want := range []struct {
		code string
		then client.Object
	}{{"Cluster", cluster}, {"Older", older}, {"Younger", younger}} {
		h.settle("till-1")
		if got := h.get("till-1").Status.Error; got == nil || got.Code != want.code {
			t.Errorf("the code is %+v, want %s", got, want.code)
		}
		h.delete(want.then)
	}
	h.settle("till-1")
	h.expect("till-1", established)
}

func TestABanTellsHowItStands(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for name, test := range map[string]struct {
		ban  v1.Ban
		is   string
		says string
	}{
		"one that matches nothing": {
			ban: ban("nobody", func(s *v1.SessionBanSpec) { s.Match.User = "nobody@acme.example" }),
			is:  "True NothingMatched, 0 of 0", says: "No session matches now",
		},
		"one that is over already": {
			ban: ban("over", func(s *v1.SessionBanSpec) { s.ExpiresAt = new(seconds(h.clock.Now().Add(-time.Minute))) }),
			is:  "False Expired, 0 of 0", says: "set another spec.expiresAt",
		},
		"one with a selector that is none": {
			ban: func() v1.Ban {
				b := h.clusterBan("selector")
				b.Spec.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}
				return b
			}(),
			is: "False SelectorInvalid, 0 of 0", says: "spec.namespaceSelector",
		},
	} {
		h.apply(test.ban)
		if got := h.enforce(test.ban); got != test.is || !strings.Contains(message(test.ban, v1.ConditionEnforced), test.says) {
			t.Errorf("%s is %s (%s), want %s (%s)", name, got, message(test.ban, v1.ConditionEnforced), test.is, test.says)
		}
		h.wire.taken()
		h.enforce(test.ban)
		h.expectWrites()
	}
}

func TestAClusterBanIsForTheNamespacesThatItSelects(t *testing.T) {
	t.Parallel()
	here, there := newHarness(t), newHarness(t)
	here.loggedIn(session("till-1"))
	there.loggedIn(session("till-1"))
	b := here.clusterBan("anna")
	here.apply(b)
	here.settle("till-1")
	there.settle("till-1")
	here.expect("till-1", terminated)
	there.expect("till-1", established)
	if got := here.enforce(b); got != "True Enforced, 1 of 1" {
		t.Errorf("the ban says %s", got)
	}
	here.restart()
	here.settle("till-1")
	here.expect("till-1", terminated)
}
