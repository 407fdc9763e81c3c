package session_test

import (
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

func checkIsDue(w *world) { w.checkDue = true }

// Now and then the provider is asked whether it still honours the token. Only what says that it does not ends anything.
func TestWhetherTheProviderStillHonoursTheToken(t *testing.T) {
	rows := []row{
		{
			on: "it does: nothing is written", given: []func(*world){loggedIn}, when: checkIsDue, state: "Established", ready: "True Established", asks: 1,
			check: all(tokenIn(place), sessionIs("session-1"), attemptsAre(1), unwritten),
		},
		{
			on: "it is not time to ask", given: []func(*world){loggedIn}, when: nothing, state: "Established", ready: "True Established", check: unwritten,
		},
		{
			on: "it does not, relogin Automatic: a new session at once", given: []func(*world){refreshable, loggedIn},
			when:  func(w *world) { checkIsDue(w); w.fails(session.FailureGrantDead); w.look(); w.answer = nil },
			state: "Established", ready: "True Established", asks: 2,
			check: all(tokenIn(place), sessionIs("session-3"), ended(v1.ReasonGrantDead), refreshTokenOf("session-3", 3)),
		},
		{
			on: "it does not, and a person must confirm the next login", given: []func(*world){loggedIn},
			when: func(w *world) {
				checkIsDue(w)
				w.fails(session.FailureGrantDead)
				w.look()
				w.answer = nil
				personal(w)
			},
			state: "Establishing", ready: "False Reconciling UserInteraction", asks: 2, check: all(shows(3), ended(v1.ReasonGrantDead)),
		},
		{
			on:    "it does not, a second time within one lifetime: Establishing, after backoff",
			given: []func(*world){loggedIn, checkIsDue, failing(session.FailureGrantDead), loggedIn, healthy, loggedIn, checkIsDue},
			when:  failing(session.FailureGrantDead), state: "Establishing", ready: "False Reconciling GrantDead", asks: 1, check: all(noSecret, waits(5*time.Second, 6*time.Second)),
		},
		{
			on: "it does not, relogin OnRequest: hold Invalidated", given: []func(*world){onRequest, refreshable, loggedIn, checkIsDue}, when: failing(session.FailureGrantDead),
			state: "NotLoggedIn, Invalidated", ready: "True GrantDead", asks: 1,
			check: all(noSecret, sleeps, hold("", anna), ended(v1.ReasonGrantDead), code("GrantDeadCode"), flow(v1.FlowDone, v1.HistoryLoggedOut)),
		},
		{
			on: "it has barred the user or the device: Terminated, with the code", given: []func(*world){refreshable, loggedIn, checkIsDue}, when: failing(session.FailureBanned),
			state: "Terminated", ready: "False Stalled Banned", asks: 1, check: all(noSecret, sleeps, ended(v1.ReasonBanned), code("BannedCode"), flow(v1.FlowError, v1.HistoryError)),
		},
		{
			on: "it cannot be asked: that says nothing of the session", given: []func(*world){loggedIn, checkIsDue}, when: failing(session.FailureUnavailable),
			state: "Established", ready: "True Established", asks: 1, check: all(tokenIn(place), unwritten),
		},
		{
			on: "it does, and the name that spec wants is somebody else's: Stalled as before", given: []func(*world){loggedIn, wantNameTaken, loggedIn}, when: checkIsDue,
			state: "Established", ready: "False Stalled SecretNameTaken", asks: 1, check: unwritten,
		},
		{
			on: "it does, OneShot", given: []func(*world){oneShot, loggedIn}, when: checkIsDue, state: "Established", ready: "True Established", asks: 1, check: unwritten,
		},
		{
			on: "it is asked for a renewal instead, where one is due", given: []func(*world){loggedIn, checkIsDue}, when: renewalDue,
			state: "Established", ready: "True Established", asks: 2, check: askedFirst(session.ActionRenew),
		},
		{
			on: "it is asked for a renewal instead, where one is asked for", given: []func(*world){loggedIn, checkIsDue}, when: askForRenewal,
			state: "Established", ready: "True Established", asks: 2, check: askedFirst(session.ActionRenew),
		},
		{
			on: "it is not asked while a renewal waits", given: []func(*world){loggedIn, renewalDue, busy}, when: checkIsDue,
			state: "Established", ready: "False Reconciling ProviderBusy", check: unwritten,
		},
		{
			on: "it is not asked where it cannot be", given: []func(*world){loggedIn, stalling(v1.ReasonProviderNotReady)}, when: checkIsDue,
			state: "Established", ready: "True Established", check: unwritten,
		},
		{
			on: "it is not asked after a token that has expired", given: []func(*world){tokenExpired}, when: checkIsDue,
			state: "TokenExpired", ready: "False Reconciling ProviderUnavailable", check: unwritten,
		},
		{
			on: "it is not asked after a OneShot session that is over", given: []func(*world){oneShot, loggedIn, checkIsDue}, when: expired,
			state: "NotLoggedIn, Finished", ready: "True Finished", check: noSecret,
		},
		{
			on: "it is asked when the token has moved", given: []func(*world){loggedIn, checkIsDue},
			when:  func(w *world) { w.edit(func(s *v1.TerminalSessionSpec) { s.Token.SecretName = another }) },
			state: "Established", ready: "True Established", asks: 1, check: all(tokenIn(another), askedFirst("")),
		},
		{
			on: "it is not asked after a token that somebody has deleted", given: []func(*world){loggedIn, checkIsDue, stalling(v1.ReasonProviderNotReady)}, when: deleteSecret,
			state: "NotLoggedIn", ready: "False Stalled ProviderNotReady", check: noSecret,
		},
		{on: "it is not asked after a session under a ban", given: []func(*world){loggedIn, checkIsDue}, when: banOf, state: "Terminated", ready: "True BanInForce"},
		{
			on: "it is not asked after a session that is signed out", given: []func(*world){loggedIn, checkIsDue}, when: signsOut,
			state: "NotLoggedIn, SignedOut", ready: "True SignedOut",
		},
		{
			on: "it is not asked after a session that is going", given: []func(*world){loggedIn, checkIsDue}, when: deleteSession,
			state: "Established", ready: "True Established", check: silent,
		},
		{
			on: "it is not asked before there is a session", given: []func(*world){shown}, when: checkIsDue,
			state: "Establishing", ready: "False Reconciling UserInteraction", check: unwritten,
		},
	}
	for _, r := range rows {
		t.Run(r.on, r.holds)
	}
}

// askedFirst is what the provider was asked for in the first step.
func askedFirst(want session.Action) func(*testing.T, *world, step) {
	return func(t *testing.T, _ *world, first step) {
		t.Helper()
		if first.call != want {
			t.Errorf("the provider was asked for %q first, want %q", first.call, want)
		}
	}
}
