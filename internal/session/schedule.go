package session

import (
	"math"
	"slices"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

// The order of the work: bans and logouts, then renewals by nearness of expiry, then logins, then everything else. Priorities are
// compared within one queue; controller-runtime's own default is 0.
const (
	PriorityEnd = 100
	// PriorityReport is for what has ended and is still to be reported: after all the ends, and before everything else.
	PriorityReport = 95
	priorityNear   = 90
	priorityRenew  = 20
	PriorityLogin  = 10
	PriorityResync = -10
	// renewalStep is what a renewal gains each time that the time left to its token has halved: a year is 25 times a second doubled.
	renewalStep = (priorityNear - priorityRenew) / 25.0
)

// Priority says how urgent a session is. It looks at the object alone, so that it holds for events as for timers, and after a restart.
func Priority(s *v1.TerminalSession, now time.Time) int {
	t := s.Status.Token
	switch {
	case !s.DeletionTimestamp.IsZero(), s.Spec.DesiredState == v1.LoggedOut && t != nil:
		return PriorityEnd
	case s.Spec.DesiredState == v1.LoggedOut:
		return PriorityResync
	case t != nil && s.Spec.Type == v1.OneShot:
		if now.Before(t.ExpiresAt.Time) {
			return PriorityResync
		}
		return PriorityEnd
	case t != nil:
		return renewalPriority(s, now)
	case s.Status.Hold != nil || s.Status.Phase == v1.PhaseTerminated:
		if _, asked := loginRequest(s); !asked {
			return PriorityResync
		}
	}
	return PriorityLogin
}

// renewalPriority grows from priorityRenew to priorityNear as the token's expiry comes near, by the same step each time that the time
// left has halved: so seconds are told from minutes, and days from a month.
func renewalPriority(s *v1.TerminalSession, now time.Time) int {
	if !renewalDue(s, now) {
		return PriorityResync
	}
	left := max(s.Status.Token.ExpiresAt.Sub(now).Seconds(), 0)
	return max(priorityNear-int(renewalStep*math.Log2(1+left)), priorityRenew)
}

// soon is when to look again where one step follows another. Mostly the step before is heard of earlier, by what it changed.
const soon = time.Second

// WakeTime is when a session is to be looked at again if nothing happens before; zero when nothing is due.
func WakeTime(s *v1.TerminalSession, now time.Time) time.Time {
	if !s.DeletionTimestamp.IsZero() || s.Spec.DesiredState == v1.LoggedOut {
		return time.Time{}
	}
	var wake time.Time
	at := func(t time.Time) {
		if now.Before(t) && (wake.IsZero() || t.Before(wake)) {
			wake = t
		}
	}
	if a := s.Status.Attempt; a != nil && a.NotBefore != nil {
		at(a.NotBefore.Time)
	}
	if remove := removeAt(s); !remove.IsZero() {
		at(remove)
	}
	if Confirming(s) && s.Status.Flow.ExpiresAt != nil {
		at(s.Status.Flow.ExpiresAt.Time)
	}
	if t := s.Status.Token; t != nil {
		at(t.ExpiresAt.Time)
		if t.RenewAt != nil {
			at(t.RenewAt.Time)
		}
	}
	if unfinished(s, now) {
		at(now.Add(soon))
	}
	return wake
}

// unfinished is whether status tells that another step is due at once. It never does so of a session that waits for something else than
// the time.
func unfinished(s *v1.TerminalSession, now time.Time) bool {
	t := s.Status.Token
	if t != nil && s.Spec.Type == v1.OneShot && !now.Before(t.ExpiresAt.Time) {
		return true
	}
	if at := removeAt(s); !at.IsZero() && !now.Before(at) {
		return true
	}
	_, login := loginRequest(s)
	_, renewal := renewRequest(s)
	if a := s.Status.Attempt; a != nil && a.NotBefore != nil && now.Before(a.NotBefore.Time) && !login && !renewal {
		return false
	}
	if t == nil {
		waits := (readyReason(s) == v1.ReasonLinkLost || awaited(s, now)) && !login // for the terminal, or for a person
		return s.Status.Phase == v1.PhaseEstablishing && !waits || s.Status.Hold != nil && login
	}
	// What stands in the way of a move or of a renewal is the reason of Ready once it was found to do so.
	reason := readyReason(s)
	if t.SecretName != SecretName(s) && (reason == v1.ReasonEstablished || reason == v1.ReasonTokenExpired) {
		return true
	}
	return renewalDue(s, now) && (reason == v1.ReasonSecretNameTaken || !slices.Contains(standing, reason))
}
