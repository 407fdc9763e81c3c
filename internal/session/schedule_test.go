package session_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

// Who goes first: bans and logouts, then renewals by nearness of expiry, then logins, then everything else.
func TestWhoGoesFirst(t *testing.T) {
	expiresIn := func(left time.Duration) func(*world) {
		return func(w *world) {
			loggedIn(w)
			token := w.s.Status.Token
			token.ExpiresAt, token.RenewAt = metav1.NewTime(w.now.Add(left)), &metav1.Time{Time: w.now.Add(-time.Minute)}
		}
	}
	order := []struct {
		name  string
		given []func(*world)
	}{
		{"a deletion", []func(*world){loggedIn, deleteSession}},
		{"a token that is over", []func(*world){tokenExpired}},
		{"a renewal with 10 seconds left", []func(*world){expiresIn(10 * time.Second)}},
		{"a renewal with a minute left", []func(*world){expiresIn(time.Minute)}},
		{"a renewal with 15 minutes left", []func(*world){expiresIn(15 * time.Minute)}},
		{"a renewal with a day left", []func(*world){expiresIn(24 * time.Hour)}},
		{"a renewal with 10 days left", []func(*world){expiresIn(240 * time.Hour)}},
		{"a renewal that was asked for, with a month left", []func(*world){loggedIn, askForRenewal}},
		{"a login", nil},
		{"a session at rest", []func(*world){loggedIn}},
	}
	last := 1 << 30
	for _, one := range order {
		w := newWorld()
		for _, given := range one.given {
			given(w)
		}
		got := session.Priority(w.s, w.now)
		if got >= last {
			t.Errorf("%s has priority %d, and what goes before it has %d", one.name, got, last)
		}
		last = got
	}
}

func TestPriority(t *testing.T) {
	for _, row := range []struct {
		name  string
		given []func(*world)
		want  int
	}{
		{"a logout", []func(*world){loggedIn, wantLoggedOut}, session.PriorityEnd},
		{"a OneShot session whose token is over", []func(*world){oneShot, loggedIn, expired}, session.PriorityEnd},
		{"a login", nil, session.PriorityLogin},
		{"a login that is being tried", []func(*world){busy}, session.PriorityLogin},
		{"a login that a person is to confirm", []func(*world){shown}, session.PriorityLogin},
		{"a login request for a held session", []func(*world){refused, askForLogin}, session.PriorityLogin},
		{"a login request for a banned session", []func(*world){barred, askForLogin}, session.PriorityLogin},
		{"a session that is logged out", []func(*world){wantLoggedOut, loggedIn}, session.PriorityResync},
		{"a OneShot session at rest", []func(*world){oneShot, loggedIn}, session.PriorityResync},
		{"a OneShot session of which a renewal is asked", []func(*world){oneShot, loggedIn, askForRenewal}, session.PriorityResync},
		{"a held session", []func(*world){refused}, session.PriorityResync},
		{"a banned session", []func(*world){barred}, session.PriorityResync},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld()
			for _, given := range row.given {
				given(w)
			}
			if got := session.Priority(w.s, w.now); got != row.want {
				t.Errorf("it is %d, want %d", got, row.want)
			}
		})
	}
}

func TestARenewalOfAnyTokenGoesBeforeLoginsAndAfterEnds(t *testing.T) {
	w := newWorld()
	loggedIn(w)
	w.s.Status.Token.RenewAt = &w.s.Status.Token.IssuedAt
	for _, left := range []time.Duration{-1000 * time.Hour, -1, 0, 1, time.Second, time.Hour, 8760 * time.Hour, 100 * 8760 * time.Hour} {
		w.s.Status.Token.ExpiresAt = metav1.NewTime(w.now.Add(left))
		if got := session.Priority(w.s, w.now); got <= session.PriorityLogin || got >= session.PriorityEnd {
			t.Errorf("with %s left it is %d", left, got)
		}
	}
}

func TestWakeTime(t *testing.T) {
	renewAt := func(w *world) time.Time { return w.s.Status.Token.RenewAt.Time }
	expiresAt := func(w *world) time.Time { return w.s.Status.Token.ExpiresAt.Time }
	notBefore := func(w *world) time.Time { return w.s.Status.Attempt.NotBefore.Time }
	never := func(*world) time.Time { return time.Time{} }
	endOfCode := func(*world) time.Time { return start.Add(codeLife) }
	for _, row := range []struct {
		name  string
		given []func(*world)
		want  func(*world) time.Time
	}{
		{"an established session: its renewal", []func(*world){loggedIn}, renewAt},
		{"a OneShot session: its expiry", []func(*world){oneShot, loggedIn}, expiresAt},
		{"a renewal that failed: the next attempt", []func(*world){loggedIn, renewalDue, busy}, notBefore},
		{"a renewal that failed early: the next attempt, not the renewal's time", []func(*world){loggedIn, askForRenewal, busy}, notBefore},
		{"a renewal that waits beyond the expiry: the expiry", []func(*world){func(w *world) { w.lifetime = time.Minute }, loggedIn, renewalDue, failing(session.FailureAuthTokenMissing), loggedIn}, expiresAt},
		{"a login that failed: the next attempt", []func(*world){busy}, notBefore},
		{"a login that a person is to confirm: the end of its code", []func(*world){shown}, endOfCode},
		{"a poll that failed: the next attempt", []func(*world){shown, pollFails}, notBefore},
		{"a poll that waits beyond the end of its code: that end", []func(*world){shown, func(w *world) { w.now = start.Add(codeLife - time.Minute) }, failing(session.FailureAuthTokenMissing), loggedIn}, endOfCode},
		{"a login that nobody has confirmed in time: soon", []func(*world){shown, codeIsOver}, func(w *world) time.Time { return w.now.Add(time.Second) }},
		{"a login that a person is to confirm, and another is asked for: soon", []func(*world){shown, askForLogin}, func(w *world) time.Time { return w.now.Add(time.Second) }},
		{"a login that nobody has confirmed, and that is over: never", []func(*world){shown, codeIsOver, loggedIn}, never},
		{"a logged-out session: never", []func(*world){loggedIn, wantLoggedOut, loggedIn}, never},
		{"a session that is to be logged out: never, it is done at once", []func(*world){busy, wantLoggedOut}, never},
		{"a held session: never", []func(*world){refused}, never},
		{"a banned session: never", []func(*world){barred}, never},
		{"a session without a provider: never", []func(*world){stalling(v1.ReasonProviderNotFound), loggedIn}, never},
		{"a session whose Secret's name is taken: never", []func(*world){takeName, loggedIn}, never},
		{"a session that is being deleted: never", []func(*world){loggedIn, deleteSession}, never},
		{"a grant that has just died: the login, soon", []func(*world){loggedIn, grantDies}, func(w *world) time.Time { return w.now.Add(time.Second) }},
		{"a token that was adopted when its renewal was due: the renewal, soon", []func(*world){crashed, func(w *world) { w.now = w.now.Add(600 * time.Hour) }, loggedIn}, func(w *world) time.Time { return w.now.Add(time.Second) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld()
			for _, given := range row.given {
				given(w)
			}
			if got, want := session.WakeTime(w.s, w.now), row.want(w); !got.Equal(want) {
				t.Errorf("it is %v, want %v", got, want)
			}
		})
	}
}

// Between now and the time that status names nothing is to be done, and then there is: sessions that live through anything that may
// happen to them are looked at as often as needed and no oftener.
func TestWhateverHappensNothingIsMissed(t *testing.T) {
	r := seeded()
	asks := 0
	request := func(annotation string) func(*world) {
		return func(w *world) { asks++; w.request(annotation, fmt.Sprint(asks)) }
	}
	own := func(change func(*secret)) func(*world) {
		return func(w *world) {
			for i := range w.secrets {
				if s := &w.secrets[i]; s.name != "" && !s.foreign {
					w.touch(s.name)
					change(s)
				}
			}
		}
	}
	edit := func(change func(*v1.TerminalSessionSpec)) func(*world) { return func(w *world) { w.edit(change) } }
	signOut := func(w *world) {
		asks++
		w.logout = everybodyOut.DeepCopy()
		w.logout.UID, w.logout.Status.StartedAt = types.UID(fmt.Sprint("logout-", asks)), new(metav1.NewTime(w.now.Truncate(time.Second)))
	}
	events := []func(*world){
		request(v1.AnnotationLoginRequested), request(v1.AnnotationRenewRequested), request(v1.AnnotationLoginRequested),
		own(func(s *secret) { *s = secret{} }), own(func(s *secret) { s.altered = true }), own(func(*secret) {}),
		wantLoggedOut, wantLoggedIn, wantLoggedIn, wantLoggedIn,
		edit(func(s *v1.TerminalSessionSpec) { s.Type = v1.OneShot }), edit(func(s *v1.TerminalSessionSpec) { s.Type = v1.Continuous }),
		edit(func(s *v1.TerminalSessionSpec) { s.Relogin = v1.ReloginOnRequest }), edit(func(s *v1.TerminalSessionSpec) { s.Relogin = v1.ReloginAutomatic }),
		edit(func(s *v1.TerminalSessionSpec) { s.Token.SecretName = another }), edit(func(s *v1.TerminalSessionSpec) { s.Token.SecretName = "" }),
		edit(renewBefore(300 * time.Hour)), edit(renewBefore(time.Hour)),
		changeUser, edit(func(s *v1.TerminalSessionSpec) { s.User = &v1.User{Email: anna} }),
		func(w *world) { w.provider.Version = fmt.Sprint("provider-", r.IntN(3)) },
		stalling(v1.ReasonProviderNotReady), func(w *world) { w.provider = session.Provider{Version: provider} }, func(w *world) { w.provider = session.Provider{Version: provider} },
		func(w *world) { w.refreshes = !w.refreshes },
		ban(terminalBan), ban(userBan), unban, unban, unban, signOut, late(ban(terminalBan)), late(signOut),
		reports(told), tells(func(c *v1.ClientStatus) { c.InstanceID = "app-2" }), tells(func(c *v1.ClientStatus) { c.PaymentAppVersion = "5" }),
		func(w *world) { w.person = !w.person }, personal, func(w *world) { w.confirmed = !w.confirmed }, noGrant, checkIsDue,
		func(w *world) {
			if w.restart(); interaction(&w.s.Status) {
				codeIsOver(w) // while nobody was there to look
			}
		},
		func(w *world) { w.lifetime = []time.Duration{time.Minute, time.Hour, month}[r.IntN(3)] },
	}
	looks, waited := 0, 0
	for life := range 400 {
		w := newWorld(func(s *v1.TerminalSession) { s.UID = withUID(uid(r)).UID })
		var story []string
		look := func(why string) bool {
			before, wake := w.s, w.wake()
			st := w.look()
			looks++
			waited += count(interaction(&st.after))
			story = append(story, fmt.Sprintf("%v %s: %s %s, %s", w.now.Format(time.DateTime), why, st.decision.Action, state(&st.after), readiness(&st.after)))
			w.email = w.s.Spec.User.Email
			if problem := broken(before, w, &st, false); problem != "" {
				t.Fatalf("life %d: %s\n%s\n%s", life, problem, show(story[max(0, len(story)-12):]), show(w.s.Status))
			}
			moved := st.decision.Action != session.ActionNone || !same(&before.Status, &st.after)
			if why == "nothing" && moved {
				t.Fatalf("life %d: something is to be done before %v\n%s\n%s", life, wake, show(story[max(0, len(story)-12):]), show(before.Status))
			}
			return moved
		}
		for range 60 {
			w.answer = answers[r.IntN(len(answers))]
			if r.IntN(2) == 0 {
				w.answer = nil
			}
			w.logins, w.renewals, w.polls, w.checks = 0, 0, 0, 0
			n := r.IntN(len(events))
			w.late = nil
			if w.logout != nil && !session.SignsOut(w.logout, w.s) {
				w.logout = nil // it is complete
			}
			events[n](w)
			w.email = w.s.Spec.User.Email
			for i := 0; look(fmt.Sprint("event ", n)); i++ {
				if i > 6 {
					t.Fatalf("life %d does not come to rest\n%s", life, show(story[len(story)-12:]))
				}
			}
			// Time goes on: to when status says, and at least once to some moment before that.
			for range r.IntN(4) {
				wake := w.wake()
				room := 1000 * time.Hour
				if !wake.IsZero() {
					room = wake.Sub(w.now)
				}
				w.now = w.now.Add(time.Duration(r.Int64N(int64(room))))
				look("nothing")
				if !wake.IsZero() {
					w.now = wake
					w.logins, w.renewals, w.polls, w.checks = 0, 0, 0, 0
					for i := 0; look("wake"); i++ {
						if i > 6 {
							t.Fatalf("life %d does not come to rest\n%s", life, show(story[len(story)-12:]))
						}
					}
				}
			}
		}
	}
	if waited < looks/100 {
		t.Errorf("a person was waited for at %d of %d looks alone", waited, looks)
	}
	t.Logf("%d looks at 400 sessions, of which %d while a person was waited for", looks, waited)
}
