package session

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

// stalling has the reasons that only a change of configuration mends.
var stalling = []string{
	v1.ReasonProviderNotFound, v1.ReasonProviderNotReady, v1.ReasonProviderNotAllowed, v1.ReasonProviderMisconfigured,
	v1.ReasonSecretNameTaken, v1.ReasonSecretRefused, v1.ReasonRenewalRejected, v1.ReasonBanned,
}

// standing has the reasons that are seen before anything is asked of the provider, and that are over when they are seen no more.
var standing = []string{
	v1.ReasonProviderNotFound, v1.ReasonProviderPending, v1.ReasonProviderNotReady, v1.ReasonProviderNotAllowed, v1.ReasonSecretNameTaken,
}

// readyReason is the reason of the condition Ready that stands in status.
func readyReason(s *v1.TerminalSession) string {
	if ready := meta.FindStatusCondition(s.Status.Conditions, v1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}

// conditions sets the conditions after the table of Ready: True says that the session is as spec, bans and people's acts ask.
func (r *reporter) conditions() {
	st := r.st
	why := r.why
	if old := meta.FindStatusCondition(st.Conditions, v1.ConditionReady); why.Reason == "" && old != nil {
		why = Problem{old.Reason, old.Message}
	}
	if why.Reason == "" {
		why = Problem{string(st.Phase), "The session is " + string(st.Phase) + "."}
	}
	ready, stalled := false, false
	switch {
	case st.Phase == v1.PhaseEstablished:
		ready = why.Reason == v1.ReasonEstablished
		stalled = !ready && slices.Contains(stalling, why.Reason)
	case st.Phase == v1.PhaseTerminated:
		ready = why.Reason == v1.ReasonBanInForce
		stalled = !ready
	case st.Hold != nil:
		ready = st.Hold.Reason != v1.HoldRejected
		stalled = !ready
	case st.Phase == v1.PhaseNotLoggedIn:
		ready = why.Reason == v1.ReasonLoggedOut
		stalled = !ready && slices.Contains(stalling, why.Reason)
	case st.Phase == v1.PhaseTokenExpired:
		if why.Reason == v1.ReasonEstablished {
			why = Problem{v1.ReasonTokenExpired, "The access token has expired; its renewal is still being tried."}
		}
		stalled = slices.Contains(stalling, why.Reason)
	}

	r.set(v1.ConditionReady, ready, why)
	r.set(v1.ConditionEstablished, st.Phase == v1.PhaseEstablished, r.whyEstablished(why))
	r.setWhileTrue(v1.ConditionReconciling, !ready && !stalled, why)
	r.setWhileTrue(v1.ConditionStalled, stalled, why)
}

// whyEstablished gives the condition Established a reason of its own, where Ready speaks of something else.
func (r *reporter) whyEstablished(why Problem) Problem {
	if r.st.Phase == v1.PhaseEstablished {
		return established(r.st.Token.SecretName, r.st.Token.ExpiresAt.Time)
	}
	if r.st.Phase == v1.PhaseTokenExpired {
		return Problem{v1.ReasonTokenExpired, "The access token has expired."}
	}
	return why
}

func (r *reporter) set(kind string, is bool, why Problem) {
	status := metav1.ConditionFalse
	if is {
		status = metav1.ConditionTrue
	}
	setCondition(&r.st.Conditions, kind, status, why, r.in.Session.Generation, r.now)
}

func (r *reporter) setWhileTrue(kind string, is bool, why Problem) {
	setWhileTrue(&r.st.Conditions, kind, is, why, r.in.Session.Generation, r.now)
}

func setCondition(all *[]metav1.Condition, kind string, is metav1.ConditionStatus, why Problem, generation int64, now time.Time) {
	meta.SetStatusCondition(all, metav1.Condition{
		Type: kind, Status: is, Reason: why.Reason, Message: limit(why.Message, 512),
		ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)),
	})
}

// setWhileTrue has a condition stand only while it is true.
func setWhileTrue(all *[]metav1.Condition, kind string, is bool, why Problem, generation int64, now time.Time) {
	if is {
		setCondition(all, kind, metav1.ConditionTrue, why, generation, now)
		return
	}
	meta.RemoveStatusCondition(all, kind)
}
