package session_test

import (
	"testing"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

func TestWhatALoginWasForIsRecorded(t *testing.T) {
	for _, purpose := range []v1.Purpose{v1.PurposeLogin, v1.PurposeRegistration, v1.PurposeAppLogin} {
		w := newWorld(func(s *v1.TerminalSession) { s.Spec.Purpose = purpose })
		w.rest(t)
		if got := w.s.Status.Binding.Purpose; got != purpose || w.s.Status.History != v1.HistoryLoggedIn {
			t.Errorf("%s is recorded as %s, with history %s", purpose, got, w.s.Status.History)
		}
		w.edit(func(s *v1.TerminalSessionSpec) { s.DesiredState = v1.LoggedOut })
		w.rest(t)
		if got := w.s.Status.Recent[0].Purpose; got != purpose || w.s.Status.History != v1.HistoryLoggedOut {
			t.Errorf("%s is remembered as %s, with history %s", purpose, got, w.s.Status.History)
		}
	}
}

func TestTheTextToShowIsThatOfTheMoment(t *testing.T) {
	w := newWorld(func(s *v1.TerminalSession) {
		s.Spec.Display = &v1.Display{Announce: "Confirm the login for till 7", Session: "Till 7, ground floor"}
	})
	shows := func(when, want string) {
		t.Helper()
		if got := w.s.Status.Flow.Display; got != want {
			t.Errorf("%s it shows %q, want %q", when, got, want)
		}
	}
	w.fails(session.FailureBusy)
	w.look()
	shows("before anybody has anything to confirm", "")
	healthy(w)
	backoffIsOver(w)
	personal(w)
	w.rest(t)
	shows("while a person confirms", "Confirm the login for till 7")
	pollFails(w)
	shows("while a person confirms, and the provider is busy", "Confirm the login for till 7")
	w.edit(func(s *v1.TerminalSessionSpec) { s.Display.Announce = "Confirm it for till 7" })
	w.rest(t)
	shows("while a person confirms, when spec gives another text", "Confirm it for till 7")
	confirms(w)
	w.rest(t)
	shows("while the session is in use", "Till 7, ground floor")
	w.edit(func(s *v1.TerminalSessionSpec) { s.DesiredState = v1.LoggedOut })
	w.rest(t)
	shows("afterwards", "")
}
