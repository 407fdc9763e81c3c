package session

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	v1 "terminals.dev/session-controller/api/v1"
)

// Ban is the ban in force for a session.
type Ban struct {
	// Kind and Name are the object's.
	Kind, Name string
	// Code is what the session's error says, and Reason why there is a ban.
	Code, Reason string
	// ExpiresAt is when it is over; zero for never.
	ExpiresAt time.Time
}

// Matches is whether everything that a match gives fits a session. A user is whom spec names; where it names nobody, who is logged in. So a
// ban never outlasts the person: once spec names another, the session is that one's.
func Matches(m *v1.BanMatch, s *v1.TerminalSession) bool {
	return (m.User == "" || sameEmail(m.User, personOf(s))) &&
		fitsDevice(m.TerminalID, m.SerialNumber, m.MerchantID, s)
}

func fitsDevice(terminalID, serialNumber, merchantID string, s *v1.TerminalSession) bool {
	fits := func(given, has string) bool { return given == "" || given == has }
	return fits(terminalID, s.Spec.Terminal.ID) && fits(serialNumber, s.Spec.Terminal.SerialNumber) && fits(merchantID, s.Spec.MerchantID)
}

// personOf is whose session it is: empty where nobody knows yet.
func personOf(s *v1.TerminalSession) string {
	if email := userEmail(s); email != "" || s.Status.User == nil {
		return email
	}
	return s.Status.User.Email
}

// KeyOf is what a ban is found by: the one thing that it gives which fits the fewest sessions.
func KeyOf(m *v1.BanMatch) string {
	return KeysOf(m.User, m.SerialNumber, m.TerminalID, m.MerchantID)[0]
}

// Keys are what the bans that may match a session are found by.
func Keys(s *v1.TerminalSession) []string {
	return KeysOf(personOf(s), s.Spec.Terminal.SerialNumber, s.Spec.Terminal.ID, s.Spec.MerchantID)
}

// KeysOf are the keys of what is given, that which fits the fewest sessions first; nothing for what is empty.
func KeysOf(user, serialNumber, terminalID, merchantID string) []string {
	var keys []string
	add := func(kind, value string) {
		if value != "" {
			keys = append(keys, kind+"/"+value)
		}
	}
	add("user", lower(user))
	add("serial", serialNumber)
	add("terminal", terminalID)
	add("merchant", merchantID)
	return keys
}

// InForce is the ban that a session is under, or nil: of several, cluster before namespace, older before younger, then by name. A
// namespace selector that is none selects nothing; the ban's own status tells of it.
func InForce(bans []v1.Ban, s *v1.TerminalSession, namespaceLabels map[string]string, now time.Time) *Ban {
	var first v1.Ban
	for _, b := range bans {
		if Expired(b, now) || !Matches(&b.BanSpec().Match, s) || !Selects(b, namespaceLabels) {
			continue
		}
		if first == nil || before(b, first) < 0 {
			first = b
		}
	}
	if first == nil {
		return nil
	}
	spec := first.BanSpec()
	ban := &Ban{Kind: banKind(first), Name: first.GetName(), Code: spec.Code, Reason: spec.Reason}
	for _, b := range bans { // the next that ends may change what is in force
		if at := b.BanSpec().ExpiresAt; at != nil && now.Before(at.Time) && (ban.ExpiresAt.IsZero() || at.Time.Before(ban.ExpiresAt)) {
			ban.ExpiresAt = at.Time
		}
	}
	return ban
}

// Expired is whether a ban is over.
func Expired(b v1.Ban, now time.Time) bool {
	at := b.BanSpec().ExpiresAt
	return at != nil && !now.Before(at.Time)
}

// Selects is whether a ban is for a namespace with such labels. One without a selector is for every namespace, or for its own.
func Selects(b v1.Ban, namespaceLabels map[string]string) bool {
	if b.Namespaces() == nil {
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(b.Namespaces())
	return err == nil && selector.Matches(labels.Set(namespaceLabels))
}

func before(a, b v1.Ban) int {
	return cmp.Or(
		cmp.Compare(min(len(a.GetNamespace()), 1), min(len(b.GetNamespace()), 1)),
		a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time),
		strings.Compare(a.GetName(), b.GetName()),
	)
}

func banKind(b v1.Ban) string {
	if b.GetNamespace() == "" {
		return "ClusterSessionBan"
	}
	return "SessionBan"
}

// says is what people are told of a ban.
func (b *Ban) says() string {
	text := fmt.Sprintf("%s %s is in force", b.Kind, b.Name)
	if b.Reason != "" {
		text += ": " + b.Reason
	}
	return strings.TrimRight(text, ".") + "."
}

// banned: while a ban is in force there is no session, and nobody is asked for one. What holds the session beside it stays.
func banned(in Input, _ time.Time) (Decision, bool) {
	if in.Ban == nil {
		return Decision{}, false
	}
	d := Decision{
		Action: ActionNone, Phase: v1.PhaseTerminated, End: v1.ReasonBanInForce, Code: in.Ban.Code,
		Why: Problem{v1.ReasonBanInForce, in.Ban.says()},
	}
	if mine(in) {
		d.Action = ActionEnd
	}
	return d, true
}

// Enforced is whether a ban that matches a session has done what it is for.
func Enforced(s *v1.TerminalSession) bool {
	return s.Status.Phase == v1.PhaseTerminated && s.Status.Token == nil
}

// underBan is whether status tells of a ban of ours, which may be over by now.
func underBan(s *v1.TerminalSession) bool {
	return s.Status.Phase == v1.PhaseTerminated && readyReason(s) == v1.ReasonBanInForce
}

// BanStatus is how a ban stands, with so many sessions that match and so many of them enforced.
func BanStatus(b v1.Ban, matched, enforced int, now time.Time) v1.SessionBanStatus {
	st := b.BanStatus().DeepCopy()
	st.ObservedGeneration = b.GetGeneration()
	is, why := metav1.ConditionTrue, Problem{}
	switch _, err := metav1.LabelSelectorAsSelector(b.Namespaces()); {
	case b.Namespaces() != nil && err != nil:
		is, why = metav1.ConditionFalse, Problem{v1.ReasonSelectorInvalid, fmt.Sprintf("spec.namespaceSelector is none, so nobody is banned: %v", err)}
		matched, enforced = 0, 0
	case Expired(b, now):
		is, why = metav1.ConditionFalse, Problem{
			v1.ReasonExpired, fmt.Sprintf("The ban was over at %s. Delete it, or set another spec.expiresAt.", b.BanSpec().ExpiresAt.UTC().Format(time.RFC3339)),
		}
		matched, enforced = 0, 0
	case matched == 0:
		why = Problem{v1.ReasonNothingMatched, "No session matches now. Whichever comes will be terminated."}
	case enforced < matched:
		is, why = metav1.ConditionFalse, Problem{v1.ReasonEnforcing, "Sessions that match are still to be terminated."}
	default:
		why = Problem{v1.ReasonEnforced, "Each session that matches is terminated."}
	}
	st.Matched, st.Enforced = counted(matched), counted(enforced)
	setCondition(&st.Conditions, v1.ConditionEnforced, is, why, b.GetGeneration(), now)
	working := is == metav1.ConditionFalse && why.Reason == v1.ReasonEnforcing
	broken := why.Reason == v1.ReasonSelectorInvalid
	setWhileTrue(&st.Conditions, v1.ConditionReconciling, working, why, b.GetGeneration(), now)
	setWhileTrue(&st.Conditions, v1.ConditionStalled, broken, why, b.GetGeneration(), now)
	slices.SortStableFunc(st.Conditions, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
	return *st
}
