package session

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
)

// Report is what status is after an action. It is the only place where status is made.
func Report(in Input, d Decision, out Outcome, now time.Time) v1.TerminalSessionStatus {
	st := in.Session.Status.DeepCopy()
	if d.Silent || d.Action == ActionEnd {
		return *st
	}
	if d.Action == ActionCount {
		counted := v1.Attempt{Number: newest(in)}
		if in.Discarded != nil {
			counted.Number = max(counted.Number, NextAttempt(in.Session))
		}
		if a := st.Attempt; a != nil {
			counted.Failures, counted.NotBefore, counted.ProviderVersion = a.Failures, a.NotBefore, a.ProviderVersion
		}
		st.Attempt = &counted
		if awaited(in.Session, now) { // the code that is shown is not that of the attempt which is counted
			st.Flow = &v1.Flow{State: v1.FlowStarting}
		}
		return *st
	}
	r := reporter{in: in, exact: now, now: now.UTC().Truncate(time.Second), st: st}
	if !d.Confirming || out.Failure.EndsLogin() {
		st.Flow = nil
	}
	switch {
	case out.Failure != nil:
		r.failed(d, out.Failure)
	case out.Pending != nil:
		r.pending(d, *out.Pending)
	case out.Issued != nil:
		r.issued(d, *out.Issued)
	case d.Action == ActionAdopt:
		r.issued(d, *newer(in))
	default:
		r.settled(d)
	}
	if st.Token == nil && st.Phase != v1.PhaseTerminated {
		st.User = nil
	}
	if a := st.Attempt; out.Failure == nil && a != nil && a.NotBefore != nil && now.Before(a.NotBefore.Time) && lifted(in) {
		a.NotBefore = nil
	}
	st.ObservedGeneration = in.Session.Generation
	st.Flow, st.History = outline(st, &in.Session.Spec)
	r.conditions()
	return *st
}

// reporter turns one outcome into a status.
type reporter struct {
	in Input
	// now is in whole seconds, as status is; exact is not.
	now, exact time.Time
	st         *v1.TerminalSessionStatus
	// why is the reason of the condition Ready; empty keeps the one that stands.
	why Problem
}

// issued: the Secret holds a token.
func (r *reporter) issued(d Decision, issued Issued) {
	st, s := r.st, r.in.Session
	renewals := int32(0)
	// Attempts that have failed since do not make a token another.
	sameToken := st.Token != nil && st.SessionID == issued.SessionID && st.Attempt != nil && issued.Attempt <= st.Attempt.Number
	if st.Token != nil && st.SessionID == issued.SessionID {
		renewals = st.Token.Renewals
		if !sameToken {
			renewals++
		}
	} else {
		r.over(cmp.Or(d.End, v1.ReasonSecretChanged))
		st.SessionID = issued.SessionID
		at := metav1.NewTime(issued.IssuedAt)
		st.EstablishedAt = &at
	}
	st.User = &v1.UserStatus{Email: limit(issued.UserEmail, 254), Subject: limit(issued.UserSubject, 256)}
	if *st.User == (v1.UserStatus{}) {
		st.User = nil
	}
	st.Token = &v1.TokenStatus{
		SecretName: issued.SecretName, SecretVersion: issued.SecretVersion,
		IssuedAt: metav1.NewTime(issued.IssuedAt), ExpiresAt: metav1.NewTime(issued.ExpiresAt),
		Renewals: renewals,
	}
	r.renewAt()
	r.bind(cmp.Or(issued.Request, RequestOf(s)))
	st.Binding.ProviderRef = issued.Tell.DeepCopy()
	st.Phase = phaseOf(&v1.TerminalSession{Status: *st}, r.now)
	st.Hold = nil
	r.handled(!sameToken || s.Spec.Type == v1.OneShot)
	if sameToken {
		// A move, or a touch of the Secret by somebody else: nothing was asked of the provider, so what it said last still stands.
		if st.Attempt.Failures == 0 || s.Spec.Type == v1.OneShot {
			st.Error = nil
			r.why = there(r.in, issued.SecretName, issued.ExpiresAt)
		}
		return
	}
	st.Error = nil
	st.Attempt = &v1.Attempt{Number: max(issued.Attempt, NextAttempt(s))}
	r.why = there(r.in, issued.SecretName, issued.ExpiresAt)
}

// failed: the provider gave no token.
func (r *reporter) failed(d Decision, f *Failure) {
	st, s := r.st, r.in.Session
	attempt := &v1.Attempt{Number: NextAttempt(s), Failures: 1, ProviderVersion: r.in.Provider.Version}
	if st.Attempt != nil {
		attempt.Failures = st.Attempt.Failures + 1
	}
	r.handled(true)
	r.why = failureProblem(f)
	st.Error = &v1.SessionError{Code: cmp.Or(limit(f.Code, 64), r.why.Reason), Message: r.why.Message}
	wait := backoff(s, attempt.Failures, f)
	// A hold that was there was lifted to come here.
	st.Hold = nil
	// One that has a token, or had it until now, is not refused a login.
	has := d.Action == ActionRenew || d.Action == ActionCheck

	switch {
	case f.Kind == FailureBanned:
		r.over(v1.ReasonBanned)
		st.Phase = v1.PhaseTerminated
		if email := userEmail(s); email != "" {
			st.User = &v1.UserStatus{Email: email}
		}
		st.Error.At = new(metav1.NewTime(r.now))
		wait = 0
	case has && f.Kind == FailureGrantDead && s.Spec.Relogin == v1.ReloginOnRequest:
		r.over(v1.ReasonGrantDead)
		r.hold(v1.HoldInvalidated)
		wait = 0
	case has && f.Kind == FailureGrantDead:
		// The first time a new login follows at once; when grants keep dying, the logins wait ever longer.
		attempt.Failures = r.recentlyDead()
		wait = 0
		if attempt.Failures > 0 {
			wait = backoff(s, attempt.Failures, f)
		}
		r.over(v1.ReasonGrantDead)
		st.Phase = v1.PhaseEstablishing
	case d.Action == ActionPoll && !f.EndsLogin():
		// The code is good until its time, whatever stands in the way of asking.
		attempt.Number = st.Attempt.Number
		st.Phase = v1.PhaseEstablishing
	case d.Action == ActionPoll && (f.Kind == FailureRejected || f.Kind == FailureGrantDead):
		r.why = Problem{v1.ReasonAborted, r.why.Message}
		r.over("")
		r.hold(v1.HoldAborted)
		wait = 0
	case has && f.Kind != FailureIdentity:
		st.Phase = phaseOf(s, r.now)
		if f.Kind == FailureRejected {
			r.why.Reason = v1.ReasonRenewalRejected
		}
	case f.Kind == FailureRejected, f.Kind == FailureGrantDead, f.Kind == FailureIdentity:
		r.over(cmp.Or(d.End, r.why.Reason))
		r.hold(v1.HoldRejected)
		wait = 0
	case f.Kind == FailureMisconfigured, f.Kind == FailureSecretRefused:
		r.over(d.End)
		st.Phase = v1.PhaseNotLoggedIn
	default:
		r.over(d.End)
		st.Phase = v1.PhaseEstablishing
	}
	if wait > 0 {
		at := metav1.NewTime(wholeSecond(r.exact.UTC().Add(wait)))
		attempt.NotBefore = &at
	}
	st.Attempt = attempt
}

// settled: nothing was asked of the provider.
func (r *reporter) settled(d Decision) {
	st := r.st
	r.why = d.Why
	if d.Phase != v1.PhaseEstablished && d.Phase != v1.PhaseTokenExpired && !d.Confirming {
		r.over(cmp.Or(d.End, string(d.Phase)))
	}
	st.Phase = d.Phase
	switch {
	case d.Hold == "":
		if st.Phase != v1.PhaseTerminated || r.in.Session.Spec.DesiredState == v1.LoggedOut {
			st.Hold = nil
		}
	case st.Hold == nil || st.Hold.Reason != d.Hold:
		r.hold(d.Hold)
		st.Error = nil // of a poll, which is over
	}
	if st.Token != nil {
		r.renewAt()
		r.bind(RequestOf(r.in.Session))
	}
	if d.Why.Reason == v1.ReasonLinkLost && d.Hold == "" {
		r.awaitTerminal()
	}
	if resting := st.Token != nil && (d.Why.Reason == v1.ReasonEstablished || d.Why.Reason == v1.ReasonSecretNameTaken); resting {
		// Confirmed as it is: what was asked for is so.
		r.handled(r.in.Session.Spec.Type == v1.OneShot)
		st.Error = nil
	}
	switch d.Why.Reason {
	case v1.ReasonLoggedOut, v1.ReasonSignedOut, v1.ReasonBanInForce: // each of them answers whatever was asked for
		r.handled(true)
		r.rested()
		st.Error = nil
	}
	if was := r.in.Session; d.Code != "" && was.Spec.DesiredState == v1.LoggedIn && was.Status.Phase == v1.PhaseTerminated && !underBan(was) && !another(was) {
		// The provider's own ban has to outlive ours, but for another user: whoever lifts ours does not ask for a login.
		r.hold(v1.HoldRejected)
		if e := was.Status.Error; e != nil {
			st.Hold.Message = limit(e.Code+": "+e.Message, 256)
		}
	}
	if l := r.in.Logout; l != nil && (d.Why.Reason == v1.ReasonSignedOut || d.Code != "") {
		r.hold(v1.HoldSignedOut) // anew, where another was there
		st.Hold.By, st.Hold.Message, st.LastLogoutUID = limit(l.By, 256), limit(l.says(), 256), l.UID
	}
	if st.Phase = d.Phase; d.Code != "" {
		r.terminated(d)
	}
	if was := r.in.Session.Status.Phase; was == v1.PhaseTerminated && st.Phase != was {
		st.Error = nil // it was the ban's
	}
}

// rested forgets the failures: whoever asks for a login next does not wait for what went wrong before.
func (r *reporter) rested() {
	if r.in.Discarded != nil {
		r.st.Attempt = &v1.Attempt{Number: NextAttempt(r.in.Session)}
	} else if a := r.st.Attempt; a != nil {
		r.st.Attempt = &v1.Attempt{Number: a.Number, ProviderVersion: a.ProviderVersion}
	}
}

// terminated: a ban is in force. Who it was for stays in status, where spec names nobody: the ban has to go on matching.
func (r *reporter) terminated(d Decision) {
	st, was := r.st, r.in.Session.Status.Error
	st.Error = &v1.SessionError{Code: d.Code, Message: limit(d.Why.Message, 256), At: new(metav1.NewTime(r.now))}
	if r.in.Session.Status.Phase == v1.PhaseTerminated && was != nil && was.At != nil {
		st.Error.At = was.At
	}
	switch discarded := r.in.Discarded; {
	case userEmail(r.in.Session) != "":
		st.User = &v1.UserStatus{Email: userEmail(r.in.Session)}
	case discarded != nil && discarded.UserEmail != "":
		st.User = &v1.UserStatus{Email: limit(discarded.UserEmail, 254)}
	}
}

// over closes the session that status describes, if it describes one.
func (r *reporter) over(end string) {
	st := r.st
	if st.SessionID != "" {
		ended := v1.RecentSession{SessionID: st.SessionID, From: st.EstablishedAt, To: metav1.NewTime(r.now), End: cmp.Or(limit(end, 64), "Ended")}
		if st.User != nil {
			ended.User = st.User.Email
		}
		if st.Binding != nil {
			ended.Purpose = st.Binding.Purpose
		}
		st.Recent = append([]v1.RecentSession{ended}, st.Recent...)
		st.Recent = st.Recent[:min(len(st.Recent), 3)]
	}
	st.SessionID, st.EstablishedAt, st.Token, st.Binding = "", nil, nil, nil
}

// hold makes the session wait until somebody asks for a login.
func (r *reporter) hold(reason v1.HoldReason) {
	r.st.Phase = v1.PhaseNotLoggedIn
	r.st.Hold = &v1.Hold{Reason: reason, At: metav1.NewTime(r.now), User: userEmail(r.in.Session), Message: limit(r.why.Message, 256)}
}

// handled closes the login request and, where said, the renewal request.
func (r *reporter) handled(renewal bool) {
	if value, open := loginRequest(r.in.Session); open {
		r.st.LastHandledLoginRequest = value
	}
	if value, open := renewRequest(r.in.Session); open && renewal {
		r.st.LastHandledRenewRequest = value
	}
}

// renewAt computes the renewal's time anew when there is a new token or the spec has changed.
func (r *reporter) renewAt() {
	t := r.st.Token
	if r.in.Session.Spec.Type == v1.OneShot {
		t.RenewAt = nil
		return
	}
	if t.RenewAt == nil || r.st.ObservedGeneration != r.in.Session.Generation {
		at := metav1.NewTime(RenewalTime(r.in.Session, t.IssuedAt.Time, t.ExpiresAt.Time))
		t.RenewAt = &at
	}
}

// recentlyDead counts the sessions whose grant has died within one token's lifetime.
func (r *reporter) recentlyDead() int32 {
	lifetime := 720 * time.Hour
	if t := r.in.Session.Status.Token; t != nil {
		lifetime = t.ExpiresAt.Sub(t.IssuedAt.Time)
	}
	var n int32
	for _, ended := range r.st.Recent {
		if ended.End == v1.ReasonGrantDead && r.now.Sub(ended.To.Time) < lifetime {
			n++
		}
	}
	return n
}

func failureProblem(f *Failure) Problem {
	reasons := map[FailureKind]string{
		FailureBusy:             v1.ReasonProviderBusy,
		FailureUnavailable:      v1.ReasonProviderUnavailable,
		FailureRejected:         v1.ReasonRejected,
		FailureGrantDead:        v1.ReasonGrantDead,
		FailureBanned:           v1.ReasonBanned,
		FailureAuthTokenMissing: v1.ReasonAuthTokenMissing,
		FailureMisconfigured:    v1.ReasonProviderMisconfigured,
		FailureIdentity:         v1.ReasonIdentityMismatch,
		FailureSecretRefused:    v1.ReasonSecretRefused,
	}
	reason, known := reasons[f.Kind]
	if !known {
		reason = v1.ReasonProviderUnavailable
	}
	message := limit(f.Message, 256)
	if message == "" {
		message = fmt.Sprintf("The provider answered %s.", f.Kind)
	}
	return Problem{reason, Sentence(message)}
}

// Sentence has a message, which is part of an error mostly, begin as a sentence does.
func Sentence(message string) string {
	if message != "" && message[0] >= 'a' && message[0] <= 'z' {
		return strings.ToUpper(message[:1]) + message[1:]
	}
	return message
}

// wholeSecond is the first whole second that is not before t.
func wholeSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); !whole.Equal(t) {
		return whole.Add(time.Second)
	}
	return t
}

// limit cuts what came from outside to n characters that can be shown.
func limit(text string, n int) string {
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) || c == utf8.RuneError {
			return ' '
		}
		return c
	}, text)
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n])
}
