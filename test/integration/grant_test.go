package integration_test

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// secretsOf is everything secret that is in the Secrets of the test's namespace.
func (h *harness) secretsOf() []string {
	h.t.Helper()
	list := &corev1.SecretList{}
	if err := h.api.List(h.ctx, list, client.InNamespace(h.namespace)); err != nil {
		h.t.Fatal(err)
	}
	var all []string
	for _, s := range list.Items {
		for _, value := range s.Data {
			all = append(all, string(value))
		}
	}
	return all
}

func newRefreshing(t *testing.T) (*harness, *strict) {
	t.Helper()
	h := newHarness(t)
	s := newServing(h)
	s.refreshes = true
	h.loggedIn(session("till-1"))
	return h, s
}

func TestARefreshTokenIsKeptApartFromTheAccessToken(t *testing.T) {
	t.Parallel()
	h, s := newRefreshing(t)
	for _, value := range h.secret("till-1-token").Data {
		if string(value) == s.last().refresh {
			t.Error("the refresh token is in the Secret that workloads read")
		}
	}
	grant := h.secret("till-1-grant")
	if grant == nil || string(grant.Data["refreshToken"]) != s.last().refresh || grant.Type != "terminals.dev/grant" {
		t.Fatalf("the grant is %v", grant)
	}
	h.expectLive(s)
}

func TestARenewalTakesTwoWritesAndOneMoreWhereTheRefreshTokenIsReplaced(t *testing.T) {
	t.Parallel()
	h, s := newRefreshing(t)
	h.untilRenewal("till-1")
	h.settle("till-1")
	h.expectWrites("patch Secret till-1-grant", "patch Secret till-1-token", "patch TerminalSession/status till-1")
	if got := string(h.secret("till-1-grant").Data["refreshToken"]); got != s.last().refresh {
		t.Errorf("the grant has %s, want %s", got, s.last().refresh)
	}
	h.expectLive(s)
}

func TestAnEndPutsBothTokensAsideTogether(t *testing.T) {
	t.Parallel()
	for _, test := range ends {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, s := newRefreshing(t)
			test.end(h)
			h.settle("till-1")
			if h.secret("till-1-token") != nil || h.secret("till-1-grant") != nil {
				t.Error("a Secret of the session is left")
			}
			h.expectAside(s.last().tokens[0])
			h.expectLive(s)
		})
	}
}

func TestASecretThatSomebodyDeletedIsMadeAnewWithTheRefreshToken(t *testing.T) {
	t.Parallel()
	h, s := newRefreshing(t)
	id := h.get("till-1").Status.SessionID
	h.delete(h.secret("till-1-token"))
	s.taken()
	h.settle("till-1")
	h.expect("till-1", established)
	if got := h.get("till-1").Status.SessionID; got != id {
		t.Errorf("the session is %s, want still %s", got, id)
	}
	if calls := s.taken(); !slices.Equal(calls, []string{"Renew"}) {
		t.Errorf("it asks %v", calls)
	}
}

func TestAGrantThatSomebodyDeletedIsMissedAtTheRenewalAlone(t *testing.T) {
	t.Parallel()
	h, s := newConfirming(t)
	s.last().approved = true
	h.polled("till-1")
	h.delete(h.secret("till-1-grant"))
	h.wire.taken()
	h.settle("till-1")
	h.expectWrites()
	h.untilRenewal("till-1")
	h.settle("till-1")
	h.expect("till-1", confirming)
	h.expectLive(s, 1) // the refresh token went with its Secret, and ends with the access token when that is revoked
}

// killAtCall makes the controller end at a provider's call, as by kill -9.
func (s *strict) killAtCall(n int, after bool) {
	made := 0
	s.seam = func(do func()) {
		if made++; made < n {
			do()
			return
		}
		if made == n && after {
			do()
		}
		panic(killed{})
	}
}

// dies does something with a controller that may be killed by what was set up, and tells whether it was.
func dies(do func()) (died bool) {
	defer func() {
		if why := recover(); why == (killed{}) {
			died = true
		} else if why != nil {
			panic(why)
		}
	}()
	do()
	return false
}

// journeys are what sessions with grants go through.
var journeys = []struct {
	name     string
	confirms bool
	// bring gets a session to where the change is due.
	bring func(*harness, *strict)
	is    string
}{
	{name: "a login", bring: func(h *harness, _ *strict) { h.apply(session("till-1")) }, is: established},
	{name: "a renewal", bring: func(h *harness, _ *strict) { h.loggedIn(session("till-1")); h.untilRenewal("till-1") }, is: established},
	{
		name: "a logout", is: "NotLoggedIn: Ready (LoggedOut)",
		bring: func(h *harness, _ *strict) { h.loggedIn(session("till-1")); h.edit("till-1", to(loggedOut)) },
	},
	{
		name: "the start of a login that a person confirms", confirms: true, is: confirming,
		bring: func(h *harness, _ *strict) { h.apply(session("till-1")) },
	},
	{
		name: "the end of a login that a person confirms", confirms: true,
		bring: func(h *harness, s *strict) {
			h.apply(session("till-1"))
			h.settle("till-1")
			s.last().approved = true
			h.step(5 * time.Second)
		},
	},
}

func TestAControllerThatIsKilledLosesNoGrant(t *testing.T) {
	t.Parallel()
	for _, j := range journeys {
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			for _, around := range []string{"a call", "a write"} {
				for n := 1; ; n++ {
					if !survives(t, j.confirms, j.bring, j.is, around, n, false) {
						break
					}
					survives(t, j.confirms, j.bring, j.is, around, n, true)
				}
			}
		})
	}
}

// survives kills the controller at one moment of a journey, and tells whether that moment came.
func survives(t *testing.T, confirms bool, bring func(*harness, *strict), is, around string, n int, after bool) bool {
	t.Helper()
	h := newHarness(t)
	s := newServing(h)
	s.refreshes, s.confirms = true, confirms
	bring(h, s)
	if around == "a call" {
		s.killAtCall(n, after)
	} else {
		h.wire.killAt(moment{n, after})
	}
	died := dies(func() { h.settle("till-1") })
	s.seam, h.wire.seam = nil, nil
	if !died {
		return false
	}
	h.restart()
	h.askOf(s)
	h.step(time.Second)
	h.settle("till-1")
	h.step(5 * time.Second) // the controller does not know how long ago it asked, and lets an interval pass
	h.settle("till-1")
	now := summary(h.get("till-1"))
	if is != "" && now != is || is == "" && now != established && now != confirming && now != "NotLoggedIn, held Aborted: Ready (Aborted)" {
		t.Errorf("killed around %s %d (after: %t) it comes to be %s, want %s", around, n, after, now, is)
	}
	h.expectLive(s, 2) // a token and its refresh token
	h.wire.taken()
	h.settle("till-1")
	h.expectWrites()
	return true
}

func TestAReplicaWhoseCacheIsBehindLogsInNobodyTwiceAndLosesNoGrant(t *testing.T) {
	t.Parallel()
	for _, j := range journeys {
		for behind, kinds := range map[string][]string{
			"sessions":             {"TerminalSession"},
			"Secrets":              {"Secret"},
			"sessions and Secrets": {"TerminalSession", "Secret"},
		} {
			t.Run(j.name+", behind with "+behind, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				s := newServing(h)
				s.refreshes, s.confirms, s.untold = true, j.confirms, true // so that no finalizer gives it away
				j.bring(h, s)
				old := h.frozen()
				h.settle("till-1")
				h.step(5 * time.Second)
				h.settle("till-1")
				is, logins := summary(h.get("till-1")), len(s.families)

				h.restart()
				h.askOf(s)
				h.wire.frozen = map[string]client.Reader{}
				for _, kind := range kinds {
					h.wire.frozen[kind] = old
				}
				for range 3 {
					_, _ = h.try("till-1") // a conflict, if anything
					h.step(5 * time.Second)
				}
				if len(s.families) > logins {
					t.Errorf("it was logged in %d times more", len(s.families)-logins)
				}
				h.wire.frozen = nil
				h.settle("till-1")
				if now := summary(h.get("till-1")); now != is {
					t.Errorf("it was %s, and comes to be %s", is, now)
				}
			})
		}
	}
}
