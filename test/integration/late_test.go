package integration_test

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/provider"
)

// followed reconciles a session as its queue does: again for as long as the result asks for it at once. Nothing else makes anybody look.
func (h *harness) followed(name string) {
	h.t.Helper()
	for range 6 {
		if after := h.reconcile(name).RequeueAfter; after == 0 || after > time.Second {
			return
		}
	}
	h.t.Errorf("session %s asks to be looked at again and again", name)
}

// asSomebody has the provider name a user, after something has happened.
func asSomebody(email string, happens func()) answer {
	return func(give func() (provider.Token, error)) (provider.Token, error) {
		happens()
		return identity(email)(give)
	}
}

// signedOutBy has sessions look as often as they are woken by a logout: whenever it has written how far it is.
func (h *harness) signedOutBy(l *v1.SessionLogout, sessions ...string) {
	h.t.Helper()
	for written := 1; written > 0; {
		h.followed(sessions[len(sessions)-1])
		h.wire.taken()
		h.advance(l)
		writes, _ := h.wire.taken()
		if written = len(writes); written > 0 {
			for _, name := range sessions {
				h.followed(name)
			}
		}
	}
}

func TestTheAttemptOfATokenThatComesLateCountsAtARenewalToo(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]func(h *harness){
		"a ban": func(h *harness) { h.apply(ban("anna")) },
		"a logout": func(h *harness) {
			l := logout("out")
			h.apply(l)
			h.advance(l)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.loggedIn(session("till-1"))
			h.annotate("till-1", v1.AnnotationRenewRequested, "1")
			h.answers.say(meanwhile(func() { late(h); h.sync() }))
			h.settle("till-1")
			h.expectNo("till-1-token")
			h.expectCalls("Renew")
			if got := h.get("till-1").Status.Attempt; got == nil || got.Number != 2 {
				t.Errorf("the attempt is not counted, so that the token which was revoked could come again: %+v", got)
			}
		})
	}
}

func TestATokenOfSomebodyWhoIsBannedIsNotAdopted(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.apply(session("till-1", func(s *v1.TerminalSessionSpec) { s.User = nil }))
	h.answers.say(identity("mallory@acme.example"))
	if !h.killed(moment{write: 1, after: true}, func() { h.reconcile("till-1") }) {
		t.Fatal("the controller lives")
	}
	h.apply(ban("mallory", func(s *v1.SessionBanSpec) { s.Match.User = "mallory@acme.example" }))
	h.restart()
	h.followed("till-1")
	h.expect("till-1", terminated)
	h.expectNo("till-1-token")
}

func TestALogoutMeetsWhoeverLogsInMeanwhileWhereSpecNamesNobody(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	mallory := "mallory@acme.example"
	h.loggedIn(session("till-2", func(s *v1.TerminalSessionSpec) { s.User.Email = mallory }))
	h.apply(session("till-1", func(s *v1.TerminalSessionSpec) { s.User = nil }))
	l := logout("out", selecting(v1.LogoutSelector{User: mallory}))
	h.answers.say(asSomebody(mallory, func() { h.apply(l); h.advance(l); h.sync() }))
	h.followed("till-1")
	h.answers.say(nil)
	h.signedOutBy(l, "till-1", "till-2")
	if h.again(l); l.Status.CompletedAt == nil {
		t.Errorf("the logout waits for a session that nobody looks at: %s", h.standing(l))
	}
	h.expect("till-1", signedOut)
	h.expect("till-2", signedOut)
}

func TestALogoutDoesNotWaitForASessionThatComesUpMeanwhile(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-2"))
	h.answers.say(banned)
	h.apply(session("till-1"))
	h.settle("till-1")
	l := logout("out")
	h.apply(l)
	h.advance(l)
	h.answers.say(rejected)
	h.edit("till-1", toUser("bob@acme.example"))
	h.followed("till-1")
	h.signedOutBy(l, "till-1", "till-2")
	if h.again(l); l.Status.CompletedAt == nil {
		t.Errorf("the logout waits for a session that nobody looks at: %s, and till-1 is %s", h.standing(l), summary(h.get("till-1")))
	}
}

func TestAnObjectWithoutAnyTimeIsRemovedAtOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1", func(s *v1.TerminalSessionSpec) { s.TTLSecondsAfterFinished = new(int32(0)) }))
	l := logout("out")
	h.apply(l)
	h.advance(l)
	h.followed("till-1")
	if err := h.api.Get(h.ctx, h.key("till-1"), &v1.TerminalSession{}); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there (%v): %s", err, summary(h.get("till-1")))
	}
}
