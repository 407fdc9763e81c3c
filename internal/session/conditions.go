package session

import (
	"slices"

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
	why.Message = limit(why.Message, 512)

	ready, stalled := false, false
	switch {
	case st.Phase == v1.PhaseEstablished:
		ready = why.Reason == v1.ReasonEstablished
		stalled = !ready && slices.Contains(stalling, why.Reason)
	case st.Phase == v1.PhaseTerminated:
		stalled = true
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
	meta.SetStatusCondition(&r.st.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: why.Reason, Message: why.Message,
		ObservedGeneration: r.in.Session.Generation, LastTransitionTime: metav1.NewTime(r.now),
	})
}

func (r *reporter) setWhileTrue(kind string, is bool, why Problem) {
	if is {
		r.set(kind, true, why)
		return
	}
	meta.RemoveStatusCondition(&r.st.Conditions, kind)
}
