package processes

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "terminals.dev/session-controller/api/v1"
)

// wish is what the load has asked for last.
type wish string

const (
	wishGone   wish = "gone"
	wishIn     wish = "logged in"
	wishOut    wish = "logged out"
	wishHeld   wish = "signed out, and held"
	wishBanned wish = "banned"
)

// users are who can be logged in, by the name that the server knows them under.
var users = []string{"anna", "mallory"}

func email(user int) string { return users[user] + "@acme.example" }

// till is a session as the load has asked for it. One worker of the load has it, and nobody else while that works.
type till struct {
	name string
	// calm is one of which nothing but renewals is asked: it must never be logged in anew.
	calm bool
	wish wish
	user int
	// renew is the value of the annotation, and order the name of the ban or logout that there is.
	renew, order string
	// logins is how many logins what was asked for can have caused.
	logins int
	// left is whether it was left alone, renewals aside, since it was seen with a session ID.
	left bool
	seen string
	// steps are what was asked for.
	steps []string
}

// asked notes a step, which may come with a login.
func (t *till) asked(step int64, what string, logins int) {
	t.logins += logins
	t.left = t.left && what == "renewal"
	t.steps = append(t.steps, fmt.Sprintf("%d %s", step, what))
}

func (t *till) String() string {
	return fmt.Sprintf("%s, which was asked for [%s]", t.name, strings.Join(t.steps[max(0, len(t.steps)-8):], ", "))
}

// amiss is what is not as was asked for; a session that is not there is nil.
func (t *till) amiss(s *v1.TerminalSession) string {
	if s == nil {
		if t.wish != wishGone {
			return "it is not there"
		}
		return ""
	}
	st := &s.Status
	switch ready := meta.FindStatusCondition(st.Conditions, v1.ConditionReady); {
	case s.DeletionTimestamp != nil:
		return "it is being deleted"
	case t.wish == wishGone:
		return "it is there yet"
	case ready == nil || ready.Status != "True" || st.ObservedGeneration != s.Generation:
		return fmt.Sprintf("it is not ready: %+v", ready)
	case st.Phase != t.phase():
		return fmt.Sprintf("it is %s", st.Phase)
	case t.wish == wishHeld && (st.Hold == nil || st.Hold.Reason != v1.HoldSignedOut):
		return fmt.Sprintf("its hold is %+v", st.Hold)
	case t.wish == wishIn && (st.User == nil || st.User.Email != email(t.user)):
		return fmt.Sprintf("it is of %+v", st.User)
	case t.wish == wishIn && st.LastHandledRenewRequest != s.Annotations[v1.AnnotationRenewRequested]:
		return "a renewal is asked for yet"
	}
	return ""
}

// phase is where it is to end up.
func (t *till) phase() v1.Phase {
	switch t.wish {
	case wishIn:
		return v1.PhaseEstablished
	case wishBanned:
		return v1.PhaseTerminated
	}
	return v1.PhaseNotLoggedIn
}
