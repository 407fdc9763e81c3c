package session

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

// Confirming is whether status tells of a login that waits for a person.
func Confirming(s *v1.TerminalSession) bool {
	flow := s.Status.Flow
	return s.Status.Token == nil && s.Status.Phase == v1.PhaseEstablishing && flow != nil && flow.State == v1.FlowUserInteraction
}

// awaited is whether status tells of a login that a person may still confirm.
func awaited(s *v1.TerminalSession, now time.Time) bool {
	return Confirming(s) && (s.Status.Flow.ExpiresAt == nil || now.Before(s.Status.Flow.ExpiresAt.Time))
}

// confirming: a login that waits for a person goes on until it is confirmed or denied, or the code is over. It begins anew, with another
// code, where somebody asks for that, where spec asks for another session, and where what to ask with is lost.
func confirming(in Input, now time.Time) (Decision, bool) {
	s := in.Session
	if !Confirming(s) {
		return Decision{}, false
	}
	b := s.Status.Binding
	if _, asked := loginRequest(s); asked || b == nil || b.Request != RequestOf(s) {
		return Decision{}, false // also where the code is over: nobody was asked for this one
	}
	if at := s.Status.Flow.ExpiresAt; at != nil && !now.Before(at.Time) {
		return aborted(in, "Nobody confirmed the login in time. Ask for a new one with the annotation "+v1.AnnotationLoginRequested+"."), true
	}
	if !in.Grant.awaited(s) || in.Secret.mine() || in.Target.mine() {
		return Decision{}, false
	}
	d := Decision{Action: ActionNone, Phase: v1.PhaseEstablishing, Confirming: true}
	taken, isTaken := nameTaken(in, now)
	switch {
	case isTaken:
		d.Why = taken.Why
	case in.Provider.Problem.Reason != "":
		d.Why = in.Provider.Problem
	case waiting(in, now):
	default:
		// What the last poll failed with stands until the next one: the two would take turns.
		if s.Status.Attempt.Failures == 0 || slices.Contains(standing, readyReason(s)) {
			d.Why = awaitsPerson(s.Status.Flow)
		}
		if !now.Before(in.NextPoll) {
			d.Action = ActionPoll
		}
	}
	return d, true
}

func aborted(in Input, message string) Decision {
	d := Decision{Action: ActionNone, Phase: v1.PhaseNotLoggedIn, Hold: v1.HoldAborted, Why: Problem{v1.ReasonAborted, message}}
	if mine(in) {
		d.Action = ActionEnd
	}
	return d
}

// pending: a person must act before there is a token.
func (r *reporter) pending(d Decision, p Pending) {
	st, s := r.st, r.in.Session
	r.handled(true)
	if d.Action == ActionPoll {
		st.Attempt = &v1.Attempt{Number: st.Attempt.Number}
	} else {
		r.over(d.End)
		st.Attempt = &v1.Attempt{Number: NextAttempt(s)}
		st.Binding = &v1.Binding{Request: RequestOf(s)}
		st.Flow = &v1.Flow{
			State:           v1.FlowUserInteraction,
			VerificationURI: limit(p.VerificationURI, 2048), VerificationURIComplete: limit(p.VerificationURIComplete, 2048),
			UserCode: limit(p.UserCode, 64), ExpiresAt: new(metav1.NewTime(p.ExpiresAt.UTC().Truncate(time.Second))),
		}
	}
	st.Hold, st.Error = nil, nil
	st.Phase = v1.PhaseEstablishing
	r.why = awaitsPerson(st.Flow)
}

// awaitsPerson says what the person in front of the terminal has to do.
func awaitsPerson(flow *v1.Flow) Problem {
	message := "A person must confirm the login"
	if at := cmp.Or(flow.VerificationURI, flow.VerificationURIComplete); at != "" {
		message += " at " + at
	}
	if flow.UserCode != "" {
		message += " with the code " + flow.UserCode
	}
	if flow.ExpiresAt != nil {
		message += fmt.Sprintf(" before %s", flow.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return Problem{v1.ReasonUserInteraction, message + "."}
}
