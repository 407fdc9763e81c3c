package integration_test

import (
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	v1 "terminals.dev/session-controller/api/v1"
)

// overs are what makes a login that is under way one that nobody wants, and how it is seen that this was done without waiting for it.
var overs = []struct {
	name string
	do   func(h *harness, session string)
	is   string
}{
	{"banned", func(h *harness, name string) {
		h.apply(ban(name, func(s *v1.SessionBanSpec) { s.Match = v1.BanMatch{TerminalID: name} }))
	}, "Terminated: Ready (BanInForce)"},
	{"signed out", func(h *harness, name string) {
		h.apply(logout(name, selecting(v1.LogoutSelector{TerminalID: name})))
	}, signedOut},
	{"logged out by spec", func(h *harness, name string) {
		h.edit(name, func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedOut })
	}, "NotLoggedIn: Ready (LoggedOut)"},
	{"deleted", func(h *harness, name string) { h.delete(h.get(name)) }, ""},
}

// TestALoginThatIsCalledOffLeavesNoTokenBehind runs the controllers by themselves, and alone: see TestWhatWakesASession.
func TestALoginThatIsCalledOffLeavesNoTokenBehind(t *testing.T) {
	h := newHarness(t)
	h.answers.tell = true
	h.manage()
	h.apply(opaque("hook", "secret", "hunter2"))
	for _, from := range []struct {
		name string
		of   func(*server) func(*v1.SessionProviderSpec)
		// cut is whether its answer never comes: a webhook can be told of the session then.
		cut bool
	}{
		{"oauth2", func(s *server) func(*v1.SessionProviderSpec) { return s.public }, false},
		{"webhook", func(s *server) func(*v1.SessionProviderSpec) { return s.webhook("hook") }, false},
		{"webhook that breaks off", func(s *server) func(*v1.SessionProviderSpec) { return s.webhook("hook") }, true},
	} {
		for i, over := range overs {
			t.Run(from.name+"/"+over.name, func(t *testing.T) {
				srv := newServer(t)
				name := fmt.Sprintf("%.7s-%t-%d", from.name, from.cut, i)
				h.apply(sessionProvider(name, from.of(srv)))
				h.awaitThat(t, func() (string, bool) {
					return name + " is not ready", meta.IsStatusConditionTrue(h.provider(name).Status.Conditions, v1.ConditionReady)
				})
				answer := srv.slower()
				t.Cleanup(func() { answer(false) })
				h.apply(session(name, at(v1.KindSessionProvider, name), nobodyInParticular, func(s *v1.TerminalSessionSpec) { s.Terminal.ID = name }))
				h.awaitThat(t, func() (string, bool) { n, _ := srv.honours(); return "nothing is given", n == 1 })

				over.do(h, name)
				if over.is != "" {
					h.await(t, name, over.is)
				} else {
					h.awaitThat(t, func() (string, bool) {
						return "it is there", apierrors.IsNotFound(h.api.Get(h.ctx, h.key(name), &v1.TerminalSession{}))
					})
				}
				answer(from.cut)
				h.awaitThat(t, func() (string, bool) {
					given, live := srv.honours()
					return fmt.Sprintf("%d tokens were given, and %d are live", given, live), live == 0
				})
				h.expectNo(name + "-token")
			})
		}
	}
}
