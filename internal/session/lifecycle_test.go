package session_test

import (
	"reflect"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// same is whether the reconciler would write nothing. The standard library's comparison is the quicker one, and the stricter.
func same(a, b *v1.TerminalSessionStatus) bool {
	return reflect.DeepEqual(a, b) || equality.Semantic.DeepEqual(a, b)
}

// row is one row of the table of the lifecycle: what was, what happens, and what people see when it has come to rest.
type row struct {
	from, on string
	given    []func(*world)
	when     func(*world)
	// state is the phase, with the hold; ready the condition Ready with what kstatus looks at; asks how often the provider is asked.
	state, ready string
	asks         int
	check        func(*testing.T, *world, step)
}

// Givens.
func loggedIn(w *world) { w.look() }
func oneShot(w *world)  { w.s.Spec.Type = v1.OneShot }
func onRequest(w *world) {
	w.s.Spec.Relogin = v1.ReloginOnRequest
}
func refreshable(w *world) { // tokens come with refresh tokens, and the one that is there has
	w.refreshes = true
	if w.s.Status.Token != nil {
		w.grant = session.Grant{Kind: session.GrantRefreshToken, SessionID: w.s.Status.SessionID, Attempt: w.s.Status.Attempt.Number}
	}
}
func renewalDue(w *world) { w.now = w.s.Status.Token.RenewAt.Time }
func expired(w *world)    { w.now = w.s.Status.Token.ExpiresAt.Time }
func refused(w *world)    { w.fails(session.FailureRejected); w.look() }
func barred(w *world)     { w.fails(session.FailureBanned); w.look() }
func busy(w *world)       { w.fails(session.FailureBusy); w.look() }
func tokenExpired(w *world) {
	loggedIn(w)
	w.fails(session.FailureUnavailable)
	renewalDue(w)
	w.look()
	expired(w)
	w.look()
	w.answer = nil
}

func finishedOneShot(w *world) {
	oneShot(w)
	loggedIn(w)
	expired(w)
	w.look()
}

func heldAs(reason v1.HoldReason) func(*world) {
	return func(w *world) {
		loggedIn(w)
		w.end()
		st := &w.s.Status
		st.Phase, st.SessionID, st.EstablishedAt, st.User, st.Token = v1.PhaseNotLoggedIn, "", nil, nil, nil
		st.Hold = &v1.Hold{Reason: reason, At: st.Conditions[0].LastTransitionTime, User: anna, By: "a person"}
		for i := range st.Conditions {
			st.Conditions[i].Reason = string(reason)
		}
	}
}

// Events.
func nothing(*world)         {}
func healthy(w *world)       { w.answer = nil }
func deleteSecret(w *world)  { w.delete(place) }
func alterSecret(w *world)   { w.touch(place); w.find(place).altered = true }
func askForLogin(w *world)   { w.request(v1.AnnotationLoginRequested, "please") }
func askForRenewal(w *world) { w.request(v1.AnnotationRenewRequested, "please") }
func wantLoggedOut(w *world) {
	w.edit(func(s *v1.TerminalSessionSpec) { s.DesiredState = v1.LoggedOut })
}
func wantLoggedIn(w *world) { w.edit(func(s *v1.TerminalSessionSpec) { s.DesiredState = v1.LoggedIn }) }
func changeUser(w *world) {
	w.edit(func(s *v1.TerminalSessionSpec) { s.User = &v1.User{Email: bob} })
	w.email = bob
}
func changeProvider(w *world) { w.provider.Version = "provider-2" }
func deleteSession(w *world)  { w.s.DeletionTimestamp = &w.s.CreationTimestamp }
func endNamespace(w *world)   { w.namespaceEnding = true }
func takeName(w *world)       { w.secrets[1] = secret{name: place, version: "theirs", foreign: true} }
func backoffIsOver(w *world)  { w.now = w.s.Status.Attempt.NotBefore.Time }
func sequence(all ...func(*world)) func(*world) {
	return func(w *world) {
		for _, one := range all {
			one(w)
		}
	}
}

func failing(kind session.FailureKind) func(*world) {
	return func(w *world) { w.fails(kind) }
}

func stalling(reason string) func(*world) {
	return func(w *world) { w.stalls(reason) }
}

// Checks.
func noSecret(t *testing.T, w *world, _ step) {
	t.Helper()
	for _, s := range w.secrets {
		if s.name != "" && !s.foreign {
			t.Errorf("Secret %s is still there", s.name)
		}
	}
}

func tokenIn(name string) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		found := w.find(name)
		if found == nil || w.s.Status.Token.SecretName != name || w.s.Status.Token.SecretVersion != found.version || w.s.Status.SessionID != found.issued.SessionID {
			t.Errorf("Secret %s does not hold the token that status tells of: %s", name, show(w.s.Status))
		}
	}
}

func ended(how string) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		recent := w.s.Status.Recent
		if len(recent) == 0 || recent[0].End != how || recent[0].SessionID != "session-1" || recent[0].User != anna ||
			!recent[0].From.Time.Equal(start) || !recent[0].To.Time.Equal(w.now.Truncate(time.Second)) {
			t.Errorf("status.recent does not say that session-1 ended now as %s: %s", how, show(recent))
		}
	}
}

func code(want string) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		if w.s.Status.Error == nil || w.s.Status.Error.Code != want || w.s.Status.Error.Message == "" {
			t.Errorf("status.error is %s, want code %s and a message", show(w.s.Status.Error), want)
		}
	}
}

func sessionIs(want string) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		if w.s.Status.SessionID != want {
			t.Errorf("the session is %q, want %q", w.s.Status.SessionID, want)
		}
	}
}

func waits(least, most time.Duration) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		a := w.s.Status.Attempt
		if a.NotBefore == nil || a.NotBefore.Sub(w.now) < least || a.NotBefore.Sub(w.now) > most {
			t.Fatalf("the next attempt is due at %v, want it %s to %s after %v", a.NotBefore, least, most, w.now)
		}
		if wake := session.WakeTime(w.s, w.now); !wake.Equal(a.NotBefore.Time) {
			t.Errorf("the session is looked at again at %v, want %v", wake, a.NotBefore)
		}
	}
}

func all(checks ...func(*testing.T, *world, step)) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, first step) {
		t.Helper()
		for _, check := range checks {
			check(t, w, first)
		}
	}
}

func TestLifecycle(t *testing.T) {
	const month10 = month + month/3
	rows := []row{
		// NotLoggedIn
		{
			from: "NotLoggedIn", on: "LoggedIn is wanted, no ban, no hold, backoff over: a login that completes at once goes straight to Established", when: nothing,
			state: "Established", ready: "True Established", asks: 1,
			check: func(t *testing.T, w *world, first step) {
				tokenIn(place)(t, w, first)
				if first.after.Phase != v1.PhaseEstablished {
					t.Errorf("the first status that is written says %s", first.after.Phase)
				}
				st := w.s.Status
				if st.Flow.State != v1.FlowActive || st.History != v1.HistoryLoggedIn || st.Attempt.Number != 1 || st.User.Email != anna || !st.EstablishedAt.Time.Equal(start) {
					t.Errorf("status does not tell of the login: %s", show(st))
				}
			},
		},
		{
			from: "NotLoggedIn", on: "LoggedIn is wanted, OneShot: history says so, and no renewal is planned", given: []func(*world){oneShot}, when: nothing,
			state: "Established", ready: "True Established", asks: 1,
			check: func(t *testing.T, w *world, _ step) {
				if st := w.s.Status; st.History != v1.HistoryLoggedInOneShot || st.Token.RenewAt != nil {
					t.Errorf("status is not that of a OneShot session: %s", show(st))
				}
			},
		},
		{
			from: "NotLoggedIn", on: "the provider is missing: Stalled", when: stalling(v1.ReasonProviderNotFound),
			state: "NotLoggedIn", ready: "False Stalled ProviderNotFound", check: sleeps,
		},
		{
			from: "NotLoggedIn", on: "the provider is not ready: Stalled", when: stalling(v1.ReasonProviderNotReady),
			state: "NotLoggedIn", ready: "False Stalled ProviderNotReady", check: sleeps,
		},
		{
			from: "NotLoggedIn", on: "the provider does not allow this session: Stalled", when: stalling(v1.ReasonProviderNotAllowed),
			state: "NotLoggedIn", ready: "False Stalled ProviderNotAllowed", check: sleeps,
		},
		{
			from: "NotLoggedIn", on: "the provider was made just now and nobody has looked at it: in progress", when: stalling(v1.ReasonProviderPending),
			state: "NotLoggedIn", ready: "False Reconciling ProviderPending", check: sleeps,
		},
		{
			from: "NotLoggedIn", on: "the provider was missing and is there", given: []func(*world){stalling(v1.ReasonProviderNotFound), loggedIn},
			when:  func(w *world) { w.provider = session.Provider{Version: provider} },
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "NotLoggedIn", on: "somebody else's Secret has the name: Stalled, and nothing is written over it", when: takeName,
			state: "NotLoggedIn", ready: "False Stalled SecretNameTaken",
			check: func(t *testing.T, w *world, first step) {
				sleeps(t, w, first)
				if found := w.find(place); found == nil || !found.foreign {
					t.Error("somebody else's Secret was written over")
				}
			},
		},
		{
			from: "NotLoggedIn", on: "the Secret that had the name is gone", given: []func(*world){takeName, loggedIn}, when: deleteSecret,
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "NotLoggedIn", on: "a crash came between the Secret and status: the token is adopted and nobody is asked",
			given: []func(*world){crashed}, when: nothing, state: "Established", ready: "True Established",
			check: func(t *testing.T, w *world, first step) {
				all(tokenIn(place), sessionIs("session-1"))(t, w, first)
				if w.s.Status.Attempt.Number != 1 {
					t.Errorf("attempt.number is %d, want that of the adopted token, 1", w.s.Status.Attempt.Number)
				}
			},
		},
		{
			from: "NotLoggedIn", on: "a crash came between the Secret and status, and spec names another user by now: the late token is discarded",
			given: []func(*world){crashed}, when: changeUser, state: "Established", ready: "True Established", asks: 1,
			check: func(t *testing.T, w *world, first step) {
				tokenIn(place)(t, w, first)
				if email := w.s.Status.User.Email; email != bob {
					t.Errorf("%s is logged in, want %s", email, bob)
				}
			},
		},
		{
			from: "NotLoggedIn", on: "the provider says that the grant is dead: refused as any other login", when: failing(session.FailureGrantDead),
			state: "NotLoggedIn, Rejected", ready: "False Stalled GrantDead", asks: 1,
		},
		{
			from: "NotLoggedIn", on: "the provider cannot work as it is configured: Stalled, and tried again after backoff", when: failing(session.FailureMisconfigured),
			state: "NotLoggedIn", ready: "False Stalled ProviderMisconfigured", asks: 1, check: waits(5*time.Second, 6*time.Second),
		},

		// Establishing
		{
			from: "Establishing", on: "the provider gave a token for the right identity, and the Secret holds it", given: []func(*world){busy}, when: sequence(healthy, backoffIsOver),
			state: "Established", ready: "True Established", asks: 1,
			check: func(t *testing.T, w *world, first step) {
				tokenIn(place)(t, w, first)
				if st := w.s.Status; st.Attempt.Number != 2 || st.Attempt.Failures != 0 || st.Attempt.NotBefore != nil || st.Error != nil {
					t.Errorf("the failure is not forgotten: %s", show(st))
				}
			},
		},
		{
			from: "Establishing", on: "backoff is not over: nothing is asked and nothing is written", given: []func(*world){busy},
			when:  func(w *world) { w.now = w.now.Add(4 * time.Second) },
			state: "Establishing", ready: "False Reconciling ProviderBusy",
			check: func(t *testing.T, w *world, first step) {
				if !same(&first.in.Session.Status, &w.s.Status) {
					t.Error("waiting writes status")
				}
			},
		},
		{
			from: "Establishing", on: "provider busy", when: failing(session.FailureBusy),
			state: "Establishing", ready: "False Reconciling ProviderBusy", asks: 1, check: all(code("BusyCode"), waits(5*time.Second, 6*time.Second), flow(v1.FlowStarting, "")),
		},
		{
			from: "Establishing", on: "provider out of reach", when: failing(session.FailureUnavailable),
			state: "Establishing", ready: "False Reconciling ProviderUnavailable", asks: 1, check: all(code("UnavailableCode"), waits(5*time.Second, 6*time.Second)),
		},
		{
			from: "Establishing", on: "auth token missing (10 minutes)", when: failing(session.FailureAuthTokenMissing),
			state: "Establishing", ready: "False Reconciling AuthTokenMissing", asks: 1, check: waits(10*time.Minute, 10*time.Minute),
		},
		{
			from: "Establishing", on: "auth token missing, and its Secret changes: at once", given: []func(*world){failing(session.FailureAuthTokenMissing), loggedIn},
			when:  sequence(healthy, changeProvider),
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "Establishing", on: "spec changes while it backs off: at once", given: []func(*world){busy},
			when:  sequence(healthy, func(w *world) { w.edit(func(s *v1.TerminalSessionSpec) { s.MerchantID = "other" }) }),
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "Establishing", on: "a login is requested while it backs off: at once, and once", given: []func(*world){busy}, when: askForLogin,
			state: "Establishing", ready: "False Reconciling ProviderBusy", asks: 1,
			check: func(t *testing.T, w *world, _ step) {
				if st := w.s.Status; st.LastHandledLoginRequest != "please" || st.Attempt.Number != 2 || st.Attempt.Failures != 2 {
					t.Errorf("the request is not handled: %s", show(st))
				}
			},
		},
		{
			from: "Establishing", on: "the namespace is allowed again before backoff is over: at once", given: []func(*world){busy, stalling(v1.ReasonProviderNotAllowed), loggedIn},
			when:  sequence(healthy, func(w *world) { w.provider = session.Provider{Version: provider} }),
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "Establishing", on: "the Secret that had the name goes before backoff is over: at once", given: []func(*world){busy, takeName, loggedIn},
			when:  sequence(healthy, deleteSecret),
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "Establishing", on: "refused", when: failing(session.FailureRejected),
			state: "NotLoggedIn, Rejected", ready: "False Stalled Rejected", asks: 1,
			check: all(sleeps, code("RejectedCode"), flow(v1.FlowError, v1.HistoryError), noSecret),
		},
		{
			from: "Establishing", on: "the API server does not let the token be kept", when: failing(session.FailureSecretRefused),
			state: "NotLoggedIn", ready: "False Stalled SecretRefused", asks: 1, check: code("SecretRefusedCode"),
		},
		{
			from: "Established", on: "renewal whose token the API server does not let be kept", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureSecretRefused),
			state: "Established", ready: "False Stalled SecretRefused", asks: 1,
		},
		{
			from: "Establishing", on: "the provider logged in somebody else: refused", when: failing(session.FailureIdentity),
			state: "NotLoggedIn, Rejected", ready: "False Stalled IdentityMismatch", asks: 1, check: noSecret,
		},
		{
			from: "Establishing", on: "desiredState LoggedOut", given: []func(*world){busy}, when: wantLoggedOut,
			state: "NotLoggedIn", ready: "True LoggedOut",
			check: func(t *testing.T, w *world, first step) {
				all(sleeps, flow(v1.FlowDone, v1.HistoryLoggedOut))(t, w, first)
				if st := w.s.Status; st.Error != nil || st.Attempt.Number != 1 || st.Attempt.NotBefore != nil {
					t.Errorf("what went wrong before the logout is not forgotten, or the number of attempts is: %s", show(st))
				}
			},
		},
		{
			from: "Establishing", on: "desiredState LoggedOut, and a token comes late: it is discarded", given: []func(*world){crashed}, when: wantLoggedOut,
			state: "NotLoggedIn", ready: "True LoggedOut", check: noSecret,
		},
		{
			from: "Establishing", on: "deletion", given: []func(*world){crashed}, when: deleteSession,
			state: "NotLoggedIn", ready: "unknown", check: all(silent, noSecret),
		},

		// Established
		{
			from: "Established", on: "at rest: no write and no provider call", given: []func(*world){loggedIn},
			when:  func(w *world) { w.now = w.now.Add(100 * time.Hour) },
			state: "Established", ready: "True Established",
			check: func(t *testing.T, w *world, first step) {
				if first.decision.Action != session.ActionNone || !same(&first.in.Session.Status, &w.s.Status) {
					t.Errorf("a session at rest is written or acted on (%s)", first.decision.Action)
				}
			},
		},
		{
			from: "Established", on: "renewal due, and done", given: []func(*world){loggedIn}, when: renewalDue,
			state: "Established", ready: "True Established", asks: 1,
			check: func(t *testing.T, w *world, first step) {
				all(tokenIn(place), sessionIs("session-1"))(t, w, first)
				if st := w.s.Status; st.Token.Renewals != 1 || !st.Token.IssuedAt.Time.Equal(w.now) || !st.EstablishedAt.Time.Equal(start) || len(st.Recent) != 0 {
					t.Errorf("it is not the same session with another token: %s", show(st))
				}
			},
		},
		{
			from: "Established", on: "renewal requested, and done", given: []func(*world){loggedIn}, when: askForRenewal,
			state: "Established", ready: "True Established", asks: 1,
			check: func(t *testing.T, w *world, _ step) {
				if st := w.s.Status; st.LastHandledRenewRequest != "please" || st.Token.Renewals != 1 {
					t.Errorf("the request is not handled: %s", show(st))
				}
			},
		},
		{
			from: "Established", on: "renewal requested, OneShot: confirmed, never renewed", given: []func(*world){oneShot, loggedIn}, when: askForRenewal,
			state: "Established", ready: "True Established",
			check: func(t *testing.T, w *world, _ step) {
				if w.s.Status.LastHandledRenewRequest != "please" {
					t.Error("the request stays open")
				}
			},
		},
		{
			from: "Established", on: "login requested: confirmed, and harms nothing", given: []func(*world){loggedIn}, when: askForLogin,
			state: "Established", ready: "True Established",
			check: func(t *testing.T, w *world, first step) {
				sessionIs("session-1")(t, w, first)
				if w.s.Status.LastHandledLoginRequest != "please" {
					t.Error("the request stays open")
				}
			},
		},
		{
			from: "Established", on: "login requested where the name that spec wants is taken: confirmed all the same",
			given: []func(*world){loggedIn, wantNameTaken, loggedIn}, when: askForLogin,
			state: "Established", ready: "False Stalled SecretNameTaken",
			check: func(t *testing.T, w *world, _ step) {
				if w.s.Status.LastHandledLoginRequest != "please" {
					t.Error("the request stays open")
				}
			},
		},
		{
			from: "Established", on: "renewBefore changes: the time of the renewal is computed anew", given: []func(*world){loggedIn},
			when:  func(w *world) { w.edit(renewBefore(100 * time.Hour)) },
			state: "Established", ready: "True Established",
			check: func(t *testing.T, w *world, _ step) {
				st := w.s.Status
				if want := session.RenewalTime(w.s, st.Token.IssuedAt.Time, st.Token.ExpiresAt.Time); !st.Token.RenewAt.Time.Equal(want) || want.Before(start.Add(500*time.Hour)) {
					t.Errorf("renewAt is %v, want %v", st.Token.RenewAt, want)
				}
			},
		},
		{
			from: "Established", on: "renewBefore changes so that the renewal is due: at once", given: []func(*world){loggedIn},
			when: func(w *world) {
				w.now = w.now.Add(month/2 + time.Hour)
				w.edit(renewBefore(700 * time.Hour))
			},
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "Established", on: "renewal refused: Established until expiry, with backoff", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureRejected),
			state: "Established", ready: "False Stalled RenewalRejected", asks: 1, check: all(tokenIn(place), code("RejectedCode"), waits(5*time.Second, 6*time.Second)),
		},
		{
			from: "Established", on: "renewal not possible, provider busy: Established until expiry, with backoff", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureBusy),
			state: "Established", ready: "False Reconciling ProviderBusy", asks: 1, check: all(tokenIn(place), waits(5*time.Second, 6*time.Second)),
		},
		{
			from: "Established", on: "renewal not possible, provider out of reach: Established until expiry, with backoff", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureUnavailable),
			state: "Established", ready: "False Reconciling ProviderUnavailable", asks: 1, check: waits(5*time.Second, 6*time.Second),
		},
		{
			from: "Established", on: "renewal not possible, auth token missing: not again before 10 minutes", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureAuthTokenMissing),
			state: "Established", ready: "False Reconciling AuthTokenMissing", asks: 1, check: waits(10*time.Minute, 10*time.Minute),
		},
		{
			from: "Established", on: "renewal not possible, provider misconfigured: Established until expiry, with backoff", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureMisconfigured),
			state: "Established", ready: "False Stalled ProviderMisconfigured", asks: 1, check: waits(5*time.Second, 6*time.Second),
		},
		{
			from: "Established", on: "renewal due and the provider gone: Established until expiry, and nobody is asked", given: []func(*world){loggedIn, renewalDue}, when: stalling(v1.ReasonProviderNotFound),
			state: "Established", ready: "False Stalled ProviderNotFound",
			check: func(t *testing.T, w *world, first step) {
				tokenIn(place)(t, w, first)
				if wake := session.WakeTime(w.s, w.now); !wake.Equal(w.s.Status.Token.ExpiresAt.Time) {
					t.Errorf("it is looked at again at %v, want the expiry", wake)
				}
			},
		},
		{
			from: "Established", on: "the provider gone and no renewal due: nothing to complain of", given: []func(*world){loggedIn}, when: stalling(v1.ReasonProviderNotFound),
			state: "Established", ready: "True Established",
		},
		{
			from: "Established", on: "a requested renewal is not possible for now: tried again when backoff is over, though its time has not come",
			given: []func(*world){loggedIn, askForRenewal, busy}, when: sequence(healthy, backoffIsOver),
			state: "Established", ready: "True Established", asks: 1,
			check: func(t *testing.T, w *world, _ step) {
				if st := w.s.Status; st.Token.Renewals != 1 || !st.Token.RenewAt.After(start.Add(month/2)) {
					t.Errorf("the renewal that was asked for was dropped: %s", show(st.Token))
				}
			},
		},
		{
			from: "Established", on: "expiry reached (Continuous): TokenExpired; renewal goes on being tried", given: []func(*world){loggedIn, renewalDue, busy}, when: sequence(healthy, failing(session.FailureUnavailable), expired),
			state: "TokenExpired", ready: "False Reconciling ProviderUnavailable", asks: 1, check: all(waits(time.Second, time.Minute), flow(v1.FlowActive, v1.HistoryLoggedIn), notEstablished),
		},
		{
			from: "Established", on: "expiry reached (OneShot): hold Finished; the Secret goes", given: []func(*world){oneShot, loggedIn}, when: expired,
			state: "NotLoggedIn, Finished", ready: "True Finished", check: all(noSecret, ended("Finished"), flow(v1.FlowDone, v1.HistoryLoggedOut), sleeps, notEstablished),
		},
		{
			from: "Established", on: "secretName changes: the token moves, and nobody is asked", given: []func(*world){loggedIn},
			when:  func(w *world) { w.edit(func(s *v1.TerminalSessionSpec) { s.Token.SecretName = another }) },
			state: "Established", ready: "True Established",
			check: func(t *testing.T, w *world, first step) {
				all(tokenIn(another), sessionIs("session-1"))(t, w, first)
				if st := w.s.Status; w.find(place) != nil || st.Attempt.Number != 1 || st.Token.Renewals != 0 {
					t.Errorf("the token was not just moved: %s", show(st))
				}
			},
		},
		{
			from: "Established", on: "secretName changes while renewals fail: the token moves, and the renewal is tried again at once", given: []func(*world){loggedIn, renewalDue, busy},
			when:  func(w *world) { w.edit(func(s *v1.TerminalSessionSpec) { s.Token.SecretName = another }) },
			state: "Established", ready: "False Reconciling ProviderBusy", asks: 1,
			check: func(t *testing.T, w *world, first step) {
				all(tokenIn(another), waits(10*time.Second, 12*time.Second))(t, w, first)
				if st := w.s.Status; readiness(&first.after) != "False Reconciling ProviderBusy" || first.after.Attempt.Number != 2 || st.Attempt.Failures != 2 || st.Token.Renewals != 0 {
					t.Errorf("the token was not just moved: %s", show(first.after))
				}
			},
		},
		{
			from: "Established", on: "secretName changes and a renewal is requested at once: both are done", given: []func(*world){loggedIn},
			when:  sequence(func(w *world) { w.edit(func(s *v1.TerminalSessionSpec) { s.Token.SecretName = another }) }, askForRenewal),
			state: "Established", ready: "True Established", asks: 1,
			check: func(t *testing.T, w *world, first step) {
				tokenIn(another)(t, w, first)
				if w.s.Status.Token.Renewals != 1 {
					t.Error("the renewal was dropped")
				}
			},
		},
		{
			from: "Established", on: "secretName changes to a name that is somebody else's: Stalled, and the token stays where it is", given: []func(*world){loggedIn}, when: wantNameTaken,
			state: "Established", ready: "False Stalled SecretNameTaken", check: tokenIn(place),
		},
		{
			from: "Established", on: "renewed while the name that spec wants is somebody else's: Stalled as before", given: []func(*world){loggedIn, wantNameTaken, loggedIn}, when: renewalDue,
			state: "Established", ready: "False Stalled SecretNameTaken", asks: 1,
			check: func(t *testing.T, _ *world, first step) {
				if got := readiness(&first.after); got != "False Stalled SecretNameTaken" {
					t.Errorf("in between, Ready is %s", got)
				}
			},
		},

		// Established, TokenExpired
		{
			from: "TokenExpired", on: "renewal succeeds late", given: []func(*world){tokenExpired}, when: backoffIsOver,
			state: "Established", ready: "True Established", asks: 1, check: all(tokenIn(place), sessionIs("session-1")),
		},
		{
			from: "TokenExpired", on: "renewal refused: renewal goes on being tried", given: []func(*world){tokenExpired}, when: sequence(failing(session.FailureRejected), backoffIsOver),
			state: "TokenExpired", ready: "False Stalled RenewalRejected", asks: 1, check: waits(time.Second, time.Minute),
		},
		{
			from: "Established", on: "the provider says the grant is dead: a new session at once", given: []func(*world){loggedIn, renewalDue},
			when:  func(w *world) { w.fails(session.FailureGrantDead); w.look(); w.answer = nil },
			state: "Established", ready: "True Established", asks: 2, check: all(tokenIn(place), sessionIs("session-3"), ended(v1.ReasonGrantDead)),
		},
		{
			from: "Established", on: "the provider says the grant is dead, a second time within one lifetime: Establishing, after backoff",
			given: []func(*world){loggedIn, grantDies, loggedIn, renewalDue}, when: failing(session.FailureGrantDead),
			state: "Establishing", ready: "False Reconciling GrantDead", asks: 1, check: all(noSecret, waits(5*time.Second, 6*time.Second)),
		},
		{
			from: "Established", on: "the provider says the grant is dead, again after more than a lifetime: a new session at once",
			given: []func(*world){loggedIn, grantDies, loggedIn, renewalDue, loggedIn, renewalDue, loggedIn, renewalDue},
			when:  func(w *world) { w.fails(session.FailureGrantDead); w.look(); w.answer = nil },
			state: "Established", ready: "True Established", asks: 2,
		},
		{
			from: "Established", on: "the provider says the grant is dead, relogin OnRequest: hold Invalidated", given: []func(*world){onRequest, loggedIn, renewalDue}, when: failing(session.FailureGrantDead),
			state: "NotLoggedIn, Invalidated", ready: "True GrantDead", asks: 1, check: all(noSecret, ended(v1.ReasonGrantDead), sleeps, flow(v1.FlowDone, v1.HistoryLoggedOut)),
		},
		{
			from: "TokenExpired", on: "the provider says the grant is dead: a new session", given: []func(*world){tokenExpired, backoffIsOver},
			when:  func(w *world) { w.fails(session.FailureGrantDead); w.look(); w.answer = nil },
			state: "Established", ready: "True Established", asks: 2, check: ended(v1.ReasonGrantDead),
		},
		{
			from: "Established", on: "a renewal comes back with somebody else's identity: hold Rejected, and the Secret goes", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureIdentity),
			state: "NotLoggedIn, Rejected", ready: "False Stalled IdentityMismatch", asks: 1, check: all(noSecret, ended(v1.ReasonIdentityMismatch)),
		},
		{
			from: "Established", on: "desiredState LoggedOut", given: []func(*world){loggedIn}, when: wantLoggedOut,
			state: "NotLoggedIn", ready: "True LoggedOut", check: all(noSecret, ended(v1.ReasonLoggedOut), sleeps, flow(v1.FlowDone, v1.HistoryLoggedOut), notEstablished, sessionIs("")),
		},
		{
			from: "TokenExpired", on: "desiredState LoggedOut", given: []func(*world){tokenExpired}, when: wantLoggedOut,
			state: "NotLoggedIn", ready: "True LoggedOut", check: all(noSecret, ended(v1.ReasonLoggedOut), sleeps),
		},
		{
			from: "Established", on: "desiredState LoggedOut and an open request: nobody is logged in, and the request is no longer open when LoggedIn is wanted again",
			given: []func(*world){loggedIn}, when: sequence(askForLogin, askForRenewal, wantLoggedOut),
			state: "NotLoggedIn", ready: "True LoggedOut",
			check: func(t *testing.T, w *world, _ step) {
				if st := w.s.Status; st.LastHandledLoginRequest != "please" || st.LastHandledRenewRequest != "please" {
					t.Error("a request stays open")
				}
			},
		},
		{
			from: "NotLoggedIn", on: "desiredState LoggedOut, then LoggedIn: a new session", given: []func(*world){loggedIn, wantLoggedOut, loggedIn}, when: wantLoggedIn,
			state: "Established", ready: "True Established", asks: 1, check: sessionIs("session-2"),
		},
		{
			from: "Established", on: "the token Secret deleted by hand: a new session", given: []func(*world){loggedIn}, when: deleteSecret,
			state: "Established", ready: "True Established", asks: 1, check: all(tokenIn(place), sessionIs("session-2"), ended(v1.ReasonSecretChanged)),
		},
		{
			from: "Established", on: "the token Secret altered by hand: a new session", given: []func(*world){loggedIn}, when: alterSecret,
			state: "Established", ready: "True Established", asks: 1, check: all(tokenIn(place), sessionIs("session-2"), ended(v1.ReasonSecretChanged)),
		},
		{
			from: "Established", on: "the token Secret deleted by hand where a refresh token is left: renewed", given: []func(*world){refreshable, loggedIn}, when: deleteSecret,
			state: "Established", ready: "True Established", asks: 1, check: all(tokenIn(place), sessionIs("session-1")),
		},
		{
			from: "Established", on: "the token Secret altered by hand where a refresh token is left: renewed", given: []func(*world){refreshable, loggedIn}, when: alterSecret,
			state: "Established", ready: "True Established", asks: 1, check: all(tokenIn(place), sessionIs("session-1")),
		},
		{
			from: "Established", on: "the token Secret deleted by hand, OneShot: hold Finished", given: []func(*world){oneShot, loggedIn}, when: deleteSecret,
			state: "NotLoggedIn, Finished", ready: "True Finished", check: all(noSecret, ended(v1.ReasonSecretChanged)),
		},
		{
			from: "Established", on: "the token Secret altered by hand, OneShot: hold Finished, and the Secret goes", given: []func(*world){oneShot, refreshable, loggedIn}, when: alterSecret,
			state: "NotLoggedIn, Finished", ready: "True Finished", check: all(noSecret, ended(v1.ReasonSecretChanged)),
		},
		{
			from: "Established", on: "the token Secret deleted by hand while the provider is gone: no session, and Stalled", given: []func(*world){loggedIn}, when: sequence(deleteSecret, stalling(v1.ReasonProviderNotFound)),
			state: "NotLoggedIn", ready: "False Stalled ProviderNotFound", check: ended(v1.ReasonSecretChanged),
		},
		{
			from: "Established", on: "the token Secret altered by hand, and the new login is refused: nothing is left of the Secret", given: []func(*world){loggedIn}, when: sequence(alterSecret, failing(session.FailureRejected)),
			state: "NotLoggedIn, Rejected", ready: "False Stalled Rejected", asks: 1, check: all(noSecret, ended(v1.ReasonSecretChanged)),
		},
		{
			from: "Established", on: "the token Secret deleted by hand during backoff: Establishing, after backoff", given: []func(*world){loggedIn, renewalDue, busy}, when: deleteSecret,
			state: "Establishing", ready: "False Reconciling SecretChanged", check: all(ended(v1.ReasonSecretChanged), waits(5*time.Second, 6*time.Second)),
		},
		{
			from: "Established", on: "somebody else's Secret stands where the token was: no session, Stalled, and nothing is written over it", given: []func(*world){loggedIn}, when: sequence(deleteSecret, takeName),
			state: "NotLoggedIn", ready: "False Stalled SecretNameTaken", check: ended(v1.ReasonSecretChanged),
		},
		{
			from: "Established", on: "somebody else's Secret stands where the token was, and a refresh token is left: nothing is written over it", given: []func(*world){refreshable, loggedIn}, when: sequence(deleteSecret, takeName),
			state: "NotLoggedIn", ready: "False Stalled SecretNameTaken", check: ended(v1.ReasonSecretChanged),
		},
		{
			from: "Established", on: "somebody labels the token Secret and leaves the token alone: nobody is asked", given: []func(*world){loggedIn}, when: func(w *world) { w.touch(place) },
			state: "Established", ready: "True Established", check: all(tokenIn(place), sessionIs("session-1")),
		},
		{
			from: "Established", on: "somebody labels the token Secret while a renewal is requested: the renewal is done", given: []func(*world){loggedIn}, when: sequence(func(w *world) { w.touch(place) }, askForRenewal),
			state: "Established", ready: "True Established", asks: 1, check: tokenIn(place),
		},
		{
			from: "Established", on: "a crash came between a renewal's Secret and status: the token is adopted and nobody is asked", given: []func(*world){loggedIn, renewalDue, crashedRenewal}, when: nothing,
			state: "Established", ready: "True Established",
			check: func(t *testing.T, w *world, first step) {
				all(tokenIn(place), sessionIs("session-1"))(t, w, first)
				if st := w.s.Status; st.Attempt.Number != 2 || st.Token.Renewals != 1 {
					t.Errorf("the renewal is not counted: %s", show(st))
				}
			},
		},
		{
			from: "Established", on: "a OneShot token is adopted after its expiry: hold Finished", given: []func(*world){oneShot, crashed}, when: func(w *world) { w.now = w.now.Add(month10) },
			state: "NotLoggedIn, Finished", ready: "True Finished", check: noSecret,
		},

		// Terminated
		{
			from: "any", on: "the provider says banned, at a login: Terminated, with the error code", when: failing(session.FailureBanned),
			state: "Terminated", ready: "False Stalled Banned", asks: 1, check: all(noSecret, code("BannedCode"), sleeps, flow(v1.FlowError, v1.HistoryError)),
		},
		{
			from: "any", on: "the provider says banned, at a renewal: Terminated, with the error code", given: []func(*world){loggedIn, renewalDue}, when: failing(session.FailureBanned),
			state: "Terminated", ready: "False Stalled Banned", asks: 1, check: all(noSecret, code("BannedCode"), ended(v1.ReasonBanned), sleeps, notEstablished, sessionIs("")),
		},
		{
			from: "any", on: "the provider says banned without a code of its own: the reason stands for it", when: func(w *world) { w.answer = &session.Failure{Kind: session.FailureBanned} },
			state: "Terminated", ready: "False Stalled Banned", asks: 1, check: code(v1.ReasonBanned),
		},
		{
			from: "Terminated", on: "the provider changes: nobody is asked", given: []func(*world){barred, healthy}, when: changeProvider,
			state: "Terminated", ready: "False Stalled Banned", check: code("BannedCode"),
		},
		{
			from: "Terminated", on: "another merchant: nobody is asked", given: []func(*world){barred, healthy}, when: func(w *world) { w.edit(func(s *v1.TerminalSessionSpec) { s.MerchantID = "other" }) },
			state: "Terminated", ready: "False Stalled Banned",
		},
		{
			from: "Terminated", on: "another user", given: []func(*world){barred, healthy}, when: changeUser,
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "Terminated", on: "spec named nobody and names a user now", given: []func(*world){func(w *world) { w.s.Spec.User = nil }, barred, healthy}, when: changeUser,
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "Terminated", on: "spec names nobody: nobody is asked", given: []func(*world){func(w *world) { w.s.Spec.User = nil }, loggedIn, renewalDue, barred, healthy}, when: nothing,
			state: "Terminated", ready: "False Stalled Banned",
		},
		{
			from: "Terminated", on: "spec names the user of whom the provider said it", given: []func(*world){func(w *world) { w.s.Spec.User = nil }, loggedIn, renewalDue, barred, healthy},
			when: func(w *world) {
				w.edit(func(s *v1.TerminalSessionSpec) { s.User = &v1.User{Email: "ANNA@acme.example"} })
			},
			state: "Terminated", ready: "False Stalled Banned",
		},
		{
			from: "Terminated", on: "another user while the provider is gone: NotLoggedIn, and nobody is named", given: []func(*world){barred, stalling(v1.ReasonProviderNotFound)}, when: changeUser,
			state: "NotLoggedIn", ready: "False Stalled ProviderNotFound",
			check: func(t *testing.T, w *world, _ step) {
				if w.s.Status.User != nil {
					t.Errorf("status.user is %s, though nobody is logged in", show(w.s.Status.User))
				}
			},
		},
		{
			from: "Terminated", on: "a login request", given: []func(*world){barred, healthy}, when: askForLogin,
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "Terminated", on: "a login request, and the provider says banned again: asked once", given: []func(*world){barred}, when: askForLogin,
			state: "Terminated", ready: "False Stalled Banned", asks: 1,
		},
		{
			from: "Terminated", on: "deletion", given: []func(*world){barred}, when: deleteSession,
			state: "Terminated", ready: "False Stalled Banned", check: silent,
		},

		// Holds
		{
			from: "hold Rejected", on: "a login request", given: []func(*world){refused, healthy}, when: askForLogin,
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "hold Rejected", on: "a login request, and the provider is busy: the login goes on being tried", given: []func(*world){refused, failing(session.FailureBusy)}, when: askForLogin,
			state: "Establishing", ready: "False Reconciling ProviderBusy", asks: 1, check: waits(5*time.Second, 15*time.Second),
		},
		{
			from: "hold Finished", on: "a login request, and the provider is misconfigured: the login goes on being tried", given: []func(*world){finishedOneShot, failing(session.FailureMisconfigured)}, when: askForLogin,
			state: "NotLoggedIn", ready: "False Stalled ProviderMisconfigured", asks: 1, check: waits(5*time.Second, 6*time.Second),
		},
		{
			from: "hold Rejected", on: "a login request while the provider is gone: it waits for the provider", given: []func(*world){refused, stalling(v1.ReasonProviderNotFound)}, when: askForLogin,
			state: "NotLoggedIn", ready: "False Stalled ProviderNotFound",
			check: func(t *testing.T, w *world, _ step) {
				w.provider, w.answer = session.Provider{Version: provider}, nil
				w.rest(t)
				if got := state(&w.s.Status); got != "Established" {
					t.Errorf("with the provider back it is %s", got)
				}
			},
		},
		{
			from: "hold Rejected", on: "spec names another user", given: []func(*world){refused, healthy}, when: changeUser,
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "hold Rejected", on: "spec writes the same user in capitals: held", given: []func(*world){refused, healthy},
			when: func(w *world) {
				w.edit(func(s *v1.TerminalSessionSpec) { s.User = &v1.User{Email: "Anna@ACME.example"} })
			},
			state: "NotLoggedIn, Rejected", ready: "False Stalled Rejected",
		},
		{
			from: "hold Rejected", on: "the provider or the auth token's Secret changes", given: []func(*world){refused, healthy}, when: changeProvider,
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "hold Rejected", on: "another merchant: held", given: []func(*world){refused, healthy}, when: func(w *world) { w.edit(func(s *v1.TerminalSessionSpec) { s.MerchantID = "other" }) },
			state: "NotLoggedIn, Rejected", ready: "False Stalled Rejected",
		},
		{
			from: "hold Rejected", on: "a renewal request: held", given: []func(*world){refused, healthy}, when: askForRenewal,
			state: "NotLoggedIn, Rejected", ready: "False Stalled Rejected",
		},
		{
			from: "hold Rejected", on: "desiredState LoggedOut, then LoggedIn", given: []func(*world){refused, healthy, wantLoggedOut, loggedIn}, when: wantLoggedIn,
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "hold Rejected", on: "refused again: asked once", given: []func(*world){refused}, when: askForLogin,
			state: "NotLoggedIn, Rejected", ready: "False Stalled Rejected", asks: 1,
		},
		{
			from: "hold Rejected", on: "deletion", given: []func(*world){refused}, when: deleteSession,
			state: "NotLoggedIn, Rejected", ready: "False Stalled Rejected", check: silent,
		},
		{
			from: "hold SignedOut", on: "the provider changes: held", given: []func(*world){heldAs(v1.HoldSignedOut)}, when: changeProvider,
			state: "NotLoggedIn, SignedOut", ready: "True SignedOut", check: all(sleeps, flow(v1.FlowDone, v1.HistoryLoggedOut)),
		},
		{
			from: "hold SignedOut", on: "a token comes late: it is discarded", given: []func(*world){heldAs(v1.HoldSignedOut)},
			when: func(w *world) {
				w.put(place, session.Issued{SessionID: "late", Attempt: 2, IssuedAt: w.now, ExpiresAt: w.now.Add(month), UserEmail: anna})
			},
			state: "NotLoggedIn, SignedOut", ready: "True SignedOut", check: noSecret,
		},
		{
			from: "hold SignedOut", on: "a login request", given: []func(*world){heldAs(v1.HoldSignedOut)}, when: askForLogin,
			state: "Established", ready: "True Established", asks: 1, check: sessionIs("session-2"),
		},
		{
			from: "hold Aborted", on: "time passes: held", given: []func(*world){heldAs(v1.HoldAborted)}, when: func(w *world) { w.now = w.now.Add(month) },
			state: "NotLoggedIn, Aborted", ready: "True Aborted", check: all(sleeps, flow(v1.FlowError, v1.HistoryAborted)),
		},
		{
			from: "hold Aborted", on: "spec names another user", given: []func(*world){heldAs(v1.HoldAborted)}, when: changeUser,
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "hold Invalidated", on: "a login request", given: []func(*world){onRequest, loggedIn, renewalDue, failing(session.FailureGrantDead), loggedIn, healthy}, when: askForLogin,
			state: "Established", ready: "True Established", asks: 1,
		},
		{
			from: "hold Invalidated", on: "the provider changes: held", given: []func(*world){onRequest, loggedIn, renewalDue, failing(session.FailureGrantDead), loggedIn, healthy}, when: changeProvider,
			state: "NotLoggedIn, Invalidated", ready: "True GrantDead",
		},
		{
			from: "hold Finished", on: "time passes: held", given: []func(*world){finishedOneShot}, when: func(w *world) { w.now = w.now.Add(month) },
			state: "NotLoggedIn, Finished", ready: "True Finished", check: sleeps,
		},
		{
			from: "hold Finished", on: "a login request: another OneShot session", given: []func(*world){finishedOneShot}, when: askForLogin,
			state: "Established", ready: "True Established", asks: 1, check: sessionIs("session-2"),
		},
		{
			from: "hold Finished", on: "the request that was handled before stands there still: held", given: []func(*world){oneShot, askForLogin, loggedIn, expired, loggedIn}, when: nothing,
			state: "NotLoggedIn, Finished", ready: "True Finished",
		},

		// Deletion
		{
			from: "Established", on: "deletion: the Secret goes, and nothing is written to what is going", given: []func(*world){loggedIn}, when: deleteSession,
			state: "Established", ready: "True Established", check: all(silent, noSecret, sleeps),
		},
		{
			from: "Established", on: "the namespace is being deleted: the Secret goes, and nothing is made", given: []func(*world){loggedIn, renewalDue}, when: endNamespace,
			state: "Established", ready: "True Established", check: all(silent, noSecret),
		},
		{
			from: "NotLoggedIn", on: "the namespace is being deleted: nothing is made", when: endNamespace,
			state: "NotLoggedIn", ready: "unknown", check: silent,
		},
		{
			from: "TokenExpired", on: "deletion while a renewal is requested: nobody is asked", given: []func(*world){tokenExpired}, when: sequence(askForRenewal, deleteSession),
			state: "TokenExpired", ready: "False Reconciling ProviderUnavailable", check: all(silent, noSecret),
		},
	}
	for _, r := range rows {
		t.Run(r.from+" on "+r.on, r.holds)
	}
}

// holds brings a session to where the row begins, has it happen, and checks what people see.
func (r row) holds(t *testing.T) {
	w := newWorld()
	for _, given := range r.given {
		given(w)
	}
	before := w.asked()
	r.when(w)
	first := w.rest(t)
	if got := state(&w.s.Status); got != r.state {
		t.Errorf("it is %s, want %s\n%s", got, r.state, show(w.s.Status))
	}
	if got := readiness(&w.s.Status); got != r.ready {
		t.Errorf("Ready is %s, want %s", got, r.ready)
	}
	if got := w.asked() - before; got != r.asks {
		t.Errorf("the provider was asked %d times, want %d", got, r.asks)
	}
	if r.check != nil && !t.Failed() {
		r.check(t, w, first)
	}
}

// sleeps: nothing is due by time.
func sleeps(t *testing.T, w *world, _ step) {
	t.Helper()
	if wake := session.WakeTime(w.s, w.now); !wake.IsZero() {
		t.Errorf("it is looked at again at %v, want not before something changes", wake)
	}
}

// silent: status is left as it is.
func silent(t *testing.T, w *world, first step) {
	t.Helper()
	if !first.decision.Silent || !same(&first.in.Session.Status, &w.s.Status) {
		t.Error("status is written")
	}
}

func notEstablished(t *testing.T, w *world, _ step) {
	t.Helper()
	for _, c := range w.s.Status.Conditions {
		if c.Type == v1.ConditionEstablished && c.Status == "True" {
			t.Error("the condition Established is True")
		}
	}
}

func flow(state v1.FlowState, history v1.History) func(*testing.T, *world, step) {
	return func(t *testing.T, w *world, _ step) {
		t.Helper()
		if st := w.s.Status; st.Flow.State != state || st.History != history {
			t.Errorf("flow is %s and history %q, want %s and %q", st.Flow.State, st.History, state, history)
		}
	}
}

func renewBefore(d time.Duration) func(*v1.TerminalSessionSpec) {
	return func(s *v1.TerminalSessionSpec) { s.Token.RenewBefore = duration(d) }
}

// wantNameTaken names a Secret in spec that is somebody else's.
func wantNameTaken(w *world) {
	w.secrets[1] = secret{name: another, version: "theirs", foreign: true}
	w.edit(func(s *v1.TerminalSessionSpec) { s.Token.SecretName = another })
}

// crashed: the Secret was written, and status was not.
func crashed(w *world) {
	w.obtain("session-1", place)
	w.logins = 0
}

func crashedRenewal(w *world) { w.obtain(w.s.Status.SessionID, place) }

// grantDies: the grant has died once, and the session is another.
func grantDies(w *world) {
	renewalDue(w)
	w.fails(session.FailureGrantDead)
	w.look()
	w.answer = nil
}
