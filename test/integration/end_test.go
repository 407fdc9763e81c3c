package integration_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

func TestALogoutDeletesTheSecretAndThenSaysSo(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	before := h.get("till-1").Status
	h.edit("till-1", to(loggedOut))

	if !h.killed(moment{write: 2}, func() { h.reconcile("till-1") }) {
		t.Fatal("the logout takes less than two writes")
	}
	h.expectNo("till-1-token")
	if st := h.get("till-1").Status; st.Phase != v1.PhaseEstablished {
		t.Errorf("status says %s before the Secret is gone", st.Phase)
	}
	h.expectWrites("delete Secret till-1-token")

	h.restart()
	h.reconcile("till-1")

	h.expect("till-1", "NotLoggedIn: Ready (LoggedOut)")
	h.expectWrites("patch TerminalSession/status till-1")
	h.expectCalls()
	got := h.get("till-1").Status
	ended := []v1.RecentSession{{
		SessionID: before.SessionID, User: "anna@acme.example", From: before.EstablishedAt, To: seconds(h.clock.Now()), End: "LoggedOut",
		Purpose: v1.PurposeLogin,
	}}
	if diff := cmp.Diff(ended, got.Recent); diff != "" {
		t.Errorf("what ended is another (-want +got):\n%s", diff)
	}
	if got.Flow.State != v1.FlowDone || got.History != v1.HistoryLoggedOut || got.User != nil || got.Token != nil {
		t.Errorf("status is %+v", got)
	}
}

func TestALogoutIsTwoWrites(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.edit("till-1", to(loggedOut))

	h.reconcile("till-1")

	h.expectWrites("delete Secret till-1-token", "patch TerminalSession/status till-1")
	h.expect("till-1", "NotLoggedIn: Ready (LoggedOut)")
	h.expectNo("till-1-token")
}

func TestALoginAfterALogoutIsAnotherSession(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	seen := map[string]bool{}
	for range 5 {
		seen[h.get("till-1").Status.SessionID] = true
		h.edit("till-1", to(loggedOut))
		h.settle("till-1")
		h.expectNo("till-1-token")
		h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn })
		h.settle("till-1")
		h.expect("till-1", "Established: Ready (Established)")
	}

	st := h.get("till-1").Status
	if seen[st.SessionID] = true; len(seen) != 6 || st.Attempt.Number != 6 {
		t.Errorf("%d session IDs and attempt %d, want 6 of each", len(seen), st.Attempt.Number)
	}
	if len(st.Recent) != 3 {
		t.Errorf("status remembers %d sessions that ended, want the last 3", len(st.Recent))
	}
}

func TestALogoutNeedsNoProvider(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.delete(h.provider(issuer))
	h.edit("till-1", to(loggedOut))

	h.reconcile("till-1")

	h.expect("till-1", "NotLoggedIn: Ready (LoggedOut)")
	h.expectNo("till-1-token")
}

func TestTheSecretOfADeletedSessionGoesAtOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"), session("till-2"))
	h.delete(h.get("till-1"))

	h.reconcile("till-1")

	h.expectNo("till-1-token")
	h.expectWrites("delete Secret till-1-token")
	h.reconcile("till-1")
	h.expectWrites()
	h.reconcile("till-2")
	h.expect("till-2", "Established: Ready (Established)")
}

func TestTheSecretOfASessionThatSomebodyHoldsBackGoesAtOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	held := session("till-1")
	held.Finalizers = []string{"example.com/audit"}
	h.loggedIn(held)
	h.delete(h.get("till-1"))

	h.reconcile("till-1")

	h.expectNo("till-1-token")
	h.expectWrites("delete Secret till-1-token")
	h.expectCalls()
	h.reconcile("till-1")
	h.expectWrites()

	h.edit("till-1", func(s *v1.TerminalSession) { s.Finalizers = nil })
	h.reconcile("till-1")
	h.expectWrites()
}

func TestADeletedSessionIsNotLoggedIn(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	held := session("till-1")
	held.Finalizers = []string{"example.com/audit"}
	h.apply(held)
	h.delete(h.get("till-1"))

	h.settle("till-1")

	h.expectCalls()
	h.expectWrites()
	h.edit("till-1", func(s *v1.TerminalSession) { s.Finalizers = nil })
}

func TestASessionMadeAnewUnderItsNameTakesNothingOver(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	before, first := h.get("till-1"), h.token("till-1-token")
	h.delete(before)
	h.apply(session("till-1"))

	h.reconcile("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectWrites("delete Secret till-1-token", "create Secret till-1-token", "patch TerminalSession/status till-1")
	if st := h.get("till-1").Status; st.SessionID == before.Status.SessionID || h.token("till-1-token") == first || len(st.Recent) > 0 {
		t.Errorf("the new object goes on with the old one's session: %+v", st)
	}
}

func TestInANamespaceThatIsBeingDeletedNothingHangs(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.apply(session("till-2")) // nobody has looked at it
	h.untilRenewal("till-1")
	h.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}})

	h.settle("till-1", "till-2")

	h.expectNo("till-1-token")
	h.expectNo("till-2-token")
	h.expectCalls()
	h.look(h.provider(issuer))
	for _, name := range []string{"till-1", "till-2"} {
		h.delete(h.get(name))
		h.reconcile(name)
	}
}

func TestInANamespaceWhoseDeletionTheCacheHasNotSeenNothingFails(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.apply(session("till-1"))
	h.answers.say(meanwhile(func() { h.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}}) }))

	h.reconcile("till-1")

	h.expectNo("till-1-token")
}
