package session_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// Givens and events of the table.
func signsOut(w *world) { w.logout = running(w.now) }
func banOf(w *world)    { ban(terminalBan)(w) }
func banForAnHour(w *world) {
	b := terminalBan.DeepCopy()
	b.Spec.ExpiresAt = new(metav1.NewTime(w.now.Add(time.Hour)))
	ban(b)(w)
}
func anHourLater(w *world) { w.now = w.now.Add(time.Hour) }
func tell(w *world)        { w.s.Status.Client = told.DeepCopy() }

// afterwards does more when the row has come to rest, and checks what that leads to.
func afterwards(more func(*world), wantState string) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		more(w)
		w.rest(t)
		if got := state(&w.s.Status); got != wantState {
			t.Errorf("afterwards it is %s, want %s\n%s", got, wantState, show(w.s.Status))
		}
	}
}

func attemptsAre(want int64) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		if got := session.NextAttempt(w.s) - 1; got != want {
			t.Errorf("%d attempts are counted, want %d", got, want)
		}
	}
}

func hold(by, user string) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		if h := w.s.Status.Hold; h == nil || h.By != by || h.User != user || !h.At.Time.Equal(w.now.Truncate(time.Second)) {
			t.Errorf("the hold is %s, want it to be since now, by %q and of %q", show(h), by, user)
		}
	}
}

// TestTheTableOfTheLifecycle has the table of the design, word for word, and what each row comes to. A login that needs no person and does
// not fail goes from Establishing to Established in one step.
func TestTheTableOfTheLifecycle(t *testing.T) {
	const established, signedOut, terminated = "Established", "NotLoggedIn, SignedOut", "Terminated"
	both := func(on string, given []func(*world), r row) []row { // from Established, and from TokenExpired
		from := func(begin ...func(*world)) []func(*world) { return slices.Concat(given, begin) }
		r.on, r.given = on, from(loggedIn)
		late := r
		late.on, late.given = on+", from TokenExpired", from(tokenExpired, backoffIsOver)
		return []row{r, late}
	}
	var invalidations []row
	for what, test := range map[string]struct {
		reason string
		event  func(*world)
	}{
		"payment app updated":    {v1.ReasonPaymentAppUpdated, tells(func(c *v1.ClientStatus) { c.PaymentAppVersion = "4.3.0" })},
		"payment app restarted":  {v1.ReasonPaymentAppRestarted, tells(func(c *v1.ClientStatus) { c.PaymentAppInstanceID = "pay-2" })},
		"terminal app restarted": {v1.ReasonClientRestarted, tells(func(c *v1.ClientStatus) { c.InstanceID = "app-2" })},
	} {
		invalidations = append(invalidations, both(what+", relogin Automatic", []func(*world){tell}, row{
			when: test.event, state: established, ready: "True Established", asks: 1, check: all(tokenIn(place), ended(test.reason)),
		})...)
		invalidations = append(invalidations, both(what+", relogin OnRequest", []func(*world){tell, onRequest}, row{
			when: test.event, state: "NotLoggedIn, Invalidated", ready: "True " + test.reason,
			check: all(noSecret, ended(test.reason), sleeps, hold("", anna), afterwards(askForLogin, established)),
		})...)
	}
	invalidations = append(invalidations, both("link lost, relogin Automatic", []func(*world){withHeartbeat}, row{
		when: quietFor(5 * time.Minute), state: "Establishing", ready: "False Reconciling LinkLost",
		check: all(noSecret, ended(v1.ReasonLinkLost), sleeps, afterwards(heard, established)),
	})...)
	invalidations = append(invalidations, both("link lost, relogin OnRequest", []func(*world){withHeartbeat, onRequest}, row{
		when: quietFor(5 * time.Minute), state: "NotLoggedIn, Invalidated", ready: "True LinkLost",
		check: all(
			noSecret, ended(v1.ReasonLinkLost), sleeps, afterwards(heard, "NotLoggedIn, Invalidated"), afterwards(askForLogin, established),
		),
	})...)
	var handovers []row
	for what, change := range map[string]func(*v1.TerminalSessionSpec){
		"user":      func(s *v1.TerminalSessionSpec) { s.User = &v1.User{Email: bob} },
		"merchant":  func(s *v1.TerminalSessionSpec) { s.MerchantID = "bakery" },
		"terminal":  func(s *v1.TerminalSessionSpec) { s.Terminal.ID = "T-1" },
		"provider":  func(s *v1.TerminalSessionSpec) { s.ProviderRef.Name = "another" },
		"type":      func(s *v1.TerminalSessionSpec) { s.Type = v1.OneShot },
		"purpose":   func(s *v1.TerminalSessionSpec) { s.Purpose = v1.PurposeRegistration },
		"scopes":    func(s *v1.TerminalSessionSpec) { s.Token.Scopes = []string{"payments"} },
		"audiences": func(s *v1.TerminalSessionSpec) { s.Token.Audiences = []string{"https://pay.example"} },
	} {
		handovers = append(handovers, both("another "+what, nil, row{
			when: func(w *world) { w.email = ""; w.edit(change) }, state: established, ready: "True Established", asks: 1,
			check: func(t *testing.T, w *world, first step) {
				t.Helper()
				all(tokenIn(place), ended(v1.ReasonHandedOver))(t, w, first)
				if first.after.Phase != v1.PhaseEstablishing || first.call != "" || !first.ended {
					t.Errorf("the old session has not ended first: %s", show(first.after))
				}
			},
		})...)
	}
	var bans []row
	for from, given := range map[string][]func(*world){
		"NotLoggedIn, new":               nil,
		"NotLoggedIn, logged out":        {wantLoggedOut, loggedIn},
		"NotLoggedIn, Stalled":           {stalling(v1.ReasonProviderNotFound), loggedIn},
		"NotLoggedIn, hold SignedOut":    {heldAs(v1.HoldSignedOut)},
		"NotLoggedIn, hold Invalidated":  {heldAs(v1.HoldInvalidated)},
		"NotLoggedIn, hold Finished":     {heldAs(v1.HoldFinished)},
		"NotLoggedIn, hold Aborted":      {heldAs(v1.HoldAborted)},
		"NotLoggedIn, hold Rejected":     {refused, healthy},
		"Establishing":                   {busy, healthy},
		"Establishing, for a person":     {shown},
		"Established":                    {loggedIn},
		"TokenExpired":                   {tokenExpired},
		"Terminated, by the provider":    {barred, healthy},
		"Terminated, by a ban of before": {ban(userBan), loggedIn},
	} {
		r := row{
			from: from, on: "from " + from, given: given, when: sequence(askForLogin, banOf), state: terminated, ready: "True BanInForce",
			check: all(noSecret, code("TerminalStolen"), sleeps, flow(v1.FlowError, v1.HistoryError)),
		}
		if _, held, ok := strings.Cut(from, "hold "); ok {
			r.state += ", " + held
		}
		if strings.Contains(from, "by the provider") { // whose ban outlives ours
			r.state += ", " + string(v1.HoldRejected)
		}
		bans = append(bans, r)
	}

	for _, line := range []struct {
		from, on, to string
		rows         []row
	}{
		{
			"NotLoggedIn", "LoggedIn is wanted, no ban, no hold, backoff over", "Establishing",
			[]row{
				{on: "and on at once", when: nothing, state: established, ready: "True Established", asks: 1},
				{
					on: "backoff over", given: []func(*world){failing(session.FailureMisconfigured), loggedIn},
					when: sequence(failing(session.FailureUnavailable), backoffIsOver), state: "Establishing",
					ready: "False Reconciling ProviderUnavailable", asks: 1,
				},
			},
		},
		{
			"NotLoggedIn", "the provider is missing, not ready, or does not allow this session",
			"NotLoggedIn, Stalled; wakes when the provider changes",
			[]row{
				{
					on: "missing", when: stalling(v1.ReasonProviderNotFound), state: "NotLoggedIn", ready: "False Stalled ProviderNotFound",
					check: all(sleeps, afterwards(provided, established)),
				},
				{
					on: "not ready", when: stalling(v1.ReasonProviderNotReady), state: "NotLoggedIn", ready: "False Stalled ProviderNotReady",
					check: all(sleeps, afterwards(provided, established)),
				},
				{
					on: "does not allow it", when: stalling(v1.ReasonProviderNotAllowed), state: "NotLoggedIn",
					ready: "False Stalled ProviderNotAllowed", check: all(sleeps, afterwards(provided, established)),
				},
			},
		},
		{
			"Establishing", "the provider gave a token for the right identity, and the Secret holds it", "Established",
			[]row{
				{
					on: "given now", given: []func(*world){busy}, when: sequence(healthy, backoffIsOver), state: established,
					ready: "True Established", asks: 1, check: tokenIn(place),
				},
				{
					on: "given before a crash", given: []func(*world){crashed}, when: nothing, state: established, ready: "True Established",
					check: tokenIn(place),
				},
			},
		},
		{
			"Establishing", "a person must act (device code); provider busy or out of reach; auth token missing (10 minutes)", "Establishing",
			[]row{
				{
					on: "a person must act", when: personal, state: "Establishing", ready: "False Reconciling UserInteraction", asks: 1,
					check: all(shows(1), afterwards(confirms, established), sessionIs("session-1")),
				},
				{
					on: "provider busy", when: failing(session.FailureBusy), state: "Establishing", ready: "False Reconciling ProviderBusy",
					asks: 1, check: waits(5*time.Second, 6*time.Second),
				},
				{
					on: "out of reach", when: failing(session.FailureUnavailable), state: "Establishing",
					ready: "False Reconciling ProviderUnavailable", asks: 1, check: waits(5*time.Second, 6*time.Second),
				},
				{
					on: "auth token missing", when: failing(session.FailureAuthTokenMissing), state: "Establishing",
					ready: "False Reconciling AuthTokenMissing", asks: 1, check: waits(10*time.Minute, 10*time.Minute),
				},
			},
		},
		{
			"Establishing", "refused; denied or timed out by the person", "NotLoggedIn, hold Rejected; Aborted",
			[]row{
				{
					on: "refused", given: []func(*world){busy}, when: sequence(failing(session.FailureRejected), backoffIsOver),
					state: "NotLoggedIn, Rejected", ready: "False Stalled Rejected", asks: 1,
					check: all(noSecret, sleeps, code("RejectedCode"), hold("", anna)),
				},
				{
					on: "denied by the person", given: []func(*world){shown, nextPoll}, when: failing(session.FailureRejected),
					state: "NotLoggedIn, Aborted", ready: "True Aborted", asks: 1, check: aborted,
				},
				{
					on: "timed out by the person", given: []func(*world){shown}, when: codeIsOver, state: "NotLoggedIn, Aborted",
					ready: "True Aborted", check: aborted,
				},
			},
		},
		{
			"Establishing", "ban, logout, handover, deletion", "as from Established; a token that comes late is discarded and revoked",
			[]row{
				{
					on: "ban", given: []func(*world){busy}, when: banOf, state: terminated, ready: "True BanInForce",
					check: all(noSecret, sleeps, code("TerminalStolen"), attemptsAre(1)),
				},
				{
					on: "ban, and the token is there already", given: []func(*world){crashed}, when: banOf, state: terminated,
					ready: "True BanInForce", check: all(noSecret, sleeps),
				},
				{
					on: "ban, and a token comes late", given: []func(*world){late(banOf)}, when: nothing, state: terminated,
					ready: "True BanInForce", asks: 1, check: all(noSecret, sleeps, attemptsAre(1), afterwards(unban, established), attemptsAre(2)),
				},
				{
					on:    "ban on whoever logs in, and a token comes late",
					given: []func(*world){func(w *world) { w.s.Spec.User = nil }, late(ban(userBan))}, when: banOnWhoLogsIn, state: terminated,
					ready: "True BanInForce", asks: 1, check: all(noSecret, sleeps, attemptsAre(1)),
				},
				{
					on: "logout", given: []func(*world){busy}, when: signsOut, state: signedOut, ready: "True SignedOut",
					check: all(noSecret, sleeps, attemptsAre(1), hold("carol@acme.example", anna)),
				},
				{
					on: "logout, and the token is there already", given: []func(*world){crashed}, when: signsOut, state: signedOut,
					ready: "True SignedOut", check: all(noSecret, sleeps),
				},
				{
					on: "logout, and a token comes late", given: []func(*world){late(signsOut)}, when: nothing, state: signedOut,
					ready: "True SignedOut", asks: 1,
					check: all(noSecret, sleeps, attemptsAre(1), afterwards(askForLogin, established), attemptsAre(2)),
				},
				{
					on: "desiredState LoggedOut, and the token is there already", given: []func(*world){crashed}, when: wantLoggedOut,
					state: "NotLoggedIn", ready: "True LoggedOut", check: noSecret,
				},
				{
					on: "handover", given: []func(*world){busy}, when: sequence(healthy, changeUser), state: established, ready: "True Established",
					asks: 1, check: tokenIn(place),
				},
				{
					on: "handover, and the token of before is there already", given: []func(*world){crashed}, when: changeUser, state: established,
					ready: "True Established", asks: 1, check: tokenIn(place),
				},
				{
					on: "deletion", given: []func(*world){busy}, when: deleteSession, state: "Establishing",
					ready: "False Reconciling ProviderBusy", check: all(silent, noSecret, sleeps),
				},
				{
					on: "deletion, and the token is there already", given: []func(*world){crashed}, when: deleteSession, state: "NotLoggedIn",
					ready: "unknown", check: all(silent, noSecret),
				},
			},
		},
		{
			"Established", "renewal due or requested, and done", "Established",
			[]row{
				{
					on: "due", given: []func(*world){loggedIn}, when: renewalDue, state: established, ready: "True Established", asks: 1,
					check: all(tokenIn(place), sessionIs("session-1")),
				},
				{
					on: "requested", given: []func(*world){loggedIn}, when: askForRenewal, state: established, ready: "True Established", asks: 1,
					check: all(tokenIn(place), sessionIs("session-1")),
				},
			},
		},
		{
			"Established", "renewal refused or not possible, for now", "Established until expiry, with backoff; Ready is False with the reason",
			[]row{
				{
					on: "refused", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureRejected), state: established,
					ready: "False Stalled RenewalRejected", asks: 1, check: all(tokenIn(place), waits(5*time.Second, 6*time.Second)),
				},
				{
					on: "not possible", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureUnavailable), state: established,
					ready: "False Reconciling ProviderUnavailable", asks: 1, check: all(tokenIn(place), waits(5*time.Second, 6*time.Second)),
				},
				{
					on: "not possible without the auth token", given: []func(*world){loggedIn, renewalDue},
					when: failing(session.FailureAuthTokenMissing), state: established, ready: "False Reconciling AuthTokenMissing", asks: 1,
					check: all(tokenIn(place), waits(10*time.Minute, 10*time.Minute)),
				},
			},
		},
		{
			"Established", "expiry reached (Continuous)", "TokenExpired; renewal goes on being tried",
			[]row{
				{
					on: "and tried", given: []func(*world){loggedIn, renewalDue, busy}, when: expired, state: "TokenExpired",
					ready: "False Reconciling ProviderBusy", asks: 1, check: waits(time.Second, time.Minute),
				},
			},
		},
		{
			"Established", "expiry reached (OneShot)", "NotLoggedIn, hold Finished; the Secret goes",
			[]row{
				{
					on: "and goes", given: []func(*world){oneShot, loggedIn}, when: expired, state: "NotLoggedIn, Finished", ready: "True Finished",
					check: all(noSecret, ended("Finished"), sleeps, hold("", anna)),
				},
			},
		},
		{
			"TokenExpired", "renewal succeeds late", "Established",
			[]row{
				{
					on: "succeeds", given: []func(*world){tokenExpired}, when: backoffIsOver, state: established, ready: "True Established",
					asks: 1, check: all(tokenIn(place), sessionIs("session-1")),
				},
			},
		},
		{
			"Established, TokenExpired", "the provider says the grant is dead",
			"Establishing (a second time within one lifetime: after backoff), or with relogin OnRequest NotLoggedIn, hold Invalidated",
			[]row{
				{
					on: "once", given: []func(*world){loggedIn}, when: grantDies, state: established, ready: "True Established", asks: 2,
					check: all(tokenIn(place), ended(v1.ReasonGrantDead)),
				},
				{
					on: "once, from TokenExpired", given: []func(*world){tokenExpired, backoffIsOver},
					when: func(w *world) { w.fails(session.FailureGrantDead); w.look(); w.answer = nil }, state: established,
					ready: "True Established", asks: 2, check: ended(v1.ReasonGrantDead),
				},
				{
					on: "a second time", given: []func(*world){loggedIn, grantDies, loggedIn, renewalDue}, when: failing(session.FailureGrantDead),
					state: "Establishing", ready: "False Reconciling GrantDead", asks: 1, check: all(noSecret, waits(5*time.Second, 6*time.Second)),
				},
				{
					on: "relogin OnRequest", given: []func(*world){onRequest, loggedIn, renewalDue}, when: failing(session.FailureGrantDead),
					state: "NotLoggedIn, Invalidated", ready: "True GrantDead", asks: 1, check: all(noSecret, ended(v1.ReasonGrantDead), sleeps),
				},
				{
					on: "relogin OnRequest, from TokenExpired", given: []func(*world){onRequest, tokenExpired, backoffIsOver},
					when: failing(session.FailureGrantDead), state: "NotLoggedIn, Invalidated", ready: "True GrantDead", asks: 1,
					check: all(noSecret, ended(v1.ReasonGrantDead), sleeps),
				},
			},
		},
		{
			"Established, TokenExpired", "desiredState LoggedOut", "NotLoggedIn",
			both("wanted", nil, row{
				when: wantLoggedOut, state: "NotLoggedIn", ready: "True LoggedOut", check: all(noSecret, ended(v1.ReasonLoggedOut), sleeps),
			}),
		},
		{
			"Established, TokenExpired", "SessionLogout, or logout by the terminal", "NotLoggedIn, hold SignedOut",
			append(
				both("SessionLogout", nil, row{
					when: signsOut, state: signedOut, ready: "True SignedOut",
					check: all(
						noSecret, ended(v1.ReasonSignedOut), sleeps, hold("carol@acme.example", anna), flow(v1.FlowDone, v1.HistoryLoggedOut),
						afterwards(anHourLater, signedOut), afterwards(askForLogin, established),
					),
				}),
				both("SessionLogout, and a login that was asked for before", nil, row{
					when: sequence(askForLogin, askForRenewal, signsOut), state: signedOut, ready: "True SignedOut",
					check: all(noSecret, ended(v1.ReasonSignedOut), sleeps),
				})...,
			),
		},
		{
			"Established, TokenExpired", "payment app updated or restarted, terminal app restarted, link lost",
			"with relogin Automatic Establishing (after a lost link: once the terminal is heard of again), else NotLoggedIn, hold Invalidated",
			invalidations,
		},
		{
			"Established, TokenExpired", "user, merchant, terminal, provider, type, purpose, scopes or audiences changed in spec (handover)",
			"the old session ended first, then Establishing", handovers,
		},
		{
			"Established", "the token Secret deleted or altered by hand",
			"renewed where a refresh token is left, else a new session (OneShot: hold Finished)",
			[]row{
				{
					on: "deleted, refresh token left", given: []func(*world){refreshable, loggedIn}, when: deleteSecret, state: established,
					ready: "True Established", asks: 1, check: all(tokenIn(place), sessionIs("session-1")),
				},
				{
					on: "altered, refresh token left", given: []func(*world){refreshable, loggedIn}, when: alterSecret, state: established,
					ready: "True Established", asks: 1, check: all(tokenIn(place), sessionIs("session-1")),
				},
				{
					on: "deleted", given: []func(*world){loggedIn}, when: deleteSecret, state: established, ready: "True Established", asks: 1,
					check: all(tokenIn(place), sessionIs("session-2")),
				},
				{
					on: "altered", given: []func(*world){loggedIn}, when: alterSecret, state: established, ready: "True Established", asks: 1,
					check: all(tokenIn(place), sessionIs("session-2")),
				},
				{
					on: "deleted, OneShot", given: []func(*world){oneShot, loggedIn}, when: deleteSecret, state: "NotLoggedIn, Finished",
					ready: "True Finished", check: noSecret,
				},
				{
					on: "altered, OneShot", given: []func(*world){oneShot, loggedIn}, when: alterSecret, state: "NotLoggedIn, Finished",
					ready: "True Finished", check: noSecret,
				},
			},
		},
		{
			"any", "a ban matches, or the provider says banned or deleted", "Terminated, with the error code",
			append(bans, []row{
				{
					on: "the provider says so at a login", when: failing(session.FailureBanned), state: terminated, ready: "False Stalled Banned",
					asks: 1, check: all(noSecret, code("BannedCode"), sleeps),
				},
				{
					on: "the provider says so at a renewal", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureBanned),
					state: terminated, ready: "False Stalled Banned", asks: 1,
					check: all(noSecret, code("BannedCode"), ended(v1.ReasonBanned), sleeps),
				},
				{
					on: "a ban ends the session", given: []func(*world){loggedIn}, when: banOf, state: terminated, ready: "True BanInForce",
					check: all(noSecret, ended(v1.ReasonBanInForce)),
				},
				{
					on: "another ban comes before the one of before", given: []func(*world){loggedIn, banOf, loggedIn},
					when: func(w *world) { w.bans = []v1.Ban{terminalBan, userBan} }, state: terminated, ready: "True BanInForce",
					check: code("UserBanned"),
				},
			}...),
		},
		{
			"Terminated", "the ban is lifted or over; after a provider's ban: another user, or a login request",
			"NotLoggedIn; spec and hold decide what follows",
			[]row{
				{
					on: "lifted", given: []func(*world){loggedIn, banOf, loggedIn}, when: unban, state: established, ready: "True Established",
					asks: 1, check: sessionIs("session-2"),
				},
				{
					on: "over", given: []func(*world){loggedIn, banForAnHour, loggedIn}, when: anHourLater, state: established,
					ready: "True Established", asks: 1, check: sessionIs("session-2"),
				},
				{
					on: "lifted, LoggedOut is wanted", given: []func(*world){loggedIn, banOf, loggedIn, wantLoggedOut}, when: unban,
					state: "NotLoggedIn", ready: "True LoggedOut",
				},
				{
					on: "lifted, the provider is gone", given: []func(*world){loggedIn, banOf, loggedIn, stalling(v1.ReasonProviderNotFound)},
					when: unban, state: "NotLoggedIn", ready: "False Stalled ProviderNotFound", check: noError,
				},
				{
					on: "lifted, hold SignedOut", given: []func(*world){heldAs(v1.HoldSignedOut), banOf, loggedIn}, when: unban, state: signedOut,
					ready: "True SignedOut", check: all(sleeps, noError),
				},
				{
					on: "lifted, hold Invalidated", given: []func(*world){heldAs(v1.HoldInvalidated), banOf, loggedIn}, when: unban,
					state: "NotLoggedIn, Invalidated", ready: "True Invalidated", check: all(sleeps, noError),
				},
				{
					on: "lifted, hold Finished", given: []func(*world){finishedOneShot, banOf, loggedIn}, when: unban,
					state: "NotLoggedIn, Finished", ready: "True Finished", check: all(sleeps, noError),
				},
				{
					on: "lifted, hold Aborted", given: []func(*world){heldAs(v1.HoldAborted), banOf, loggedIn}, when: unban,
					state: "NotLoggedIn, Aborted", ready: "True Aborted", check: all(sleeps, noError),
				},
				{
					on: "lifted, hold Rejected", given: []func(*world){refused, healthy, banOf, loggedIn}, when: unban,
					state: "NotLoggedIn, Rejected", ready: "False Stalled Rejected", check: sleeps,
				},
				{
					on:    "lifted, hold Rejected, and the provider is another by now",
					given: []func(*world){refused, healthy, banOf, loggedIn, changeProvider}, when: unban, state: established,
					ready: "True Established", asks: 1,
				},
				{
					on:    "lifted, hold of another user than spec names now",
					given: []func(*world){heldAs(v1.HoldSignedOut), banOf, loggedIn, changeUser}, when: unban, state: established,
					ready: "True Established", asks: 1,
				},
				{
					on: "of the user, and spec names another", given: []func(*world){loggedIn, ban(userBan), loggedIn}, when: changeUser,
					state: established, ready: "True Established", asks: 1,
				},
				{
					on: "not lifted, and a login is asked for", given: []func(*world){loggedIn, banOf, loggedIn}, when: askForLogin,
					state: terminated, ready: "True BanInForce", check: all(sleeps, noSecret),
				},
				{
					on: "the provider's, another user", given: []func(*world){barred, healthy}, when: changeUser, state: established,
					ready: "True Established", asks: 1,
				},
				{
					on: "the provider's, a login request", given: []func(*world){barred, healthy}, when: askForLogin, state: established,
					ready: "True Established", asks: 1,
				},
				{
					on: "the provider's, time", given: []func(*world){barred, healthy}, when: anHourLater, state: terminated,
					ready: "False Stalled Banned", check: sleeps,
				},
			},
		},
	} {
		t.Run(line.from+" on "+line.on+": "+line.to, func(t *testing.T) {
			for _, r := range line.rows {
				t.Run(r.on, r.holds)
			}
		})
	}
}

func provided(w *world) { w.provider = session.Provider{Version: provider} }

// banOnWhoLogsIn: the provider names the one who is banned.
func banOnWhoLogsIn(w *world) { w.email = anna }

func noError(t *testing.T, w *world, _ step) {
	t.Helper()
	if w.s.Status.Error != nil {
		t.Errorf("the ban's error stays: %s", show(w.s.Status.Error))
	}
}

// A hold goes when a new login request comes, when spec names another user, when desiredState goes from LoggedOut to LoggedIn; Rejected
// also when the provider or the auth token's Secret changes. Nothing else lifts it.
func TestWhatLiftsAHold(t *testing.T) {
	for _, reason := range []v1.HoldReason{v1.HoldSignedOut, v1.HoldInvalidated, v1.HoldFinished, v1.HoldAborted, v1.HoldRejected} {
		held := sequence(heldAs(reason), func(w *world) { w.s.Status.Attempt.ProviderVersion = provider })
		for event, test := range map[string]struct {
			when  func(*world)
			lifts bool
		}{
			"a new login request":                             {askForLogin, true},
			"spec names another user":                         {changeUser, true},
			"desiredState goes from LoggedOut to LoggedIn":    {sequence(wantLoggedOut, loggedIn, wantLoggedIn), true},
			"the provider or the auth token's Secret changes": {changeProvider, reason == v1.HoldRejected},
			"a login request that was handled before": {
				func(w *world) { w.s.Status.LastHandledLoginRequest = "please"; askForLogin(w) }, false,
			},
			"a renewal request": {askForRenewal, false},
			"time":              {anHourLater, false},
			"another merchant": {
				func(w *world) { w.edit(func(s *v1.TerminalSessionSpec) { s.MerchantID = "bakery" }) }, false,
			},
			"what the terminal tells":               {reports(told), false},
			"the terminal is heard of":              {heard, false},
			"a ban that is lifted":                  {sequence(banOf, loggedIn, unban), false},
			"a ban that is over":                    {sequence(banForAnHour, loggedIn, anHourLater), false},
			"a logout that leaves alone who is out": {signsOut, false},
		} {
			t.Run(string(reason)+": "+event, func(t *testing.T) {
				if reason == v1.HoldRejected && event == "a logout that leaves alone who is out" {
					return // it signs out who may come in without being asked for
				}
				w := newWorld()
				held(w)
				logins := w.logins
				test.when(w)
				w.rest(t)
				want := "NotLoggedIn, " + string(reason)
				if test.lifts {
					want = "Established"
				}
				if got := state(&w.s.Status); got != want || (w.logins > logins) != test.lifts {
					t.Errorf("it is %s after %d logins, want %s", got, w.logins-logins, want)
				}
			})
		}
	}
}
