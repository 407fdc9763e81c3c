package integration_test

import (
	"fmt"
	"slices"
	"testing"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
)

// tellAll tells the provider of every token that was put aside.
func (h *harness) tellAll() {
	h.t.Helper()
	h.sync()
	r := &controllers.RevocationReconciler{Store: h.sessions.Store, Providers: h.providers, Metrics: h.sessions.Metrics, Clock: h.clock}
	for _, aside := range h.asideSecrets() {
		if _, err := r.Reconcile(h.loud, h.request(aside.Name)); err != nil {
			h.t.Errorf("revoking what is in %s: %v", aside.Name, err)
		}
	}
	if left := h.asideSecrets(); len(left) > 0 {
		h.t.Errorf("%d tokens are yet to be revoked", len(left))
	}
}

// TestAnEndThatIsWithdrawnAfterACrashLeavesNobodyWithADeadToken has the manager be killed at each write of an end, and the session be wanted
// again before the next one comes up.
func TestAnEndThatIsWithdrawnAfterACrashLeavesNobodyWithADeadToken(t *testing.T) {
	t.Parallel()
	for write := 1; write <= 4; write++ {
		for _, after := range []bool{false, true} {
			for _, refreshes := range []bool{false, true} {
				at := moment{write, after}
				t.Run(fmt.Sprintf("%s, refresh tokens: %t", at, refreshes), func(t *testing.T) {
					t.Parallel()
					h := newHarness(t)
					s := newServing(h)
					s.refreshes = refreshes
					h.apply(session("till-1"))
					h.settle("till-1")
					h.expect("till-1", established)

					h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedOut })
					h.killed(at, func() { h.settle("till-1") })
					h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn })
					h.restart()
					h.askOf(s)
					h.settle("till-1")
					h.tellAll()
					h.settle("till-1")
					h.expect("till-1", established)
					h.tellAll()
					if token := h.token("till-1-token"); !slices.Contains(s.live(), token) {
						t.Errorf("it has %s, and the server honours %v", token, s.live())
					}
					if refreshes {
						h.expectGrantHolds(s, "till-1")
					}
					h.expectLive(s)
				})
			}
		}
	}
}
