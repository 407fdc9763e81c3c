package session_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// Givens and events of logins that a person confirms.
func personal(w *world)   { w.person = true }
func shown(w *world)      { w.person = true; w.look() }
func nextPoll(w *world)   { w.now = w.nextPoll }
func confirms(w *world)   { w.confirmed = true; nextPoll(w) }
func codeIsOver(w *world) { w.now = w.s.Status.Flow.ExpiresAt.Time }
func pollFails(w *world)  { nextPoll(w); busy(w); w.answer = nil }

// crashedPoll: the person has confirmed, the token's Secret was written, and neither was the grant deleted nor status written.
func crashedPoll(w *world) {
	grant := w.grant
	w.obtain("session-1", place)
	if !w.refreshes {
		w.grant = grant
	}
}

// crashedHalfway: what renews the token was kept, and the token was not.
func crashedHalfway(w *world) {
	w.grant = session.Grant{Kind: session.GrantRefreshToken, SessionID: "session-1", Attempt: session.NextAttempt(w.s)}
}

// crashedWaiting: what to ask with was kept, and status was not written.
func crashedWaiting(w *world) { w.wait(); w.restart() }

// shows: a person is to act on the code of an attempt, and what to ask with is there.
func shows(attempt int64) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		if st := &w.s.Status; !interaction(st) || codeIn(st) != codeOf(attempt) || st.Attempt.Number != attempt || !w.awaits(st) {
			t.Errorf("it does not wait for a person with the code of attempt %d: %s, %+v", attempt, show(st), w.grant)
		}
	}
}

func aborted(t *testing.T, w *world, first step) {
	t.Helper()
	all(noSecret, sleeps, hold("", anna), flow(v1.FlowError, v1.HistoryAborted))(t, w, first)
	w.now = w.now.Add(month)
	before, asked := w.s, w.asked()
	if w.look(); !same(&before.Status, &w.s.Status) || w.asked() != asked {
		t.Error("it does not rest there")
	}
	w.answer = nil
	afterwards(askForLogin, "Establishing")(t, w, first)
	if st := &w.s.Status; !interaction(st) || st.LastHandledLoginRequest != "please" || st.Error != nil {
		t.Errorf("the next login request does not start another login: %s", show(st))
	}
}

func TestALoginThatAPersonMustConfirm(t *testing.T) {
	const establishing, acts = "Establishing", "False Reconciling UserInteraction"
	rows := []row{
		{
			on: "shows where and with which code, and wakes nobody before the code is over", when: personal, state: establishing, ready: acts, asks: 1,
			check: func(t *testing.T, w *world, first step) {
				shows(1)(t, w, first)
				f, expires := w.s.Status.Flow, start.Add(codeLife)
				if f.VerificationURI != "https://login.acme.example/device" || !strings.HasSuffix(f.VerificationURIComplete, f.UserCode) || !f.ExpiresAt.Time.Equal(expires) {
					t.Errorf("flow is %s", show(f))
				}
				message := meta.FindStatusCondition(w.s.Status.Conditions, v1.ConditionReady).Message
				for _, part := range []string{f.VerificationURI, f.UserCode, "2026-03-01T09:15:00Z"} {
					if !strings.Contains(message, part) {
						t.Errorf("Ready does not tell of %s: %s", part, message)
					}
				}
				if wake := session.WakeTime(w.s, w.now); !wake.Equal(expires) {
					t.Errorf("it is looked at again at %v, want the end of the code", wake)
				}
				if w.s.Status.History != "" || w.s.Status.SessionID != "" || w.find(place) != nil {
					t.Errorf("it tells of a session already: %s", show(w.s.Status))
				}
			},
		},
		{
			on: "is asked after again when the interval is over, and nothing is written", given: []func(*world){shown}, when: nextPoll,
			state: establishing, ready: acts, asks: 1, check: all(shows(1), unwritten),
		},
		{
			on: "is not asked after before the interval is over", given: []func(*world){shown},
			when: func(w *world) { w.now = w.nextPoll.Add(-1) }, state: establishing, ready: acts, check: all(shows(1), unwritten),
		},
		{
			on: "is not asked after at once by a process that has just begun", given: []func(*world){shown},
			when: sequence(confirms, (*world).restart), state: establishing, ready: acts,
			check: all(shows(1), unwritten, afterwards(nextPoll, "Established"), sessionIs("session-1")),
		},
		{
			on: "confirmed: Established, with the session ID that the flow had", given: []func(*world){shown}, when: confirms,
			state: "Established", ready: "True Established", asks: 1,
			check: func(t *testing.T, w *world, first step) {
				all(tokenIn(place), sessionIs("session-1"), attemptsAre(2), flow(v1.FlowActive, v1.HistoryLoggedIn))(t, w, first)
				if w.grant.Kind != "" || codeIn(&w.s.Status) != "" || w.s.Status.User.Email != anna || len(w.s.Status.Recent) != 0 {
					t.Errorf("something of the flow is left: %s, %+v", show(w.s.Status), w.grant)
				}
			},
		},
		{
			on: "confirmed, and a refresh token comes along: it renews the session", given: []func(*world){refreshable, shown}, when: confirms,
			state: "Established", ready: "True Established", asks: 1,
			check: all(
				tokenIn(place), refreshTokenOf("session-1", 2), afterwards(deleteSecret, "Established"), sessionIs("session-1"), refreshTokenOf("session-1", 3),
			),
		},
		{
			on: "denied", given: []func(*world){shown, nextPoll}, when: failing(session.FailureRejected),
			state: "NotLoggedIn, Aborted", ready: "True Aborted", asks: 1, check: all(code("RejectedCode"), aborted, shows(3)),
		},
		{
			on: "the provider says that the code is dead", given: []func(*world){shown, nextPoll}, when: failing(session.FailureGrantDead),
			state: "NotLoggedIn, Aborted", ready: "True Aborted", asks: 1, check: all(code("GrantDeadCode"), aborted, shows(3)),
		},
		{
			on: "not confirmed in time: nobody is asked any more", given: []func(*world){shown}, when: codeIsOver,
			state: "NotLoggedIn, Aborted", ready: "True Aborted", check: all(aborted, shows(2)),
		},
		{
			on: "not confirmed in time, whatever the provider is", given: []func(*world){shown, stalling(v1.ReasonProviderNotFound), loggedIn}, when: codeIsOver,
			state: "NotLoggedIn, Aborted", ready: "True Aborted", check: all(noSecret, sleeps),
		},
		{
			on: "not confirmed in time, and what to ask with is gone", given: []func(*world){shown}, when: sequence(codeIsOver, noGrant),
			state: "NotLoggedIn, Aborted", ready: "True Aborted", check: all(noSecret, sleeps),
		},
		{
			on: "somebody else confirms it: refused", given: []func(*world){shown, nextPoll}, when: failing(session.FailureIdentity),
			state: "NotLoggedIn, Rejected", ready: "False Stalled IdentityMismatch", asks: 1, check: all(noSecret, sleeps, flow(v1.FlowError, v1.HistoryError)),
		},
		{
			on: "the provider bars the user", given: []func(*world){shown, nextPoll}, when: failing(session.FailureBanned),
			state: "Terminated", ready: "False Stalled Banned", asks: 1, check: all(noSecret, sleeps, code("BannedCode")),
		},
		{
			on: "confirmed, and the token cannot be kept: another login after backoff", given: []func(*world){shown, nextPoll}, when: failing(session.FailureSecretRefused),
			state: "NotLoggedIn", ready: "False Stalled SecretRefused", asks: 1,
			check: all(noSecret, waits(5*time.Second, 6*time.Second), afterwards(sequence(healthy, backoffIsOver), establishing), shows(3)),
		},
		{
			on: "the provider cannot be asked while it polls, and then it can", given: []func(*world){shown, pollFails}, when: backoffIsOver,
			state: establishing, ready: acts, asks: 1,
			check: func(t *testing.T, w *world, first step) {
				shows(1)(t, w, first)
				if st := w.s.Status; st.Error != nil || st.Attempt.Failures != 0 || st.Attempt.NotBefore != nil {
					t.Errorf("the failure is not forgotten: %s", show(st))
				}
			},
		},
		{
			on: "what a poll has failed with stands until the next one, where that may be only later", given: []func(*world){shown, pollFails, backoffIsOver},
			when: func(w *world) { w.nextPoll = w.now.Add(time.Second) }, state: establishing, ready: "False Reconciling ProviderBusy",
			check: all(shows(1), unwritten),
		},
		{
			on: "the provider is not ready for a while: the code stays, and nobody is asked", given: []func(*world){shown, nextPoll}, when: stalling(v1.ReasonProviderNotReady),
			state: establishing, ready: "False Reconciling ProviderNotReady",
			check: func(t *testing.T, w *world, first step) {
				shows(1)(t, w, first)
				if wake := session.WakeTime(w.s, w.now); !wake.Equal(start.Add(codeLife)) {
					t.Errorf("it is looked at again at %v, want the end of the code", wake)
				}
				w.restart() // it may be that the interval is still to be waited for
				afterwards(provided, establishing)(t, w, first)
				if got := readiness(&w.s.Status); got != acts {
					t.Errorf("when the provider is ready again, Ready is %s", got)
				}
				shows(1)(t, w, first)
				afterwards(confirms, "Established")(t, w, first)
			},
		},
		{
			on: "somebody else's Secret has the name for a while: the code stays", given: []func(*world){shown, nextPoll}, when: takeName,
			state: establishing, ready: "False Reconciling SecretNameTaken",
			check: all(shows(1), afterwards(sequence(deleteSecret, confirms), "Established"), sessionIs("session-1")),
		},
		{
			on: "a login is asked for: another flow", given: []func(*world){shown}, when: askForLogin, state: establishing, ready: acts, asks: 1,
			check: func(t *testing.T, w *world, first step) {
				shows(2)(t, w, first)
				if w.s.Status.LastHandledLoginRequest != "please" {
					t.Error("the request stays open")
				}
				afterwards(confirms, "Established")(t, w, first)
				sessionIs("session-2")(t, w, first)
			},
		},
		{
			on: "a renewal is asked for: it is answered by the next poll, and the code stays", given: []func(*world){shown, nextPoll}, when: askForRenewal,
			state: establishing, ready: acts, asks: 1,
			check: func(t *testing.T, w *world, first step) {
				shows(1)(t, w, first)
				if w.s.Status.LastHandledRenewRequest != "please" {
					t.Error("the request stays open")
				}
			},
		},
		{
			on: "spec names another user: another flow", given: []func(*world){shown}, when: changeUser, state: establishing, ready: acts, asks: 1,
			check: all(shows(2), afterwards(confirms, "Established"), sessionIs("session-2")),
		},
		{
			on: "spec names another terminal: another flow", given: []func(*world){shown},
			when: func(w *world) { w.edit(func(s *v1.TerminalSessionSpec) { s.Terminal.ID = "T-1" }) }, state: establishing, ready: acts, asks: 1, check: shows(2),
		},
		{
			on: "spec names another user after the code was over, and nobody has looked: whom it names now is asked", given: []func(*world){shown},
			when: sequence(codeIsOver, changeUser), state: establishing, ready: acts, asks: 1, check: shows(2),
		},
		{
			on: "spec changes in what makes no other session: the code stays", given: []func(*world){shown, pollFails},
			when: func(w *world) { w.edit(renewBefore(time.Hour)) }, state: establishing, ready: "False Reconciling ProviderBusy",
			check: all(shows(1), afterwards(nextPoll, establishing)),
		},
		{
			on: "what to ask with was deleted by hand: another flow", given: []func(*world){shown}, when: noGrant, state: establishing, ready: acts, asks: 1, check: shows(2),
		},
		{
			on: "what to ask with was deleted by hand, and the provider is busy: no code is shown", given: []func(*world){shown}, when: sequence(noGrant, failing(session.FailureBusy)),
			state: establishing, ready: "False Reconciling ProviderBusy", asks: 1, check: all(noSecret, flow(v1.FlowStarting, "")),
		},
		{
			on: "a ban", given: []func(*world){shown}, when: banOf, state: "Terminated", ready: "True BanInForce",
			check: all(noSecret, sleeps, code("TerminalStolen"), flow(v1.FlowError, v1.HistoryError), afterwards(unban, establishing), shows(2)),
		},
		{
			on: "a ban that comes while it is asked after a login that is confirmed: the token is discarded", given: []func(*world){shown, late(banOf)}, when: confirms,
			state: "Terminated", ready: "True BanInForce", asks: 1, check: all(noSecret, sleeps, attemptsAre(2)),
		},
		{
			on: "a logout", given: []func(*world){shown}, when: signsOut, state: "NotLoggedIn, SignedOut", ready: "True SignedOut",
			check: all(noSecret, sleeps, hold("carol@acme.example", anna), afterwards(askForLogin, establishing), shows(2)),
		},
		{
			on: "a logout that comes while it is asked after a login that is confirmed: the token is discarded", given: []func(*world){shown, late(signsOut)}, when: confirms,
			state: "NotLoggedIn, SignedOut", ready: "True SignedOut", asks: 1, check: all(noSecret, sleeps, attemptsAre(2)),
		},
		{
			on: "desiredState LoggedOut", given: []func(*world){shown, pollFails}, when: wantLoggedOut, state: "NotLoggedIn", ready: "True LoggedOut",
			check: all(noSecret, sleeps, noError, flow(v1.FlowDone, v1.HistoryLoggedOut), afterwards(wantLoggedIn, establishing), shows(2)),
		},
		{
			on: "deletion", given: []func(*world){shown}, when: deleteSession, state: establishing, ready: acts, check: all(silent, noSecret, sleeps),
		},
		{
			on: "deletion of the namespace", given: []func(*world){shown, nextPoll}, when: endNamespace, state: establishing, ready: acts, check: all(silent, noSecret),
		},
		{
			on: "a crash after the grant and before status: the attempt is counted, and never used twice", given: []func(*world){personal, crashedWaiting}, when: nothing,
			state: establishing, ready: acts, asks: 1,
			check: func(t *testing.T, w *world, first step) {
				shows(2)(t, w, first)
				if first.counted != 1 {
					t.Errorf("attempt %d is counted, want 1", first.counted)
				}
				afterwards(confirms, "Established")(t, w, first)
				sessionIs("session-2")(t, w, first)
			},
		},
		{
			on:    "a crash after the grant of a second login and before status: nobody is asked after it while the code of the first is shown",
			given: []func(*world){shown, crashedWaiting, nextPoll}, when: nothing, state: establishing, ready: acts, asks: 1, check: shows(3),
		},
		{
			on: "a crash after the token and before status: it is adopted, as the session that the flow had", given: []func(*world){shown, crashedPoll}, when: nothing,
			state: "Established", ready: "True Established", check: all(tokenIn(place), sessionIs("session-1"), attemptsAre(2), grantIsGone),
		},
		{
			on: "a crash after the token and before status, with a refresh token: it is adopted, and renewed", given: []func(*world){refreshable, shown, crashedPoll}, when: nothing,
			state: "Established", ready: "True Established",
			check: all(tokenIn(place), refreshTokenOf("session-1", 2), afterwards(alterSecret, "Established"), sessionIs("session-1")),
		},
		{
			on: "a crash after the token and before status, and the code is over by now: it is adopted all the same", given: []func(*world){shown, crashedPoll}, when: codeIsOver,
			state: "Established", ready: "True Established", check: sessionIs("session-1"),
		},
		{
			on: "a crash after the refresh token and before the token: the attempt is counted, and another flow begins", given: []func(*world){shown, crashedHalfway}, when: nothing,
			state: establishing, ready: acts, asks: 1, check: shows(3),
		},
		{
			on:    "a crash after the refresh token and before the token, and the code is over by now: aborted, and the attempt is counted",
			given: []func(*world){shown, crashedHalfway}, when: codeIsOver, state: "NotLoggedIn, Aborted", ready: "True Aborted", check: all(noSecret, sleeps, attemptsAre(2)),
		},
		{
			on: "after a session whose Secret was deleted by hand", given: []func(*world){loggedIn, personal}, when: deleteSecret, state: establishing, ready: acts, asks: 1,
			check: all(shows(2), ended(v1.ReasonSecretChanged), afterwards(confirms, "Established"), sessionIs("session-2")),
		},
		{
			on: "after another user's session", given: []func(*world){loggedIn, personal}, when: changeUser, state: establishing, ready: acts, asks: 1,
			check: all(shows(2), ended(v1.ReasonHandedOver)),
		},
		{
			on: "after a lost link, where a login was asked for: it does not wait for the terminal", given: []func(*world){withHeartbeat, loggedIn, quietFor(time.Hour), loggedIn, personal},
			when: askForLogin, state: establishing, ready: acts, asks: 1, check: shows(2),
		},
	}
	for kind, reason := range map[session.FailureKind]string{
		session.FailureBusy: v1.ReasonProviderBusy, session.FailureUnavailable: v1.ReasonProviderUnavailable,
		session.FailureAuthTokenMissing: v1.ReasonAuthTokenMissing, session.FailureMisconfigured: v1.ReasonProviderMisconfigured,
		"SomethingNew": v1.ReasonProviderUnavailable,
	} {
		least, most := 5*time.Second, 6*time.Second
		if kind == session.FailureAuthTokenMissing {
			least, most = 10*time.Minute, 10*time.Minute
		}
		rows = append(rows, row{
			on:    "the provider answers " + string(kind) + " while it polls: the reason is shown, and the code and the attempt's number stay",
			given: []func(*world){shown, nextPoll}, when: failing(kind), state: establishing, ready: "False Reconciling " + reason, asks: 1,
			check: all(shows(1), code(string(kind)+"Code"), waits(least, most), afterwards(codeIsOver, "NotLoggedIn, Aborted")),
		})
	}
	for _, r := range rows {
		t.Run(r.on, r.holds)
	}
}

// unwritten: the step has changed nothing in status.
func unwritten(t *testing.T, w *world, first step) {
	t.Helper()
	if !same(&first.seen.Session.Status, &w.s.Status) {
		t.Errorf("status is written: %s", show(w.s.Status))
	}
}

func grantIsGone(t *testing.T, w *world, _ step) {
	t.Helper()
	if w.grant.Kind != "" {
		t.Errorf("a grant is left: %+v", w.grant)
	}
}

func refreshTokenOf(sessionID string, attempt int64) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		if want := (session.Grant{Kind: session.GrantRefreshToken, SessionID: sessionID, Attempt: attempt}); w.grant != want {
			t.Errorf("the grant is %+v, want %+v", w.grant, want)
		}
	}
}

// Whatever wakes the reconciler while a person is waited for, the provider is asked once an interval.
func TestPollsKeepTheIntervalAndWriteNothing(t *testing.T) {
	w := newWorld()
	shown(w)
	before := w.s.Status
	for seconds := 1; seconds < 900; seconds++ {
		w.now = start.Add(time.Duration(seconds) * time.Second)
		w.rest(t)
		if want := seconds / 5; w.polls != want || !same(&before, &w.s.Status) {
			t.Fatalf("after %d s the provider was asked %d times, want %d, and status is %s", seconds, w.polls, want, show(w.s.Status))
		}
		if wake := session.WakeTime(w.s, w.now); !wake.Equal(start.Add(codeLife)) {
			t.Fatalf("after %d s it is looked at again at %v, want the end of the code", seconds, wake)
		}
	}
	w.now = start.Add(codeLife)
	w.rest(t)
	if w.polls != 179 || state(&w.s.Status) != "NotLoggedIn, Aborted" || w.logins != 1 {
		t.Errorf("after %d logins and %d polls it is %s", w.logins, w.polls, state(&w.s.Status))
	}
}

// A provider that is out of reach all the while costs no more attempts than backoff allows, and no other code.
func TestAnOutageWhileAPersonIsWaitedForCostsNoCode(t *testing.T) {
	w := newWorld()
	shown(w)
	w.fails(session.FailureUnavailable)
	for w.now = w.nextPoll; w.now.Before(start.Add(10 * time.Minute)); w.now = w.s.Status.Attempt.NotBefore.Time {
		w.rest(t)
		shows(1)(t, w, step{})
	}
	if w.polls < 5 || w.polls > 9 {
		t.Errorf("it was asked %d times in 10 minutes", w.polls)
	}
	w.answer, w.confirmed, w.now = nil, true, start.Add(14*time.Minute)
	w.rest(t)
	all(tokenIn(place), sessionIs("session-1"), attemptsAre(2))(t, w, step{})
}

func TestWhatAGrantIsToASession(t *testing.T) {
	w := newWorld()
	w.look()
	w.s.Status.Attempt.Number = 3
	for name, test := range map[string]struct {
		grant            session.Grant
		refreshes, stale bool
	}{
		"none":                           {},
		"a refresh token of the session": {grant: session.Grant{Kind: session.GrantRefreshToken, SessionID: "session-1", Attempt: 1}, refreshes: true},
		"a refresh token of the session, unknown": {grant: session.Grant{Kind: session.GrantRefreshToken, SessionID: "session-1", Attempt: 4}, refreshes: true},
		"a refresh token of an earlier session":   {grant: session.Grant{Kind: session.GrantRefreshToken, SessionID: "session-0", Attempt: 3}, stale: true},
		"a refresh token of a session unknown":    {grant: session.Grant{Kind: session.GrantRefreshToken, SessionID: "session-4", Attempt: 4}},
		"a device code that was used":             {grant: session.Grant{Kind: session.GrantDeviceCode, SessionID: "session-1", Attempt: 1}, stale: true},
		"a device code of an attempt unknown":     {grant: session.Grant{Kind: session.GrantDeviceCode, SessionID: "session-4", Attempt: 4}},
	} {
		if got := test.grant.Refreshes(w.s); got != test.refreshes {
			t.Errorf("%s: it renews the session: %t", name, got)
		}
		if got := test.grant.Stale(w.s); got != test.stale {
			t.Errorf("%s: it is of no more use: %t", name, got)
		}
		without := w.s.DeepCopy()
		without.Status.Token = nil
		if test.grant.Refreshes(without) || test.grant.Stale(without) {
			t.Errorf("%s: without a session it is something to one", name)
		}
	}
}

// What renews a session goes with it, however it ends.
func TestNoGrantOutlivesItsSession(t *testing.T) {
	for how, end := range map[string]func(*world){
		"ban": banOf, "logout": signsOut, "LoggedOut": wantLoggedOut, "deletion": deleteSession, "handover": changeUser,
		"OneShot, and its time is over":                     sequence(func(w *world) { w.s.Spec.Type = v1.OneShot; w.s.Status.Binding.Request = session.RequestOf(w.s) }, expired),
		"the terminal is silent":                            sequence(withHeartbeat, quietFor(time.Hour)),
		"the grant is dead":                                 sequence(onRequest, renewalDue, failing(session.FailureGrantDead)),
		"the provider bars the user":                        sequence(renewalDue, failing(session.FailureBanned)),
		"somebody else's Secret stands where the token was": func(w *world) { *w.find(place) = secret{name: place, version: "theirs", foreign: true} },
	} {
		t.Run(how, func(t *testing.T) {
			w := newWorld()
			refreshable(w)
			w.look()
			refreshTokenOf("session-1", 1)(t, w, step{})
			w.refreshes = false
			end(w)
			w.rest(t)
			grantIsGone(t, w, step{})
		})
	}
}

// Without a token to renew, an attempt whose refresh token was kept is counted before that goes.
func TestAnAttemptWhoseRefreshTokenIsThereIsNotMadeTwice(t *testing.T) {
	w := newWorld()
	crashedHalfway(w)
	first := w.rest(t)
	all(tokenIn(place), sessionIs("session-2"), attemptsAre(2), grantIsGone)(t, w, first)
	if first.counted != 1 {
		t.Errorf("attempt %d is counted, want 1", first.counted)
	}
}

// A renewal that crashed after its refresh token was kept is made again with that one, as the same attempt.
func TestARenewalThatCrashedGoesOnWithTheNewRefreshToken(t *testing.T) {
	w := newWorld()
	refreshable(w)
	w.look()
	renewalDue(w)
	w.grant.Attempt = 2
	w.rest(t)
	all(tokenIn(place), sessionIs("session-1"), attemptsAre(2), refreshTokenOf("session-1", 2))(t, w, step{})
}

func TestARefreshTokenRenewsNothingWhereLoginIsSecure(t *testing.T) {
	w := newWorld()
	refreshable(w)
	w.look()
	w.secureLogin = true
	w.delete(place)
	w.rest(t)
	all(tokenIn(place), sessionIs("session-2"), ended(v1.ReasonSecretChanged), refreshTokenOf("session-2", 2))(t, w, step{})
}

func TestWhoMayComeBackFromARenewal(t *testing.T) {
	w := newWorld()
	w.s.Spec.User = nil
	w.look()
	for _, test := range []struct {
		was, email, subject string
		fits                bool
	}{
		{"", anna, "", true},
		{"", "ANNA@acme.example", "", true},
		{"", "", "", true},
		{"", bob, "", false},
		{"", bob, "u-1", false},
		{"u-1", anna, "u-1", true},
		{"u-1", "", "u-1", true},
		{"u-1", "anna@new.example", "u-1", true}, // whose address has changed
		{"u-1", anna, "u-2", true},
		{"u-1", "", "u-2", false},
		{"u-1", bob, "", false},
	} {
		w.s.Status.User.Subject = test.was
		if got := session.SamePerson(w.s, test.email, test.subject); got != test.fits {
			t.Errorf("%q with subject %q, before %q, may: %t, want %t", test.email, test.subject, test.was, got, test.fits)
		}
	}
	w.s.Status.User = &v1.UserStatus{}
	if !session.SamePerson(w.s, bob, "u-2") {
		t.Error("nobody in particular is logged in, and somebody may not come back")
	}
}
