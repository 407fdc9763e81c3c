package integration_test

import (
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
)

// besideAnother has another leader, which remembers nothing, bring a session to rest while the first call to the server is under way: after it
// was answered, and before the answer is heard.
func (h *harness) besideAnother(s *strict, name string) {
	h.t.Helper()
	sessions, providers := h.sessions, h.providers
	s.seam = func(do func()) {
		s.seam = nil
		do()
		h.restart()
		h.askOf(s)
		h.settle(name)
		h.sessions, h.providers = sessions, providers
	}
	_, _ = h.try(name) // a conflict, if anything
	h.settle(name)
}

// expectGrantHolds checks that the server takes the refresh token that is kept.
func (h *harness) expectGrantHolds(s *strict, name string) {
	h.t.Helper()
	if grant := string(h.secret(name + "-grant").Data["refreshToken"]); !slices.Contains(s.live(), grant) {
		h.t.Errorf("the grant has %s, and the server takes %v", grant, s.live())
	}
}

func TestOfTwoLeadersThatLogInAtOnceTheLatterLeavesTheFirstOnesGrantAlone(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := newServing(h)
	s.refreshes = true
	h.apply(session("till-1"))
	h.besideAnother(s, "till-1")
	for _, aside := range h.asideSecrets() {
		told := provider.Request{Token: string(aside.Data["token"]), RefreshToken: string(aside.Data["refreshToken"])}
		if err := s.Revoke(t.Context(), told); err != nil {
			t.Fatal(err)
		}
	}

	h.expect("till-1", established)
	h.expectGrantHolds(s, "till-1")
	h.expectLive(s)
	id := h.get("till-1").Status.SessionID
	h.untilRenewal("till-1")
	h.settle("till-1")
	h.step(time.Second)
	h.settle("till-1")
	if got := h.get("till-1").Status.SessionID; got != id {
		t.Errorf("session %s is lost, it is now %q: %s", id, got, summary(h.get("till-1")))
	}
}

func TestARenewalWhileTheCacheDoesNotShowTheGrantYetLeavesNoTokenBehind(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := newServing(h)
	s.refreshes = true
	h.apply(session("till-1"))
	old := h.frozen()
	h.settle("till-1")
	h.expect("till-1", established)

	h.wire.frozen = map[string]client.Reader{"Secret": old}
	h.annotate("till-1", v1.AnnotationRenewRequested, "1")
	for range 3 {
		_, _ = h.try("till-1") // an error, if anything
	}
	h.wire.frozen = nil
	h.settle("till-1")
	h.expect("till-1", established)
	h.expectGrantHolds(s, "till-1")
	h.expectLive(s)
}
