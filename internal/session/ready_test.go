package session_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

func TestReady(t *testing.T) {
	for _, row := range []struct {
		name  string
		given []func(*world)
		want  string
	}{
		{"True when Established", []func(*world){loggedIn}, "True Established"},
		{"True when logged out as wanted", []func(*world){loggedIn, wantLoggedOut, loggedIn}, "True LoggedOut"},
		{"True when logged out as wanted, from the start", []func(*world){wantLoggedOut, loggedIn}, "True LoggedOut"},
		{"True when logged out as wanted, whatever the provider is", []func(*world){stalling(v1.ReasonProviderNotFound), loggedIn, wantLoggedOut, loggedIn}, "True LoggedOut"},
		{"True when terminated by a ban in force", []func(*world){loggedIn, ban(terminalBan), loggedIn}, "True BanInForce"},
		{"True when terminated by a ban in force, from the start", []func(*world){ban(terminalBan)}, "True BanInForce"},
		{"True when terminated by a ban in force, though it was refused before", []func(*world){refused, ban(terminalBan)}, "True BanInForce"},
		{"True when terminated by a ban in force, though barred before", []func(*world){barred, ban(terminalBan)}, "True BanInForce"},
		{"True when terminated by a ban in force, whatever spec wants", []func(*world){
			loggedIn, ban(terminalBan), wantLoggedOut, askForLogin,
		}, "True BanInForce"},
		{"True when held as SignedOut, by a SessionLogout", []func(*world){loggedIn, signsOut}, "True SignedOut"},
		{"True when held as Invalidated, by another version of the payment app", []func(*world){
			onRequest, reports(told), loggedIn, tells(func(c *v1.ClientStatus) { c.PaymentAppVersion = "5" }),
		}, "True PaymentAppUpdated"},
		{"True when held as Finished, at the token's expiry", []func(*world){finishedOneShot}, "True Finished"},
		{"True when held as SignedOut", []func(*world){heldAs(v1.HoldSignedOut), loggedIn}, "True SignedOut"},
		{"True when held as Invalidated", []func(*world){heldAs(v1.HoldInvalidated), loggedIn}, "True Invalidated"},
		{"True when held as Finished", []func(*world){heldAs(v1.HoldFinished), loggedIn}, "True Finished"},
		{"True when held as Aborted, by the person", []func(*world){shown, nextPoll, failing(session.FailureRejected)}, "True Aborted"},
		{"True when held as Aborted, when the code is over", []func(*world){shown, codeIsOver}, "True Aborted"},
		{"True when held as Aborted", []func(*world){heldAs(v1.HoldAborted), loggedIn}, "True Aborted"},

		{"False, Reconciling when Establishing", []func(*world){failing(session.FailureUnavailable), loggedIn}, "False Reconciling ProviderUnavailable"},
		{"False, Reconciling when TokenExpired", []func(*world){tokenExpired}, "False Reconciling ProviderUnavailable"},
		{"False, Reconciling in backoff before a login", []func(*world){busy}, "False Reconciling ProviderBusy"},
		{"False, Reconciling in backoff before a renewal", []func(*world){loggedIn, renewalDue, busy}, "False Reconciling ProviderBusy"},
		{"False, Reconciling while the provider is looked at", []func(*world){stalling(v1.ReasonProviderPending), loggedIn}, "False Reconciling ProviderPending"},

		{"False, Reconciling while the terminal is not heard of again", []func(*world){
			withHeartbeat, loggedIn, quietFor(time.Hour),
		}, "False Reconciling LinkLost"},
		{"False, Reconciling while a person is to act", []func(*world){shown}, "False Reconciling UserInteraction"},
		{"False, Reconciling in backoff after a handover", []func(*world){
			loggedIn, changeUser, failing(session.FailureUnavailable),
		}, "False Reconciling ProviderUnavailable"},

		{"False, Stalled when only a change of configuration can mend it: provider missing", []func(*world){stalling(v1.ReasonProviderNotFound), loggedIn}, "False Stalled ProviderNotFound"},
		{"False, Stalled when only a change of configuration can mend it: provider not ready", []func(*world){stalling(v1.ReasonProviderNotReady), loggedIn}, "False Stalled ProviderNotReady"},
		{"False, Stalled when only a change of configuration can mend it: provider not allowing", []func(*world){stalling(v1.ReasonProviderNotAllowed), loggedIn}, "False Stalled ProviderNotAllowed"},
		{"False, Stalled when only a change of configuration can mend it: provider misconfigured", []func(*world){failing(session.FailureMisconfigured), loggedIn}, "False Stalled ProviderMisconfigured"},
		{"False, Stalled when only a change of configuration can mend it: Secret's name taken", []func(*world){takeName, loggedIn}, "False Stalled SecretNameTaken"},
		{"False, Stalled when only a change of configuration can mend it: the Secret refused", []func(*world){
			failing(session.FailureSecretRefused), loggedIn,
		}, "False Stalled SecretRefused"},
		{"False, Stalled when only a change of configuration can mend it: the renewal refused", []func(*world){
			loggedIn, renewalDue, failing(session.FailureRejected),
		}, "False Stalled RenewalRejected"},
		{"False, Stalled in hold Rejected", []func(*world){refused}, "False Stalled Rejected"},
		{"False, Stalled in hold Rejected, when the ban beside it is lifted", []func(*world){refused, byBan}, "False Stalled Rejected"},
		{"False, Stalled when banned or deleted by the provider", []func(*world){barred}, "False Stalled Banned"},
		{"False, Stalled goes when the cause goes", []func(*world){barred, healthy, askForLogin, loggedIn}, "True Established"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld()
			for _, given := range row.given {
				given(w)
			}
			w.rest(t)
			if got := readiness(&w.s.Status); got != row.want {
				t.Errorf("Ready is %s, want %s\n%s", got, row.want, show(w.s.Status))
			}
		})
	}
}

// Who waits for the condition Established waits for a token.
func TestEstablishedIsTrueWhileThereIsAValidToken(t *testing.T) {
	for name, given := range map[string][]func(*world){
		"True healthy":           {loggedIn},
		"True renewal failing":   {loggedIn, renewalDue, busy},
		"True name taken":        {loggedIn, wantNameTaken, loggedIn},
		"False token expired":    {tokenExpired},
		"False logged out":       {loggedIn, wantLoggedOut, loggedIn},
		"False establishing":     {busy},
		"False held":             {refused},
		"False banned":           {barred},
		"False provider missing": {stalling(v1.ReasonProviderNotFound), loggedIn},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for _, given := range given {
				given(w)
			}
			c := meta.FindStatusCondition(w.s.Status.Conditions, v1.ConditionEstablished)
			if c == nil || c.Reason == "" || c.Message == "" {
				t.Fatalf("there is no such condition with a reason and a message: %s", show(w.s.Status.Conditions))
			}
			if want := name[:4] == "True"; (c.Status == metav1.ConditionTrue) != want {
				t.Errorf("it is %s", c.Status)
			}
		})
	}
}

func TestATransitionIsTheTimeThatAConditionTurned(t *testing.T) {
	w := newWorld()
	loggedIn(w)
	renewalDue(w)
	w.look()
	ready := meta.FindStatusCondition(w.s.Status.Conditions, v1.ConditionReady)
	if !ready.LastTransitionTime.Time.Equal(start) {
		t.Errorf("a renewal that succeeds moves Ready's transition to %v", ready.LastTransitionTime)
	}
	renewalDue(w)
	w.now = w.now.Add(700 * time.Millisecond)
	busy(w)
	ready = meta.FindStatusCondition(w.s.Status.Conditions, v1.ConditionReady)
	if want := w.now.Truncate(time.Second); !ready.LastTransitionTime.Time.Equal(want) {
		t.Errorf("Ready turned at %v, want %v", ready.LastTransitionTime, want)
	}
}

func TestConditionsTellWhichSpecTheySpeakOf(t *testing.T) {
	w := newWorld()
	loggedIn(w)
	w.edit(func(s *v1.TerminalSessionSpec) { s.Display = &v1.Display{Session: "Till 7"} })
	w.look()
	if w.s.Status.ObservedGeneration != 2 {
		t.Errorf("observedGeneration is %d, want 2", w.s.Status.ObservedGeneration)
	}
	for _, c := range w.s.Status.Conditions {
		if c.ObservedGeneration != 2 {
			t.Errorf("condition %s speaks of generation %d, want 2", c.Type, c.ObservedGeneration)
		}
	}
}

func TestStatusRemembersTheLastThreeSessionsNewestFirst(t *testing.T) {
	w := newWorld()
	for range 5 {
		w.rest(t)
		w.now = w.now.Add(time.Hour)
		w.delete(place)
	}
	w.rest(t)
	recent := w.s.Status.Recent
	if len(recent) != 3 || recent[0].SessionID != "session-5" || recent[2].SessionID != "session-3" {
		t.Errorf("status.recent is %s", show(recent))
	}
}
