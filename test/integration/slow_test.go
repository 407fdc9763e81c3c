package integration_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "terminals.dev/session-controller/api/v1"
)

// hanging has a provider whose server does not answer from now on, and tells how many calls there are to it.
func (h *harness) hanging(t *testing.T, name string) (calls func() int) {
	t.Helper()
	srv := newServer(t)
	h.apply(sessionProvider(name, srv.webhook("hook")))
	h.awaitThat(t, func() (string, bool) {
		return name + " is not ready", meta.IsStatusConditionTrue(h.provider(name).Status.Conditions, v1.ConditionReady)
	})
	srv.taken()
	srv.hang()
	return func() int {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		return len(srv.asked)
	}
}

// TestSessionsThatWaitForASlowProviderRest runs the controllers by themselves, and alone: see TestWhatWakesASession.
func TestSessionsThatWaitForASlowProviderRest(t *testing.T) {
	h := newHarness(t)
	h.manage()
	h.apply(opaque("hook", "secret", "hunter2"))
	calls := h.hanging(t, "slow")
	const n = 400
	for i := range n {
		h.apply(session(fmt.Sprint("till-", i), at(v1.KindSessionProvider, "slow"), nobodyInParticular))
	}
	h.awaitThat(t, func() (string, bool) { return "nobody waits", calls() > 0 })
	const watched = 3
	began := reconciled(t)["terminalsession"]
	time.Sleep(watched * time.Second)
	if made := reconciled(t)["terminalsession"] - began; made > watched*n/2 {
		t.Errorf("there are %.0f reconciles a second of %d sessions that can do nothing but wait", made/watched, n)
	}
}

// TestProvidersThatHangHoldUpNeitherOthersNorEnds runs the controllers by themselves, and alone: see TestWhatWakesASession.
func TestProvidersThatHangHoldUpNeitherOthersNorEnds(t *testing.T) {
	h := newHarness(t)
	h.manage() // with four turns
	h.apply(opaque("hook", "secret", "hunter2"))
	works := newServer(t)
	h.apply(sessionProvider("works", works.webhook("hook")))
	h.apply(session("till-1", at(v1.KindSessionProvider, "works")))
	h.await(t, "till-1", "Established: Ready (Established)")
	for _, name := range []string{"hangs", "hangs-too"} {
		calls := h.hanging(t, name)
		for i := range 10 {
			h.apply(session(fmt.Sprint(name, "-", i), at(v1.KindSessionProvider, name), nobodyInParticular))
		}
		h.awaitThat(t, func() (string, bool) { return fmt.Sprint("there are ", calls(), " calls to ", name), calls() == 10 })
	}

	h.apply(session("till-2", at(v1.KindSessionProvider, "works"), nobodyInParticular))
	h.await(t, "till-2", "Established: Ready (Established)")
	h.apply(ban("anna"))
	h.awaitThat(t, func() (string, bool) { return "its Secret is there", h.secret("till-1-token") == nil })
	h.delete(h.get("hangs-0"))
	h.awaitThat(t, func() (string, bool) {
		gone := h.api.Get(h.ctx, h.key("hangs-0"), &v1.TerminalSession{})
		return fmt.Sprintf("the deleted one is there (%v)", gone), gone != nil
	})
}
