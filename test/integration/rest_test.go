package integration_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	v1 "terminals.dev/session-controller/api/v1"
)

// atRest are the states in which a session can be for a long time.
var atRest = map[string]struct {
	bring func(h *harness)
	want  string
}{
	"established": {
		bring: func(h *harness) { h.loggedIn(session("till-1")) },
		want:  "Established: Ready (Established)",
	},
	"renewed": {
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.untilRenewal("till-1")
		},
		want: "Established: Ready (Established)",
	},
	"logged out": {
		bring: func(h *harness) { h.apply(session("till-1", loggedOut)) },
		want:  "NotLoggedIn: Ready (LoggedOut)",
	},
	"logged out after a login": {
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.edit("till-1", to(loggedOut))
		},
		want: "NotLoggedIn: Ready (LoggedOut)",
	},
	"held as finished": {
		bring: func(h *harness) {
			h.loggedIn(session("till-1", oneShot))
			h.step(month)
		},
		want: "NotLoggedIn, held Finished: Ready (Finished)",
	},
	"held as rejected": {
		bring: func(h *harness) {
			h.answers.say(rejected)
			h.apply(session("till-1"))
		},
		want: "NotLoggedIn, held Rejected: Stalled (Rejected)",
	},
	"held as invalidated": {
		bring: func(h *harness) {
			h.loggedIn(session("till-1", func(s *v1.TerminalSessionSpec) { s.Relogin = v1.ReloginOnRequest }))
			h.untilRenewal("till-1")
			h.answers.say(grantDead)
		},
		want: "NotLoggedIn, held Invalidated: Ready (GrantDead)",
	},
	"barred by the provider": {
		bring: func(h *harness) {
			h.answers.say(banned)
			h.apply(session("till-1"))
		},
		want: "Terminated: Stalled (Banned)",
	},
	"without a provider": {
		bring: func(h *harness) { h.apply(session("till-1", at(v1.KindSessionProvider, "nobody"))) },
		want:  "NotLoggedIn: Stalled (ProviderNotFound)",
	},
	"at a provider that does not allow it": {
		bring: func(h *harness) {
			h.provide(h.clusterProvider())
			h.apply(session("till-1", at(v1.KindClusterSessionProvider, h.namespace)))
		},
		want: "NotLoggedIn: Stalled (ProviderNotAllowed)",
	},
	"with somebody else's Secret in the way": {
		bring: func(h *harness) { h.apply(opaque("till-1-token", "a", "b"), session("till-1")) },
		want:  "NotLoggedIn: Stalled (SecretNameTaken)",
	},
	"waiting for its next login": {
		bring: func(h *harness) {
			h.answers.say(unavailable)
			h.apply(session("till-1"))
		},
		want: "Establishing: Reconciling (ProviderUnavailable)",
	},
	"waiting for its next renewal": {
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.untilRenewal("till-1")
			h.answers.say(unavailable)
		},
		want: "Established: Reconciling (ProviderUnavailable)",
	},
	"expired, waiting for its next renewal": {
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.step(month)
			h.answers.say(unavailable)
		},
		want: "TokenExpired: Reconciling (ProviderUnavailable)",
	},
	"waiting for its renewal until its provider is ready": {
		bring: func(h *harness) {
			h.loggedIn(session("till-1"))
			h.untilRenewal("till-1")
			h.delete(h.provider(issuer))
		},
		want: "Established: Stalled (ProviderNotFound)",
	},
}

func TestAtRestNothingIsWrittenReadOrAsked(t *testing.T) {
	t.Parallel()
	for name, test := range atRest {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			test.bring(h)
			h.settle("till-1")
			h.expect("till-1", test.want)
			events := len(h.events)
			tells := strings.Contains(test.want, "Stalled") || name == "logged out after a login"
			if tells != (events == 1) {
				t.Errorf("the events are %q, want a word of what needs help or was done by people, once", h.events)
			}

			for _, which := range []string{"resync", "restart"} {
				if which == "restart" {
					h.restart()
				}
				h.sync()
				h.wire.taken()
				h.answers.taken()
				h.reconcile("till-1")
				writes, reads := h.wire.taken()
				if diff := cmp.Diff([]string{}, append(writes, reads...), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("a %s is not free (-want +got):\n%s", which, diff)
				}
				h.expectCalls()
			}
			h.expect("till-1", test.want)
			if len(h.events) != events {
				t.Errorf("what was told is told again: %q", h.events)
			}
		})
	}
}

func TestAProviderAtRestIsNotWrittenNorItsKeysReadAfterARestart(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.look(h.provider(issuer))
	h.restart()
	h.wire.taken()

	h.look(h.provider(issuer))

	if writes, reads := h.wire.taken(); len(writes)+len(reads) > 0 {
		t.Errorf("a restart costs %v and %v", writes, reads)
	}
}
