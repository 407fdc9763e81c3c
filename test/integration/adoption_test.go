package integration_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/tokenstore"
)

// leave puts a token Secret of a session's where the controller would have, and returns the session ID in it.
func (h *harness) leave(s *v1.TerminalSession, name string, change func(*tokenstore.Issue)) string {
	h.t.Helper()
	now := h.clock.Now().Truncate(time.Second)
	issue := tokenstore.Issue{
		Attempt: 1, IssuedAt: now, ExpiresAt: now.Add(month), Email: "anna@acme.example", Subject: "anna",
	}
	change(&issue)
	if issue.SessionID == "" { // as the controller makes it
		issue.SessionID = uuid.NewSHA1(uuid.NewSHA1(uuid.NameSpaceURL, []byte(s.UID)), []byte(fmt.Sprint(issue.Attempt))).String()
	}
	store := tokenstore.Store{Live: h.api, Writer: h.api}
	absent := tokenstore.Found{State: tokenstore.Absent, Name: name}
	if _, err := store.Put(h.ctx, s, absent, "left-behind", issue); err != nil {
		h.t.Fatal(err)
	}
	return issue.SessionID
}

func TestATokenLeftByACrashIsAdopted(t *testing.T) {
	t.Parallel()
	nothing := func(*tokenstore.Issue) {}
	for name, test := range map[string]struct {
		session *v1.TerminalSession
		bring   func(h *harness)
		left    func(*tokenstore.Issue)
		is      string
		adopted bool
		calls   []string
	}{
		"of the first attempt": {
			session: session("till-1"),
			left:    nothing,
			is:      "Established: Ready (Established)", adopted: true,
		},
		"of an attempt after one that failed": {
			session: session("till-1"),
			bring: func(h *harness) {
				h.answers.say(unavailable)
				h.settle("till-1")
				h.answers.say(nil)
			},
			left: func(i *tokenstore.Issue) { i.Attempt = 2 },
			is:   "Established: Ready (Established)", adopted: true,
		},
		"of a login after the session before it": {
			session: session("till-1"),
			bring: func(h *harness) {
				h.reconcile("till-1")
				h.delete(h.secret("till-1-token"))
			},
			left: func(i *tokenstore.Issue) { i.Attempt = 2 },
			is:   "Established: Ready (Established)", adopted: true,
		},
		"that has expired meanwhile": {
			session: session("till-1"),
			bring:   func(*harness) {},
			left:    func(i *tokenstore.Issue) { i.ExpiresAt = i.IssuedAt },
			is:      "Established: Ready (Established)", adopted: true, calls: []string{"Renew"},
		},
		"of a OneShot session that has expired meanwhile": {
			session: session("till-1", oneShot),
			left:    func(i *tokenstore.Issue) { i.ExpiresAt = i.IssuedAt },
			is:      "NotLoggedIn, held Finished: Ready (Finished)",
		},
		"of a session that was logged out meanwhile": {
			session: session("till-1", loggedOut),
			left:    nothing,
			is:      "NotLoggedIn: Ready (LoggedOut)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.apply(test.session)
			if test.bring != nil {
				test.bring(h)
			}
			h.answers.taken()
			id := h.leave(h.get("till-1"), "till-1-token", test.left)

			h.settle("till-1")

			h.expect("till-1", test.is)
			h.expectCalls(test.calls...)
			s := h.get("till-1")
			if adopted := s.Status.SessionID == id; adopted != test.adopted {
				t.Errorf("the session is %s, and the token's was %s", s.Status.SessionID, id)
			}
			if s.Status.Token == nil {
				h.expectNo("till-1-token")
			}
			if test.adopted && (s.Status.User == nil || s.Status.User.Subject == "") {
				t.Errorf("the user is %v, want whom the token names", s.Status.User)
			}
		})
	}
}

func TestATokenThatNoCrashHasLeftIsNotAdopted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		bring func(h *harness) // and leave the Secret
		is    string
		calls []string
	}{
		"that of an earlier object of the name": {
			bring: func(h *harness) {
				s := h.get("till-1")
				s.UID = "7a1b8c1e-0000-4000-8000-000000000002"
				h.leave(s, "till-1-token", func(*tokenstore.Issue) {})
			},
			is:    "Established: Ready (Established)",
			calls: []string{"Login"},
		},
		"an earlier one of the session, restored by hand": {
			bring: func(h *harness) {
				h.reconcile("till-1")
				first := h.secret("till-1-token")
				h.untilRenewal("till-1")
				h.reconcile("till-1")
				h.answers.taken()
				h.restore(first)
			},
			is:    "Established: Ready (Established)",
			calls: []string{"Login"},
		},
		"one of a session that was logged out since, while it is": {
			bring: func(h *harness) {
				h.reconcile("till-1")
				last := h.secret("till-1-token")
				h.edit("till-1", to(loggedOut))
				h.settle("till-1")
				h.answers.taken()
				h.restore(last)
			},
			is: "NotLoggedIn: Ready (LoggedOut)",
		},
		"one of a session that was logged out since, and is wanted again": {
			bring: func(h *harness) {
				h.reconcile("till-1")
				last := h.secret("till-1-token")
				h.edit("till-1", to(loggedOut))
				h.settle("till-1")
				h.edit("till-1", func(s *v1.TerminalSession) { s.Spec.DesiredState = v1.LoggedIn })
				h.answers.taken()
				h.restore(last)
			},
			is:    "Established: Ready (Established)",
			calls: []string{"Login"},
		},
		"one of a session that is finished": {
			bring: func(h *harness) {
				h.edit("till-1", to(oneShot))
				h.reconcile("till-1")
				last := h.secret("till-1-token")
				h.step(month)
				h.settle("till-1")
				h.answers.taken()
				h.restore(last)
			},
			is: "NotLoggedIn, held Finished: Ready (Finished)",
		},
		"one of a user whom the provider has barred": {
			bring: func(h *harness) {
				h.reconcile("till-1")
				last := h.secret("till-1-token")
				h.untilRenewal("till-1")
				h.answers.say(banned)
				h.settle("till-1")
				h.answers.taken()
				h.restore(last)
			},
			is: "Terminated: Stalled (Banned)",
		},
		"one of another session": {
			bring: func(h *harness) {
				h.apply(session("till-2"))
				h.leave(h.get("till-2"), "till-1-token", func(*tokenstore.Issue) {})
			},
			is: "NotLoggedIn: Stalled (SecretNameTaken)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.apply(session("till-1"))
			test.bring(h)
			before := map[string]bool{}
			if left := h.secret("till-1-token"); left != nil {
				before[string(left.Data[tokenstore.KeySessionID])] = true
			}
			for _, ended := range h.get("till-1").Status.Recent {
				before[ended.SessionID] = true
			}

			h.settle("till-1")

			h.expect("till-1", test.is)
			h.expectCalls(test.calls...)
			if st := h.get("till-1").Status; before[st.SessionID] {
				t.Errorf("session %s goes on", st.SessionID)
			} else if st.Token == nil && test.is != "NotLoggedIn: Stalled (SecretNameTaken)" {
				h.expectNo("till-1-token")
			}
		})
	}
}

// restore puts a Secret back, as from a backup.
func (h *harness) restore(s *corev1.Secret) {
	h.t.Helper()
	if now := h.secret(s.Name); now != nil {
		h.delete(now)
	}
	s.ObjectMeta = metav1.ObjectMeta{Name: s.Name, Labels: s.Labels, Annotations: s.Annotations, OwnerReferences: s.OwnerReferences}
	h.apply(s)
}

func TestTheLastTokenRestoredByHandGoesOn(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	before := h.get("till-1").Status

	h.restore(h.secret("till-1-token"))
	h.settle("till-1")

	h.expect("till-1", "Established: Ready (Established)")
	h.expectCalls()
	if after := h.get("till-1").Status; after.SessionID != before.SessionID || after.Token.Renewals != 0 {
		t.Errorf("status is %+v", after)
	}
}
