package session

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

// Decision is what is to be done, and what the session is when that is done.
type Decision struct {
	// Action is the one thing to do.
	Action Action
	// Phase is where the session is when the action has done what it should.
	Phase v1.Phase
	// Hold is the hold that begins with it, if one does.
	Hold v1.HoldReason
	// Why is the reason and message of the condition Ready. Empty, the condition that stands in status goes on: the wait for the
	// next attempt changes nothing about why there is one.
	Why Problem
	// End says, where a session is over, why: a word for status.recent.
	End string
	// Code is the error code of a session under a ban.
	Code string
	// Silent is set where nothing is to be reported, since the object is going.
	Silent bool
	// Confirming is set where a login goes on waiting for a person.
	Confirming bool
}

// A rule looks at one thing and either decides or passes on.
type rule func(Input, time.Time) (Decision, bool)

// rules are asked in this order, and the first that decides has it.
var rules = [...]rule{
	ending,
	removable,
	banned,
	loggedOut,
	signedOut,
	terminated,
	held,
	handover,
	invalidated,
	adopt,
	finished, // before lost: at the second look its Secret is gone
	lost,
	move,
	renew,
	check,
	rest,
	confirming,
	leftover,
	unheard,
	nameTaken,
	providerProblem,
	backingOff,
	login,
}

// Decide says what is to be done about a session.
func Decide(in Input, now time.Time) Decision {
	for _, r := range rules {
		d, ok := r(in, now)
		if !ok {
			continue
		}
		if d.Action == ActionEnd && !d.Silent && newest(in) >= NextAttempt(in.Session) || d.Action.asks() && in.Discarded != nil {
			return Decision{Action: ActionCount, Phase: in.Session.Status.Phase}
		}
		return d
	}
	panic("session: the last rule decides always")
}

// asks is whether an action asks the provider for a token.
func (a Action) asks() bool { return a == ActionLogin || a == ActionPoll || a == ActionRenew }

// ending: what is being deleted takes its Secrets along and is told nothing more. In a namespace that is going nothing can be made.
func ending(in Input, _ time.Time) (Decision, bool) {
	if in.Session.DeletionTimestamp.IsZero() && !in.NamespaceEnding {
		return Decision{}, false
	}
	d := Decision{Action: ActionNone, Phase: v1.PhaseNotLoggedIn, Why: Problem{Reason: v1.ReasonTerminating}, Silent: true}
	switch {
	case mine(in):
		d.Action = ActionEnd
	case !in.Session.DeletionTimestamp.IsZero() && slices.Contains(in.Session.Finalizers, v1.Finalizer):
		d.Action = ActionRelease
	}
	return d, true
}

func loggedOut(in Input, _ time.Time) (Decision, bool) {
	if in.Session.Spec.DesiredState != v1.LoggedOut {
		return Decision{}, false
	}
	d := Decision{
		Action: ActionNone, Phase: v1.PhaseNotLoggedIn, End: v1.ReasonLoggedOut,
		Why: Problem{v1.ReasonLoggedOut, "There is no session, as desiredState asks."},
	}
	if mine(in) {
		d.Action = ActionEnd
	}
	return d, true
}

// terminated: the provider has barred the user or the device. Another user, or a login request, is worth another try.
func terminated(in Input, _ time.Time) (Decision, bool) {
	st := &in.Session.Status
	if st.Phase != v1.PhaseTerminated || underBan(in.Session) {
		return Decision{}, false
	}
	if _, open := loginRequest(in.Session); open {
		return Decision{}, false
	}
	barred := ""
	if st.User != nil {
		barred = st.User.Email
	}
	if userEmail(in.Session) != "" && !sameEmail(barred, userEmail(in.Session)) {
		return Decision{}, false
	}
	d := Decision{Action: ActionNone, Phase: v1.PhaseTerminated}
	if mine(in) {
		d.Action = ActionEnd
	}
	return d, true
}

// adopt: a token that came before a crash, or before a move was recorded, is as good as one that is asked for now; unless spec asks for
// another session by now.
func adopt(in Input, _ time.Time) (Decision, bool) {
	token := newer(in)
	if token == nil || !IdentityFits(in.Session, token.UserEmail) || token.Request != "" && token.Request != RequestOf(in.Session) {
		return Decision{}, false
	}
	return Decision{Action: ActionAdopt, Phase: v1.PhaseEstablished}, true
}

// newest is the last attempt that something came from which is in a Secret and status may not know of; zero where there is none.
func newest(in Input) (attempt int64) {
	for _, found := range []Secret{in.Secret, in.Target} {
		if found.State == SecretNewer {
			attempt = max(attempt, found.Issued.Attempt)
		}
	}
	return max(attempt, in.Grant.Attempt)
}

// newer is the token that status does not know yet, or nil.
func newer(in Input) *Issued {
	switch {
	case in.Target.State == SecretNewer:
		return &in.Target.Issued
	case in.Secret.State == SecretNewer:
		return &in.Secret.Issued
	}
	return nil
}

// held: a session that was signed out, finished or refused stays out until something lifts the hold.
func held(in Input, _ time.Time) (Decision, bool) {
	s := in.Session
	hold := s.Status.Hold
	if hold == nil || s.Status.Token != nil {
		return Decision{}, false
	}
	if _, open := loginRequest(s); open || !sameEmail(hold.User, userEmail(s)) {
		return Decision{}, false
	}
	if hold.Reason == v1.HoldRejected && s.Status.Attempt != nil && s.Status.Attempt.ProviderVersion != in.Provider.Version {
		return Decision{}, false
	}
	d := Decision{Action: ActionNone, Phase: v1.PhaseNotLoggedIn, Hold: hold.Reason}
	if underBan(s) {
		d.Why = Problem{string(hold.Reason), cmp.Or(hold.Message, "The session is held.")}
	}
	if mine(in) {
		d.Action = ActionEnd
	}
	return d, true
}

// lost: somebody deleted or altered the token Secret. With a refresh token the session goes on; without, it is over, and a Continuous
// one is logged in anew by the rules that follow.
func lost(in Input, now time.Time) (Decision, bool) {
	s := in.Session
	if s.Status.Token == nil || in.Secret.State == SecretCurrent {
		return Decision{}, false
	}
	if s.Spec.Type == v1.OneShot {
		return over(in, v1.HoldFinished, v1.ReasonSecretChanged, "The token Secret was deleted or altered, which ends a OneShot session."), true
	}
	if in.Secret.State != SecretTaken && in.Secret.Refreshable {
		return renewal(in, now, phaseOf(s, now)), true
	}
	d, ok := nameTaken(in, now)
	if !ok {
		d, ok = providerProblem(in, now)
	}
	if !ok {
		d = Decision{Action: ActionLogin, Phase: v1.PhaseEstablished}
		if mine(in) || waiting(in, now) {
			d = Decision{Action: ActionNone, Phase: v1.PhaseEstablishing, Why: Problem{
				v1.ReasonSecretChanged, "The token Secret was deleted or altered by somebody else: a new session is being established.",
			}}
		}
	}
	// What was altered goes first: it would outlast a login that fails.
	if mine(in) {
		d.Action = ActionEnd
	}
	d.End = v1.ReasonSecretChanged
	return d, true
}

// finished: a OneShot session is over at its expiry.
func finished(in Input, now time.Time) (Decision, bool) {
	s := in.Session
	if s.Status.Token == nil || s.Spec.Type != v1.OneShot || now.Before(s.Status.Token.ExpiresAt.Time) {
		return Decision{}, false
	}
	return over(in, v1.HoldFinished, "Finished", "The OneShot session is over: its token has expired."), true
}

func over(in Input, hold v1.HoldReason, end, message string) Decision {
	d := Decision{Action: ActionNone, Phase: v1.PhaseNotLoggedIn, Hold: hold, End: end, Why: Problem{string(hold), message}}
	if mine(in) {
		d.Action = ActionEnd
	}
	return d
}

func move(in Input, now time.Time) (Decision, bool) {
	s := in.Session
	if s.Status.Token == nil || s.Status.Token.SecretName == SecretName(s) || in.Target.State == SecretTaken {
		return Decision{}, false
	}
	return Decision{Action: ActionMove, Phase: phaseOf(s, now)}, true
}

func renew(in Input, now time.Time) (Decision, bool) {
	if in.Session.Status.Token == nil || !renewalDue(in.Session, now) {
		return Decision{}, false
	}
	return renewal(in, now, phaseOf(in.Session, now)), true
}

// renewalDue is whether a token is to be renewed: its time has come, somebody asks for it, or it was tried and has not succeeded yet.
func renewalDue(s *v1.TerminalSession, now time.Time) bool {
	if s.Spec.Type == v1.OneShot {
		return false
	}
	_, asked := renewRequest(s)
	tried := s.Status.Attempt != nil && s.Status.Attempt.Failures > 0
	return asked || tried || !now.Before(renewAt(s))
}

// renewal renews now, or waits for what stands in the way. A token that is there stays until its expiry, whatever that is.
func renewal(in Input, now time.Time, phase v1.Phase) Decision {
	if in.Provider.Problem.Reason != "" {
		return Decision{Action: ActionNone, Phase: phase, Why: in.Provider.Problem}
	}
	if waiting(in, now) {
		return Decision{Action: ActionNone, Phase: phase}
	}
	return Decision{Action: ActionRenew, Phase: v1.PhaseEstablished}
}

// rest: there is a token, and nothing to do about it before its time.
func rest(in Input, now time.Time) (Decision, bool) {
	s := in.Session
	if s.Status.Token == nil {
		return Decision{}, false
	}
	return Decision{Action: ActionNone, Phase: phaseOf(s, now), Why: there(in, s.Status.Token.SecretName, s.Status.Token.ExpiresAt.Time)}, true
}

// check: now and then the provider is asked whether it still honours the token, since nobody tells of a user who was signed out there.
func check(in Input, now time.Time) (Decision, bool) {
	d, ok := rest(in, now)
	if !ok || !in.CheckDue || in.Provider.Problem.Reason != "" || d.Phase != v1.PhaseEstablished {
		return Decision{}, false
	}
	d.Action = ActionCheck
	return d, true
}

// leftover: there is no session, so none of its own Secrets is to be left either.
func leftover(in Input, _ time.Time) (Decision, bool) {
	if !mine(in) {
		return Decision{}, false
	}
	return Decision{Action: ActionEnd, Phase: v1.PhaseEstablishing, Why: Problem{v1.ReasonEstablishing, "A login is under way."}}, true
}

func nameTaken(in Input, _ time.Time) (Decision, bool) {
	found := in.Secret
	if in.Session.Status.Token != nil && in.Session.Status.Token.SecretName != SecretName(in.Session) {
		found = in.Target
	}
	if found.State != SecretTaken {
		return Decision{}, false
	}
	return Decision{Action: ActionNone, Phase: v1.PhaseNotLoggedIn, Why: taken(SecretName(in.Session), found.Holder)}, true
}

func providerProblem(in Input, _ time.Time) (Decision, bool) {
	if in.Provider.Problem.Reason == "" {
		return Decision{}, false
	}
	return Decision{Action: ActionNone, Phase: v1.PhaseNotLoggedIn, Why: in.Provider.Problem}, true
}

func backingOff(in Input, now time.Time) (Decision, bool) {
	if !waiting(in, now) {
		return Decision{}, false
	}
	phase := v1.PhaseEstablishing
	if in.Session.Status.Phase == v1.PhaseNotLoggedIn {
		phase = v1.PhaseNotLoggedIn
	}
	return Decision{Action: ActionNone, Phase: phase}, true
}

func login(Input, time.Time) (Decision, bool) {
	return Decision{Action: ActionLogin, Phase: v1.PhaseEstablished}, true
}

// waiting is whether the last failure still asks to wait, and nothing has lifted that: the end of whatever else stood in the way does
// so too.
func waiting(in Input, now time.Time) bool {
	s := in.Session
	a := s.Status.Attempt
	if a == nil || a.NotBefore == nil || !now.Before(a.NotBefore.Time) {
		return false
	}
	return !lifted(in) && !slices.Contains(standing, readyReason(s))
}

// lifted is whether spec, the provider or the auth token has changed since the last failure, or somebody asks.
func lifted(in Input) bool {
	s := in.Session
	_, login := loginRequest(s)
	_, renewal := renewRequest(s)
	return login || renewal || s.Status.ObservedGeneration != s.Generation ||
		s.Status.Attempt != nil && s.Status.Attempt.ProviderVersion != in.Provider.Version
}

// phaseOf is the phase of a session that has a token.
func phaseOf(s *v1.TerminalSession, now time.Time) v1.Phase {
	if now.Before(s.Status.Token.ExpiresAt.Time) {
		return v1.PhaseEstablished
	}
	return v1.PhaseTokenExpired
}

// renewAt is when the token is to be renewed: as status says, unless spec has changed since.
func renewAt(s *v1.TerminalSession) time.Time {
	t := s.Status.Token
	if t.RenewAt != nil && s.Status.ObservedGeneration == s.Generation {
		return t.RenewAt.Time
	}
	return RenewalTime(s, t.IssuedAt.Time, t.ExpiresAt.Time)
}

// there is how a session stands whose token is there: well, but for a name that spec gives and that is not to be had.
func there(in Input, secretName string, expiresAt time.Time) Problem {
	if in.Target.State == SecretTaken {
		return taken(SecretName(in.Session), in.Target.Holder)
	}
	return established(secretName, expiresAt)
}

func established(secretName string, expiresAt time.Time) Problem {
	return Problem{
		Reason:  v1.ReasonEstablished,
		Message: fmt.Sprintf("The access token is in Secret %s and is valid until %s.", secretName, expiresAt.UTC().Format(time.RFC3339)),
	}
}

func taken(name, holder string) Problem {
	return Problem{
		Reason:  v1.ReasonSecretNameTaken,
		Message: fmt.Sprintf("Secret %s is %s: set spec.token.secretName to another name, or remove that Secret.", name, holder),
	}
}
