package session_test

import (
	"testing"

	"terminals.dev/session-controller/internal/session"
)

func TestAnAttemptThatWasCalledOffIsCountedAndNotMadeAgain(t *testing.T) {
	t.Parallel()
	for name, given := range map[string][]func(*world){
		"a login":                        nil,
		"a renewal":                      {loggedIn, askForRenewal},
		"whether a person has confirmed": {shown, nextPoll},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			for _, do := range given {
				do(w)
			}
			in := w.observe()
			in.Discarded = &session.Discarded{}
			d := session.Decide(in, w.now)
			if d.Action != session.ActionCount {
				t.Fatalf("the action is %s", d.Action)
			}
			after := session.Report(in, d, session.Outcome{}, w.now)
			if want := session.NextAttempt(w.s); after.Attempt == nil || after.Attempt.Number != want || after.Phase != w.s.Status.Phase {
				t.Errorf("attempt %d is counted so: %s", want, show(after))
			}
		})
	}
}
