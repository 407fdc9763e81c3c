package session

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1 "terminals.dev/session-controller/api/v1"
)

// Logout is a SessionLogout that is to sign a session out.
type Logout struct {
	// UID and Name are the object's.
	UID, Name string
	// By is who asked for it, and Reason why.
	By, Reason string
}

// maxNames is how many names a logout's status has.
const maxNames = 100

// Running is whether a logout has begun and is not over.
func Running(l *v1.SessionLogout) bool {
	return l.Status.StartedAt != nil && !Finished(l) && l.DeletionTimestamp.IsZero()
}

// Finished is whether a logout is over.
func Finished(l *v1.SessionLogout) bool { return l.Status.CompletedAt != nil }

// SignsOut is whether a logout is to sign a session out: one that it selects, that was there before its time, and that it has not signed
// out yet. What is out already, until somebody asks for a login, is left alone.
func SignsOut(l *v1.SessionLogout, s *v1.TerminalSession) bool {
	if s.Namespace != l.Namespace || s.Status.LastLogoutUID == string(l.UID) || !isIn(s) {
		return false
	}
	if l.Status.StartedAt != nil {
		switch {
		case slices.Contains(l.Status.Names, s.Name):
			return true // it was counted, whatever clocks say since
		case s.Status.Token == nil && s.Status.Hold != nil && s.Status.Hold.Reason != v1.HoldRejected:
			return false // it was out, and a login has been asked for since
		}
	}
	return wasInBefore(l, s) && selects(l, s)
}

// isIn is whether a session is there, or will be without anybody asking for it.
func isIn(s *v1.TerminalSession) bool {
	st := &s.Status
	switch {
	case !s.DeletionTimestamp.IsZero(), s.Spec.DesiredState == v1.LoggedOut, st.Phase == v1.PhaseTerminated && !underBan(s):
		return false
	case st.Token == nil && st.Hold != nil && st.Hold.Reason != v1.HoldRejected: // which goes when the provider changes
		_, asked := loginRequest(s)
		return asked
	}
	return true
}

// wasInBefore is whether a session was established, or has been waiting to be, since before a logout's time. Where none is given that is
// when the logout has begun: by the same clock as the sessions' own times, so that no difference between two clocks leaves anybody in.
// Times are in whole seconds, and what came up in the very second of the beginning was before it.
func wasInBefore(l *v1.SessionLogout, s *v1.TerminalSession) bool {
	if before := l.Spec.EstablishedBefore; before != nil {
		return since(s).Before(before.Time)
	}
	return l.Status.StartedAt == nil || !since(s).After(l.Status.StartedAt.Time)
}

// since is when a session was established or, where it is not, since when it has been waiting for that.
func since(s *v1.TerminalSession) time.Time {
	if s.Status.Token != nil && s.Status.EstablishedAt != nil {
		return s.Status.EstablishedAt.Time
	}
	for _, c := range s.Status.Conditions {
		if c.Type == v1.ConditionEstablished && c.Status != metav1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return s.CreationTimestamp.Time
}

func selects(l *v1.SessionLogout, s *v1.TerminalSession) bool {
	if e := l.Spec.Except; e != nil && slices.Contains(e.Names, s.Name) {
		return false
	}
	sel := l.Spec.Selector
	if sel == nil {
		return l.Spec.All != nil && *l.Spec.All
	}
	if sel.LabelSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(sel.LabelSelector)
		if err != nil || !selector.Matches(labels.Set(s.Labels)) {
			return false
		}
	}
	return (sel.User == "" || sameEmail(sel.User, personOf(s))) &&
		(len(sel.Names) == 0 || slices.Contains(sel.Names, s.Name)) &&
		fitsDevice(sel.TerminalID, sel.SerialNumber, sel.MerchantID, s)
}

// LogoutOf is what a session has to know of the logout that signs it out.
func LogoutOf(l *v1.SessionLogout) *Logout {
	return &Logout{UID: string(l.UID), Name: l.Name, By: l.Spec.RequestedBy, Reason: l.Spec.Reason}
}

// says is what people are told of a sign-out.
func (l *Logout) says() string {
	text := "Signed out by SessionLogout " + l.Name
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	return strings.TrimRight(text, ".") + ". A login request lifts this."
}

// signedOut: somebody has signed the session out. It stays out until a login is asked for, and one that was asked for before is answered
// by this.
func signedOut(in Input, _ time.Time) (Decision, bool) {
	if in.Logout == nil {
		return Decision{}, false
	}
	return over(in, v1.HoldSignedOut, v1.ReasonSignedOut, in.Logout.says()), true
}

// LogoutStatus is how a logout stands: sessions are those that it is still to sign out, and signedOut is how many it has.
func LogoutStatus(l *v1.SessionLogout, sessions []*v1.TerminalSession, signedOut int, now time.Time) v1.SessionLogoutStatus {
	st := l.Status.DeepCopy()
	st.ObservedGeneration = l.Generation
	at := metav1.NewTime(now.UTC().Truncate(time.Second))
	affected := make([]string, 0, len(sessions))
	for _, s := range sessions {
		affected = append(affected, s.Name)
	}
	if st.StartedAt == nil {
		for _, s := range sessions { // a clock that has jumped back, or another's that is ahead, leaves nobody in
			if since := metav1.NewTime(since(s).UTC().Truncate(time.Second)); at.Before(&since) {
				at = since
			}
		}
		slices.Sort(affected)
		st.Matched, st.SignedOut, st.Names = counted(len(affected)), new(int32(0)), affected[:min(len(affected), maxNames)]
		st.StartedAt = &at
	}
	if st.SignedOut != nil { // sessions that are deleted, or signed out once more, are not counted any more
		signedOut = max(signedOut, int(*st.SignedOut))
	}
	st.SignedOut = counted(signedOut)
	why, failed := Problem{v1.ReasonSigningOut, "Sessions are still to be signed out."}, false
	dryRun := l.Spec.DryRun != nil && *l.Spec.DryRun
	switch n, most := len(affected), int(l.Spec.MaxAffected); {
	case l.Status.StartedAt == nil && selectorProblem(l) != nil:
		why, failed = Problem{v1.ReasonSelectorInvalid, fmt.Sprintf("spec.selector.labelSelector is none: %v", selectorProblem(l))}, true
	case l.Status.StartedAt == nil && most > 0 && n > most && !dryRun:
		why, failed = Problem{v1.ReasonTooManyAffected, fmt.Sprintf(
			"%d sessions would be signed out, more than spec.maxAffected (%d): nothing was changed. Make another SessionLogout that selects fewer, or allows more.", n, most)}, true
	case dryRun:
		why = Problem{v1.ReasonDryRun, fmt.Sprintf("%d sessions would be signed out: nothing was changed, as spec.dryRun asks.", n)}
		if most > 0 && n > most {
			why.Message = fmt.Sprintf("%d sessions would be signed out, more than spec.maxAffected (%d), so it would fail: nothing was changed, as spec.dryRun asks.", n, most)
		}
	case l.Status.StartedAt == nil && n == 0:
		why = Problem{v1.ReasonNothingMatched, "No session is logged in that was selected: there was nothing to do."}
	case n == 0 && signedOut < int(*st.Matched):
		why = Problem{v1.ReasonSomeSignedOut, fmt.Sprintf("%d of %d sessions are signed out; the others have ended otherwise.", signedOut, *st.Matched)}
	case n == 0:
		why = Problem{v1.ReasonAllSignedOut, "Every session that was selected is signed out."}
	}
	over := why.Reason != v1.ReasonSigningOut
	if over {
		st.CompletedAt = &at
	}
	set := func(kind string, is bool) { setWhileTrue(&st.Conditions, kind, is, why, l.Generation, now) }
	set(v1.ConditionComplete, over && !failed)
	set(v1.ConditionFailed, failed)
	set(v1.ConditionReconciling, !over)
	set(v1.ConditionStalled, failed)
	return *st
}

// counted is a number of objects, which no cluster has more of than an int32 holds.
func counted(n int) *int32 { return new(int32(min(n, math.MaxInt32))) } //nolint:gosec // bounded

func selectorProblem(l *v1.SessionLogout) error {
	if l.Spec.Selector == nil || l.Spec.Selector.LabelSelector == nil {
		return nil
	}
	_, err := metav1.LabelSelectorAsSelector(l.Spec.Selector.LabelSelector)
	return err
}

// LogoutRemoval is when a finished logout's object is to be deleted; zero for never.
func LogoutRemoval(l *v1.SessionLogout) time.Time {
	if l.Status.CompletedAt == nil || l.Spec.TTLSecondsAfterFinished == nil {
		return time.Time{}
	}
	return l.Status.CompletedAt.Add(time.Duration(*l.Spec.TTLSecondsAfterFinished) * time.Second)
}
