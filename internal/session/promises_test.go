package session_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// The promises on logins that a person confirms, bans, sign-outs, handovers, invalidations and removals, told without the code that keeps them.

// named is whom spec names; empty for nobody.
func named(s *v1.TerminalSession) string {
	if s.Spec.User == nil {
		return ""
	}
	return s.Spec.User.Email
}

// held is whether a hold stands that nothing has lifted.
func held(s *v1.TerminalSession, providerVersion string) bool {
	st := &s.Status
	return st.Hold != nil && st.Token == nil && !open(s, v1.AnnotationLoginRequested, st.LastHandledLoginRequest) &&
		strings.EqualFold(named(s), st.Hold.User) &&
		(st.Hold.Reason != v1.HoldRejected || refusedBy(s) == providerVersion)
}

// refusedBy is the version of the provider that has refused a session last.
func refusedBy(s *v1.TerminalSession) string {
	if s.Status.Attempt == nil {
		return ""
	}
	return s.Status.Attempt.ProviderVersion
}

func waitsForTerminal(in *session.Input) bool {
	b := in.Session.Status.Binding
	return in.Session.Status.Token == nil && b != nil && b.SilentSince != nil && b.SilentSince.Time.Equal(in.LastActive)
}

// end is the word for what ends a session that is there, after the order of the design: what comes first has it. Empty is for what may go
// on, or ends by what the provider says or by what became of its Secret. What has come up since the provider was asked counts as well.
func end(st *step, now time.Time) string {
	s := st.seen.Session
	b, c, h := s.Status.Binding, s.Status.Client, s.Spec.Heartbeat
	differs := func(bound, told string) bool { return bound != "" && told != "" && bound != told }
	switch {
	case st.in.Ban != nil:
		return v1.ReasonBanInForce
	case s.Spec.DesiredState == v1.LoggedOut:
		return v1.ReasonLoggedOut
	case st.in.Logout != nil:
		return v1.ReasonSignedOut
	case s.Status.Token == nil:
		return ""
	case b.Request != session.RequestOf(s):
		return v1.ReasonHandedOver
	case c != nil && differs(b.PaymentAppVersion, c.PaymentAppVersion):
		return v1.ReasonPaymentAppUpdated
	case c != nil && differs(b.PaymentAppInstanceID, c.PaymentAppInstanceID):
		return v1.ReasonPaymentAppRestarted
	case c != nil && differs(b.InstanceID, c.InstanceID):
		return v1.ReasonClientRestarted
	case h != nil && st.seen.Silence >= h.Timeout.Duration:
		return v1.ReasonLinkLost
	case s.Spec.Type == v1.OneShot && !now.Before(s.Status.Token.ExpiresAt.Time) && st.decision.Action != session.ActionAdopt:
		return "Finished"
	}
	return ""
}

// ordered: what was observed together is taken in the order of the design, and each end says which it was.
func ordered(before *v1.TerminalSession, w *world, st *step) string {
	was, now, want := &before.Status, &st.after, end(st, w.now)
	if want == "" {
		return ""
	}
	got := readiness(now)
	switch {
	case was.SessionID != "" && (now.SessionID != "" || now.Recent[0].End != want):
		return fmt.Sprintf("the session is not ended by %s: %s", want, show(now.Recent))
	case w.owns():
		return "a Secret outlives " + want
	case st.call != "" && !st.discarded:
		return "the provider is asked in spite of " + want
	}
	follows := ""
	switch want {
	case v1.ReasonBanInForce:
		if now.Phase != v1.PhaseTerminated || got != "True BanInForce" || now.Error.Code != st.in.Ban.Code {
			return "a ban is in force, and it is " + state(now) + ", " + got + ", " + show(now.Error)
		}
		return ""
	case v1.ReasonLoggedOut:
		follows = "NotLoggedIn, True LoggedOut"
	case v1.ReasonSignedOut:
		follows = "NotLoggedIn, SignedOut, True SignedOut"
	case "Finished":
		follows = "NotLoggedIn, Finished, True Finished"
	case v1.ReasonHandedOver:
		follows = "Establishing, False Reconciling HandedOver"
	default:
		follows = "Establishing, False Reconciling " + want
		if before.Spec.Relogin == v1.ReloginOnRequest {
			follows = "NotLoggedIn, Invalidated, True " + want
		}
	}
	if is := state(now) + ", " + got; is != follows {
		return want + " is followed by " + is + ", and not by " + follows
	}
	if waits := now.Binding != nil && now.Binding.SilentSince != nil; waits != (follows == "Establishing, False Reconciling LinkLost") {
		return "silentSince does not fit " + follows
	}
	return ""
}

// taking: what a ban and a sign-out take, and what they leave.
func taking(before *v1.TerminalSession, w *world, st *step) string {
	was, now := &before.Status, &st.after
	answered := !open(before, v1.AnnotationLoginRequested, now.LastHandledLoginRequest) &&
		!open(before, v1.AnnotationRenewRequested, now.LastHandledRenewRequest)
	waits := now.Attempt != nil && (now.Attempt.Failures != 0 || now.Attempt.NotBefore != nil)
	switch want := end(st, w.now); {
	case want != v1.ReasonSignedOut && now.LastLogoutUID != was.LastLogoutUID && (want != v1.ReasonBanInForce || st.in.Logout == nil):
		return "a logout is recorded that has not signed it out"
	case (want == v1.ReasonBanInForce || want == v1.ReasonSignedOut) && (!answered || waits):
		return want + " leaves a request open, or a failure to wait for"
	case want == v1.ReasonBanInForce:
		switch loggedOut := before.Spec.DesiredState == v1.LoggedOut; {
		case loggedOut && now.Hold != nil:
			return "a hold outlives desiredState LoggedOut under a ban"
		case st.in.Logout != nil:
			if now.Hold == nil || now.Hold.Reason != v1.HoldSignedOut || now.LastLogoutUID != st.in.Logout.UID {
				return "who is signed out under a ban is let in when the ban is lifted"
			}
		case !loggedOut && was.Phase == v1.PhaseTerminated && readiness(was) != "True BanInForce" && (named(before) == "" || strings.EqualFold(named(before), was.User.Email)):
			if now.Hold == nil || now.Hold.Reason != v1.HoldRejected {
				return "the provider's ban is forgotten under one of ours"
			}
		case !loggedOut && show(now.Hold) != show(was.Hold):
			return "a ban changes the hold beside it"
		}
		forgotten := refusedBy(before) != refusedBy(&v1.TerminalSession{Status: *now})
		if h := was.Hold; h != nil && now.Hold != nil && h.Reason == v1.HoldRejected && forgotten && !st.discarded {
			return "a ban forgets which provider has refused the session, so that the hold beside it goes when the ban is lifted"
		}
		if email := named(before); email != "" && (now.User == nil || now.User.Email != email) {
			return "status does not tell who is banned"
		}
		if st.discarded && named(before) == "" && (now.User == nil || now.User.Email != st.in.Discarded.UserEmail) {
			return "who was logged in late is forgotten, so that the ban may not match any more"
		}
	case want == v1.ReasonSignedOut:
		by, at := w.logout.Spec.RequestedBy, w.now.Truncate(time.Second)
		if now.Hold.By != by || !now.Hold.At.Time.Equal(at) || now.LastLogoutUID != string(w.logout.UID) {
			return "the hold does not tell who signed it out and when"
		}
	}
	return ""
}

// leaving: a ban that is lifted or over leaves what spec and hold say.
func leaving(before *v1.TerminalSession, w *world, st *step) string {
	was, now := &before.Status, &st.after
	if readiness(was) != "True BanInForce" || st.in.Ban != nil || st.in.Logout != nil {
		return ""
	}
	switch {
	case now.Phase == v1.PhaseTerminated && st.outcome.Failure == nil:
		return "it stays Terminated though the ban is over"
	case now.Error != nil && st.outcome.Failure == nil:
		return "the ban's error stays"
	case before.Spec.DesiredState == v1.LoggedOut:
		return "" // as ending says
	case held(before, w.provider.Version):
		if now.Hold == nil || show(now.Hold) != show(was.Hold) || now.Phase != v1.PhaseNotLoggedIn {
			return "the hold that was beside the ban is gone"
		}
	}
	return ""
}

// removal is when an object goes by itself; zero for never.
func removal(s *v1.TerminalSession) time.Time {
	st, ttl := &s.Status, s.Spec.TTLSecondsAfterFinished
	if ttl == nil || s.Spec.DesiredState == v1.LoggedOut || open(s, v1.AnnotationLoginRequested, st.LastHandledLoginRequest) {
		return time.Time{}
	}
	after := time.Duration(*ttl) * time.Second
	switch {
	case st.Hold != nil && (st.Hold.Reason == v1.HoldSignedOut || st.Hold.Reason == v1.HoldFinished):
		return st.Hold.At.Add(after)
	case st.Phase == v1.PhaseTerminated:
		return st.Error.At.Add(after)
	}
	return time.Time{}
}

// removed: an object that goes by itself was finished, its time was over, and nobody wants anything of it any more.
func removed(before *v1.TerminalSession, w *world, st *step) string {
	was := &before.Status
	of := ""
	switch {
	case was.Hold != nil:
		of = was.Hold.User
	case was.User != nil:
		of = was.User.Email
	}
	switch at := removal(before); {
	case at.IsZero():
		return "an object is removed that is not finished, or of which more is wanted"
	case w.now.Before(at):
		return "an object is removed too early"
	case w.owns():
		return "an object is removed while there is a Secret of it"
	case st.call != "":
		return "the provider is asked for an object that is removed"
	case st.counted == 0 && !same(was, &st.after):
		return "status is written to what is removed"
	case st.seen.Ban == nil && named(before) != "" && !strings.EqualFold(of, named(before)):
		return "an object is removed though spec names another user, who is to be logged in"
	}
	return ""
}

// gone: what is being deleted, or in a namespace that is.
func gone(before *v1.TerminalSession, w *world, st *step) string {
	released := slices.Contains(before.Finalizers, v1.Finalizer) && !slices.Contains(w.s.Finalizers, v1.Finalizer)
	deleted := !before.DeletionTimestamp.IsZero()
	switch {
	case w.asked() > 0:
		return "the provider is asked for a session that is going"
	case w.owns():
		return "a Secret outlives its session"
	case w.removed:
		return "it is deleted once more"
	case !st.decision.Silent, !same(&before.Status, &st.after):
		return "status is written to what is going"
	case released && (!deleted || st.decision.Action != session.ActionRelease || st.seen.Secret.State == session.SecretCurrent):
		return "it is let go before nothing is left of it"
	case st.decision.Action == session.ActionNone && deleted && slices.Contains(w.s.Finalizers, v1.Finalizer):
		return "nothing is left of it, and it is not let go"
	case deleted && !session.WakeTime(w.s, w.now).IsZero():
		return "a session that is being deleted is looked at again"
	}
	return ""
}

// interaction is whether status tells of a login that waits for a person.
func interaction(st *v1.TerminalSessionStatus) bool {
	return st.Flow != nil && st.Flow.State == v1.FlowUserInteraction
}

// codeIn is the code that status shows, if it shows one.
func codeIn(st *v1.TerminalSessionStatus) string {
	if st.Flow == nil {
		return ""
	}
	return st.Flow.UserCode
}

// awaits is whether what to ask with after the login that status tells of is there, and nothing else.
func (w *world) awaits(st *v1.TerminalSessionStatus) bool {
	return interaction(st) && st.Attempt != nil && w.grant.Kind == session.GrantDeviceCode && w.grant.Attempt == st.Attempt.Number && !w.ownsToken()
}

// isAwaited is whether there is a login that a person may still confirm, and that is for what spec asks.
func isAwaited(before *v1.TerminalSession, w *world, st *step) bool {
	was, grant := &before.Status, st.seen.Grant
	return interaction(was) && w.now.Before(was.Flow.ExpiresAt.Time) && was.Binding.Request == session.RequestOf(before) &&
		grant.Kind == session.GrantDeviceCode && grant.Attempt == was.Attempt.Number && !owned(st.seen.Secret) && !owned(st.seen.Target)
}

func owned(s session.Secret) bool {
	return s.State == session.SecretNewer || s.State == session.SecretAltered || s.State == session.SecretCurrent
}

// unkept is whether a token could not be kept just now: what would have renewed it goes at the next look.
func unkept(st *step) bool {
	return st.outcome.Failure != nil && st.outcome.Failure.Kind == session.FailureSecretRefused
}

// leftGrant tells of a grant that is there at rest without what it is for. Of one that came from an attempt which status does not know of
// nobody knows, while there is a session, what it is for.
func leftGrant(w *world, st *v1.TerminalSessionStatus) string {
	switch g := w.grant; {
	case g.Kind == "":
	case st.Token == nil && !w.awaits(st):
		return "at rest, and a grant is left without its session or login"
	case st.Token != nil && !w.refreshable() && g.Attempt <= st.Attempt.Number:
		return "at rest, and a grant is left of another session"
	}
	return ""
}

// pacing: when the provider is asked of the controller's own accord.
func pacing(before *v1.TerminalSession, w *world, st *step) string {
	was, in := &before.Status, &st.seen
	requested := open(before, v1.AnnotationLoginRequested, was.LastHandledLoginRequest)
	renewal := open(before, v1.AnnotationRenewRequested, was.LastHandledRenewRequest)
	edited := was.ObservedGeneration != before.Generation
	switch a := was.Attempt; {
	case st.call == session.ActionPoll && !isAwaited(before, w, st):
		return "the provider is asked after a login that is not, or no longer, waited for"
	case st.call == session.ActionPoll && requested:
		return "the provider is asked after a login while another is asked for"
	case st.call == session.ActionPoll && w.now.Before(in.NextPoll):
		return "the provider is asked before it may be"
	case st.call == session.ActionPoll && a.NotBefore != nil && w.now.Before(a.NotBefore.Time) && !renewal && !edited &&
		a.ProviderVersion == in.Provider.Version && !strings.HasPrefix(readyOf(was), "Provider"):
		return "the provider is asked before backoff is over"
	case st.call == session.ActionCheck && (was.Token == nil || in.Secret.State != session.SecretCurrent || !w.now.Before(was.Token.ExpiresAt.Time)):
		return "the provider is asked whether it honours what is not there"
	case st.call == session.ActionCheck && !in.CheckDue:
		return "the provider is asked too soon whether it honours the token"
	case st.call == session.ActionCheck && before.Spec.Type == v1.Continuous && !edited &&
		(renewal || a.Failures > 0 || !w.now.Before(was.Token.RenewAt.Time)):
		return "the provider is asked whether it honours a token that is to be renewed"
	}
	return ""
}

func readyOf(st *v1.TerminalSessionStatus) string {
	fields := strings.Fields(readiness(st))
	return fields[len(fields)-1]
}

// waitsFor: a login that waits for a person shows what it has shown until it is confirmed or denied, its code is over, or something else
// comes.
func waitsFor(before *v1.TerminalSession, w *world, st *step) string {
	was, now := &before.Status, &st.after
	requested := open(before, v1.AnnotationLoginRequested, was.LastHandledLoginRequest)
	if shown := now.Flow; interaction(now) {
		switch {
		case now.Phase != v1.PhaseEstablishing || now.Token != nil || now.Hold != nil:
			return "a person is to act, and it is " + state(now)
		case shown.VerificationURI == "" || shown.ExpiresAt == nil || shown.UserCode != codeOf(now.Attempt.Number):
			return "a person is to act, and is not told where, with which code and until when"
		case !w.now.Before(shown.ExpiresAt.Time):
			return "a code is shown that is over"
		case !w.awaits(now):
			return "a code is shown, and there is nothing to ask after it with"
		case now.Binding == nil || now.Binding.Request != session.RequestOf(before):
			return "a code is shown for another session than spec asks for"
		}
	} else if codeIn(now) != "" || now.Flow.VerificationURI != "" || now.Flow.ExpiresAt != nil {
		return "a code is shown that nobody is to use"
	}
	if !interaction(was) || end(st, w.now) != "" || st.decision.Action == session.ActionAdopt {
		return ""
	}
	failed := st.outcome.Failure
	another := was.Binding.Request != session.RequestOf(before)
	switch {
	case requested || another:
		if interaction(now) && codeIn(now) == codeIn(was) {
			return "another login is asked for, and the code of before is shown"
		}
		if now.Hold != nil && failed == nil {
			return "another login is asked for, and it is " + state(now)
		}
	case !w.now.Before(was.Flow.ExpiresAt.Time):
		if state(now) != "NotLoggedIn, Aborted" || readiness(now) != "True Aborted" || st.call != "" {
			return "the code is over, and it is " + state(now) + ", " + readiness(now)
		}
	case !isAwaited(before, w, st):
		if interaction(now) && codeIn(now) == codeIn(was) {
			return "a code goes on being shown that is of no use"
		}
	case failed != nil && failed.EndsLogin():
		want := map[session.FailureKind]string{
			session.FailureRejected: "NotLoggedIn, Aborted", session.FailureGrantDead: "NotLoggedIn, Aborted",
			session.FailureIdentity: "NotLoggedIn, Rejected", session.FailureBanned: "Terminated", session.FailureSecretRefused: "NotLoggedIn",
		}[failed.Kind]
		if state(now) != want {
			return string(failed.Kind) + " is followed by " + state(now)
		}
	case st.outcome.Issued != nil:
		if now.SessionID != sessionName(was.Attempt.Number) {
			return "what was confirmed is session " + now.SessionID
		}
	case !interaction(now) || codeIn(now) != codeIn(was) || !now.Flow.ExpiresAt.Equal(was.Flow.ExpiresAt):
		return "a login that a person may still confirm is given up"
	case failed != nil && (now.Error == nil || readyOf(now) == v1.ReasonUserInteraction || now.Attempt.Failures != was.Attempt.Failures+1):
		return "that the provider could not be asked is not told"
	case st.call == "" && was.Attempt.Failures > 0 && w.provider.Problem.Reason == "" && st.seen.Secret.State == session.SecretAbsent &&
		strings.HasPrefix(readyOf(was), "Provider") && readyOf(was) != v1.ReasonProviderNotReady && readyOf(now) != readyOf(was):
		return "what the last poll failed with is forgotten before the next"
	case st.outcome.Pending != nil && (readyOf(now) != v1.ReasonUserInteraction || now.Error != nil || now.Attempt.Failures != 0):
		return "nobody has confirmed it yet, and it says otherwise"
	}
	return ""
}

// checked: what comes of the question whether the provider still honours a token.
func checked(before *v1.TerminalSession, _ *world, st *step) string {
	now, failed := &st.after, st.outcome.Failure
	if st.call != session.ActionCheck {
		return ""
	}
	want := "Establishing"
	switch {
	case failed == nil:
		if now.SessionID != before.Status.SessionID {
			return "a token that is honoured costs the session"
		}
		return ""
	case failed.Kind == session.FailureBanned:
		want = "Terminated"
	case before.Spec.Relogin == v1.ReloginOnRequest:
		want = "NotLoggedIn, Invalidated"
	}
	if state(now) != want || now.SessionID != "" {
		return "a token that is not honoured leaves it " + state(now)
	}
	return ""
}
