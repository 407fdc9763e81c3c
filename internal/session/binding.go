package session

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

// RequestOf stands for everything in spec that makes another session of a session: user, merchant, terminal, provider, type, purpose,
// scopes and audiences. Two specs that differ in none of them have the same.
func RequestOf(s *v1.TerminalSession) string {
	sorted := func(list []string) []string { return slices.Sorted(slices.Values(list)) }
	parts, _ := json.Marshal([]any{ // strings alone are always encodable
		strings.ToLower(userEmail(s)), s.Spec.MerchantID, s.Spec.Terminal.ID, s.Spec.Terminal.SerialNumber,
		s.Spec.ProviderRef.Kind, s.Spec.ProviderRef.Name, s.Spec.Type, s.Spec.Purpose,
		sorted(s.Spec.Token.Scopes), sorted(s.Spec.Token.Audiences),
	})
	sum := sha256.Sum256(parts)
	return hex.EncodeToString(sum[:16])
}

// handover: spec asks for another session than the one that is there. The old one ends first.
func handover(in Input, _ time.Time) (Decision, bool) {
	s := in.Session
	if s.Status.Token == nil || s.Status.Binding == nil || s.Status.Binding.Request == "" || s.Status.Binding.Request == RequestOf(s) {
		return Decision{}, false
	}
	return relogin(in, v1.ReasonHandedOver, "Spec asks for another session: the old one has ended, and a new one is being established."), true
}

// invalidated: what the session was bound to has changed, or the terminal is silent for too long.
func invalidated(in Input, _ time.Time) (Decision, bool) {
	s := in.Session
	reason, message := invalidity(in)
	if s.Status.Token == nil || reason == "" {
		return Decision{}, false
	}
	if s.Spec.Relogin == v1.ReloginOnRequest {
		d := over(in, v1.HoldInvalidated, reason, message)
		d.Why.Reason = reason
		return d, true
	}
	if reason == v1.ReasonLinkLost {
		message = awaitsTerminal
	}
	return relogin(in, reason, message), true
}

// invalidity is why a session no longer holds; nothing where it does. What the terminal has not told is not compared.
func invalidity(in Input) (reason, message string) {
	s := in.Session
	// What was bound has been through limit, so what is compared with it has to go through it too: else a report with a character that
	// cannot be shown would differ from itself for ever.
	differs := func(bound, reported string) bool {
		return bound != "" && reported != "" && bound != limit(reported, maxReported)
	}
	if b, c := s.Status.Binding, s.Status.Client; b != nil && c != nil {
		switch {
		case differs(b.PaymentAppVersion, c.PaymentAppVersion):
			return v1.ReasonPaymentAppUpdated, "The terminal reports another version of the payment app."
		case differs(b.PaymentAppInstanceID, c.PaymentAppInstanceID):
			return v1.ReasonPaymentAppRestarted, "The terminal reports another instance of the payment app."
		case differs(b.InstanceID, c.InstanceID):
			return v1.ReasonClientRestarted, "The terminal reports another instance of its own app."
		}
	}
	if h := s.Spec.Heartbeat; h != nil && h.Timeout != nil && in.Silence >= h.Timeout.Duration {
		return v1.ReasonLinkLost, "The terminal was silent for longer than spec.heartbeat.timeout."
	}
	return "", ""
}

// relogin ends the session that is there, so that the rules which follow log in anew.
func relogin(in Input, reason, message string) Decision {
	d := Decision{Action: ActionNone, Phase: v1.PhaseEstablishing, End: reason, Why: Problem{reason, message}}
	if mine(in) {
		d.Action = ActionEnd
	}
	return d
}

// unheard: after a lost link a login waits until the terminal is heard of again, or somebody asks for it.
func unheard(in Input, _ time.Time) (Decision, bool) {
	s := in.Session
	b := s.Status.Binding
	if s.Status.Token != nil || b == nil || b.SilentSince == nil || !lastReport(in).Equal(b.SilentSince.Time) {
		return Decision{}, false
	}
	if _, open := loginRequest(s); open {
		return Decision{}, false
	}
	return Decision{Action: ActionNone, Phase: v1.PhaseEstablishing, Why: Problem{v1.ReasonLinkLost, awaitsTerminal}}, true
}

const awaitsTerminal = "The terminal was silent for longer than spec.heartbeat.timeout: the login waits until it is heard of again."

// maxReported is how many characters of what a terminal tells are kept.
const maxReported = 64

// bind records what a session is bound to: what it was established for, and what the terminal has told first.
func (r *reporter) bind(request string) {
	st := r.st
	if st.Binding == nil {
		st.Binding = &v1.Binding{}
	}
	b := st.Binding
	first := func(bound *string, reported string) {
		if *bound == "" {
			*bound = limit(reported, maxReported)
		}
	}
	if b.Request == "" {
		b.Purpose = r.in.Session.Spec.Purpose
	}
	first(&b.Request, request)
	if c := st.Client; c != nil {
		first(&b.InstanceID, c.InstanceID)
		first(&b.PaymentAppVersion, c.PaymentAppVersion)
		first(&b.PaymentAppInstanceID, c.PaymentAppInstanceID)
	}
}

// awaitTerminal records the last report before the link was lost.
func (r *reporter) awaitTerminal() {
	r.st.Binding = &v1.Binding{SilentSince: new(metav1.NewTime(lastReport(r.in)))}
}

// lastReport is when the terminal was last heard of, in whole seconds; 1970 for never, so that any report is another.
func lastReport(in Input) time.Time {
	if in.LastActive.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return in.LastActive.UTC().Truncate(time.Second)
}

// SilenceEnds is in how long a terminal that stays silent has lost its session; zero where silence ends nothing.
func SilenceEnds(s *v1.TerminalSession, silence time.Duration) time.Duration {
	if h := s.Spec.Heartbeat; s.Status.Token != nil && h != nil && h.Timeout != nil {
		return max(h.Timeout.Duration-silence, time.Millisecond)
	}
	return 0
}

// finishedAt is since when a session is finished, as ttlSecondsAfterFinished counts it; zero where it is not.
func finishedAt(s *v1.TerminalSession) time.Time {
	st := &s.Status
	_, asked := loginRequest(s)
	switch {
	case s.Spec.DesiredState == v1.LoggedOut, asked, another(s):
	case st.Hold != nil && (st.Hold.Reason == v1.HoldSignedOut || st.Hold.Reason == v1.HoldFinished):
		return st.Hold.At.Time
	case st.Phase == v1.PhaseTerminated:
		if st.Error != nil && st.Error.At != nil {
			return st.Error.At.Time
		}
	}
	return time.Time{}
}

// another is whether spec names another user than the one who is finished.
func another(s *v1.TerminalSession) bool {
	st := &s.Status
	switch {
	case st.Phase == v1.PhaseTerminated && st.User != nil:
		return userEmail(s) != "" && !sameEmail(st.User.Email, userEmail(s))
	case st.Phase != v1.PhaseTerminated && st.Hold != nil:
		return !sameEmail(st.Hold.User, userEmail(s))
	}
	return false
}

// removeAt is when a finished session's object is to be deleted; zero for never.
func removeAt(s *v1.TerminalSession) time.Time {
	if at := finishedAt(s); !at.IsZero() && s.Spec.TTLSecondsAfterFinished != nil {
		return at.Add(time.Duration(*s.Spec.TTLSecondsAfterFinished) * time.Second)
	}
	return time.Time{}
}

// removable: a finished session whose time is over goes, once nothing of it is left.
func removable(in Input, now time.Time) (Decision, bool) {
	at := removeAt(in.Session)
	lifted := underBan(in.Session) && in.Ban == nil
	if at.IsZero() || now.Before(at) || mine(in) || lifted {
		return Decision{}, false
	}
	return Decision{Action: ActionDelete, Silent: true}, true
}
