package session_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/session"
)

func seeded() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func withUID(uid string) *v1.TerminalSession {
	s := fresh()
	s.UID = types.UID(uid)
	return s
}

// uid is a random UID, as the API server makes them.
func uid(r *rand.Rand) string {
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}

func TestRenewalTime(t *testing.T) {
	for _, row := range []struct {
		name                  string
		lifetime, renewBefore time.Duration
		// latest and earliest are how far into the lifetime the renewal may be: without the spread, and with all of it.
		latest, earliest time.Duration
	}{
		{"a third of the lifetime ahead where spec says nothing", 720 * time.Hour, 0, 480 * time.Hour, 408 * time.Hour},
		{"renewBefore ahead", 720 * time.Hour, 100 * time.Hour, 620 * time.Hour, 548 * time.Hour},
		{"renewBefore ahead, to the second", time.Hour, time.Second, time.Hour - time.Second, 54*time.Minute - time.Second},
		{"a third of the lifetime received where renewBefore is not below it", time.Hour, time.Hour, 40 * time.Minute, 34 * time.Minute},
		{"a third of the lifetime received where renewBefore is far above it", time.Hour, 240 * time.Hour, 40 * time.Minute, 34 * time.Minute},
		{"never before half the lifetime, by the spread", 100 * time.Hour, 45 * time.Hour, 55 * time.Hour, 50 * time.Hour},
		{"never before half the lifetime, by renewBefore", 100 * time.Hour, 99 * time.Hour, 50 * time.Hour, 50 * time.Hour},
		{"a token of one minute", time.Minute, 0, 40 * time.Second, 34 * time.Second},
		{"a token of one second", time.Second, 0, 0, 0},
		{"a token of a year", 8760 * time.Hour, 0, 5840 * time.Hour, 4964 * time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			least, most := row.lifetime, time.Duration(0)
			for r, n := seeded(), 0; n < 2000; n++ {
				s := withUID(uid(r))
				if row.renewBefore > 0 {
					s.Spec.Token.RenewBefore = duration(row.renewBefore)
				}
				after := session.RenewalTime(s, start, start.Add(row.lifetime)).Sub(start)
				least, most = min(least, after), max(most, after)
			}
			if least < row.earliest || most > row.latest {
				t.Errorf("renewals are %s to %s after the login, want %s to %s", least, most, row.earliest, row.latest)
			}
			if got, room := most-least, row.latest-row.earliest; got < room*9/10-2*time.Second {
				t.Errorf("renewals are spread over %s alone, and there is room for %s", got, room)
			}
		})
	}
}

func TestRenewalTimeHoldsWhatIsPromisedForAnyToken(t *testing.T) {
	r := seeded()
	for range 100_000 {
		lifetime := time.Duration(1+r.Int64N(365*24*3600)) * time.Second
		if r.IntN(2) == 0 {
			lifetime = time.Duration(1+r.Int64N(600)) * time.Second
		}
		issued := start.Add(time.Duration(r.Int64N(1e9)) * time.Second)
		expires := issued.Add(lifetime)
		s := withUID(uid(r))
		before := lifetime / 3
		if r.IntN(3) > 0 {
			d := time.Duration(r.Int64N(int64(lifetime) * 2))
			s.Spec.Token.RenewBefore = duration(d)
			if d > 0 && d < lifetime {
				before = d
			}
		}
		at := session.RenewalTime(s, issued, expires)
		half := issued.Add(lifetime / 2).Truncate(time.Second)
		latest := expires.Add(-before)
		if latest.Before(half) {
			latest = issued.Add(lifetime / 2)
		}
		earliest := expires.Add(-before - lifetime/10 - time.Second)
		switch {
		case at.Nanosecond() != 0:
			t.Fatalf("%v is not in whole seconds", at)
		case at.Before(half):
			t.Fatalf("a token of %s is renewed %s after it was issued, before half its lifetime", lifetime, at.Sub(issued))
		case at.After(latest):
			t.Fatalf("a token of %s with renewBefore %v is renewed %s before its expiry", lifetime, s.Spec.Token.RenewBefore, expires.Sub(at))
		case at.Before(earliest) && at.After(half):
			t.Fatalf("a token of %s with renewBefore %v is pulled earlier by more than a tenth, to %s before its expiry", lifetime, s.Spec.Token.RenewBefore, expires.Sub(at))
		case !at.Before(expires):
			t.Fatalf("a token of %s is renewed at its expiry", lifetime)
		case !session.RenewalTime(s, issued, expires).Equal(at):
			t.Fatal("the same token has two times")
		}
	}
}

func FuzzRenewalTime(f *testing.F) {
	f.Add("5f0c1e5c-3f1c-4f6e-9a55-0d6a3c1b7e21", int64(2592000), int64(0))
	f.Add("", int64(1), int64(1))
	f.Add("x", int64(61), int64(31536000))
	f.Fuzz(func(t *testing.T, uid string, seconds, before int64) {
		if seconds < 1 || seconds > 366*24*3600 || before < 0 || before > 366*24*3600 {
			return // no token
		}
		s := withUID(uid)
		if before > 0 {
			s.Spec.Token.RenewBefore = duration(time.Duration(before) * time.Second)
		}
		lifetime := time.Duration(seconds) * time.Second
		at := session.RenewalTime(s, start, start.Add(lifetime))
		if at.Before(start.Add(lifetime/2).Truncate(time.Second)) || !at.Before(start.Add(lifetime)) || at.Nanosecond() != 0 {
			t.Errorf("a token of %s is renewed after %s", lifetime, at.Sub(start))
		}
	})
}

func TestTheSpreadOfASessionIsTheSameForEachToken(t *testing.T) {
	s := fresh()
	first := session.RenewalTime(s, start, start.Add(month)).Sub(start)
	for range 5 {
		again := s.DeepCopy()
		again.Name, again.Generation, again.ResourceVersion = "renamed", 9, "77"
		issued := start.Add(1000 * time.Hour)
		if got := session.RenewalTime(again, issued, issued.Add(month)).Sub(issued); got != first {
			t.Errorf("the renewal comes %s after the login, want %s as before", got, first)
		}
	}
}

// A fleet that is logged in at once is not renewed at once, whether its UIDs are random or alike.
func TestAFleetIsRenewedEvenly(t *testing.T) {
	const fleet, bins = 10_000, 50
	r := seeded()
	for kind, name := range map[string]func(int) string{
		"random UIDs": func(int) string { return uid(r) },
		"alike UIDs":  func(n int) string { return fmt.Sprintf("5f0c1e5c-3f1c-4f6e-9a55-%012d", n) },
	} {
		t.Run(kind, func(t *testing.T) {
			const earliest, spread = 408 * time.Hour, 72 * time.Hour
			var full [bins]int
			for n := range fleet {
				after := session.RenewalTime(withUID(name(n)), start, start.Add(month)).Sub(start)
				full[min(int((after-earliest)*bins/spread), bins-1)]++
			}
			for n, got := range full {
				if got < fleet/bins/2 || got > fleet/bins*3/2 {
					t.Errorf("part %d of %d of the spread has %d sessions, want %d or half more or less", n, bins, got, fleet/bins)
				}
			}
		})
	}
}

// attempts fails a login or a renewal again and again, each time when it is due, and returns the waits.
func attempts(t *testing.T, w *world, n int) []time.Duration {
	t.Helper()
	var waits []time.Duration
	for range n {
		st := w.look()
		if st.outcome.Failure == nil {
			t.Fatalf("nothing was asked (%s)\n%s", st.decision.Action, show(w.s.Status))
		}
		wait := w.s.Status.Attempt.NotBefore.Sub(w.now)
		waits = append(waits, wait)
		w.now = w.s.Status.Attempt.NotBefore.Add(-time.Millisecond)
		if early := w.look(); early.decision.Action != session.ActionNone {
			t.Fatalf("the provider is asked before backoff is over")
		}
		w.now = w.s.Status.Attempt.NotBefore.Time
	}
	return waits
}

func TestBackoffGrowsToItsCap(t *testing.T) {
	for r, n := seeded(), 0; n < 50; n++ {
		w := newWorld(func(s *v1.TerminalSession) { s.UID = types.UID(uid(r)) })
		w.fails(session.FailureUnavailable)
		got := attempts(t, w, 40)
		for i, wait := range got {
			want := min(5*time.Second<<min(i, 20), 10*time.Minute)
			if wait < want || wait > want*11/10+time.Second {
				t.Fatalf("wait %d is %s, want %s and at most a tenth more", i+1, wait, want)
			}
		}
		if w.s.Status.Attempt.Failures != 40 || w.s.Status.Attempt.Number != 40 {
			t.Fatalf("40 failures are counted as %s", show(w.s.Status.Attempt))
		}
	}
}

func TestBackoffSpreadsAFleet(t *testing.T) {
	due := map[time.Time]int{}
	r := seeded()
	for range 1000 {
		w := newWorld(func(s *v1.TerminalSession) {
			s.UID = types.UID(uid(r))
			s.Status.Attempt = &v1.Attempt{Number: 9, Failures: 9, ProviderVersion: provider}
		})
		w.fails(session.FailureUnavailable)
		w.look()
		due[w.s.Status.Attempt.NotBefore.Time]++
	}
	for at, n := range due {
		if n > 40 {
			t.Errorf("%d of 1000 sessions ask again at %v", n, at)
		}
	}
}

func TestBackoffRespectsWhatTheProviderAsksFor(t *testing.T) {
	for _, row := range []struct {
		name        string
		kind        session.FailureKind
		after, want time.Duration
	}{
		{"retry-after above the backoff", session.FailureBusy, 90 * time.Second, 90 * time.Second},
		{"retry-after above the backoff's cap", session.FailureBusy, 3 * time.Hour, 3 * time.Hour},
		{"retry-after beyond a day counts as a day", session.FailureBusy, 1000 * time.Hour, 24 * time.Hour},
		{"retry-after of a provider out of reach", session.FailureUnavailable, 90 * time.Second, 90 * time.Second},
		{"retry-after below the backoff", session.FailureBusy, time.Millisecond, 5 * time.Second},
		{"retry-after that is none", session.FailureBusy, -time.Hour, 5 * time.Second},
		{"retry-after with a missing auth token", session.FailureAuthTokenMissing, time.Hour, time.Hour},
		{"a missing auth token", session.FailureAuthTokenMissing, 0, 10 * time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			// At any part of a second: status has whole ones, and no wait is shorter for it.
			for _, part := range []time.Duration{0, 1, 500 * time.Millisecond, 999999999} {
				w := newWorld()
				w.now = start.Add(part)
				w.answer = &session.Failure{Kind: row.kind, RetryAfter: row.after}
				w.look()
				if got := w.s.Status.Attempt.NotBefore.Sub(w.now); got < row.want || got > row.want*11/10+time.Second {
					t.Errorf("%s into the second: the wait is %s, want %s", part, got, row.want)
				}
			}
		})
	}
}

func TestAMissingAuthTokenIsNotAskedForBefore10Minutes(t *testing.T) {
	for _, given := range [][]func(*world){{}, {func(w *world) { w.lifetime = 2 * time.Minute }, loggedIn, renewalDue}} {
		w := newWorld()
		for _, given := range given {
			given(w)
		}
		w.fails(session.FailureAuthTokenMissing)
		for _, wait := range attempts(t, w, 4) {
			if wait < 10*time.Minute || wait > 11*time.Minute+time.Second {
				t.Errorf("the wait is %s, want 10 minutes", wait)
			}
		}
	}
}

func TestAShortTokenLeavesRoomForSeveralTries(t *testing.T) {
	for _, lifetime := range []time.Duration{time.Minute, 5 * time.Minute, time.Hour, 24 * time.Hour} {
		t.Run(lifetime.String(), func(t *testing.T) {
			w := newWorld()
			w.lifetime = lifetime
			loggedIn(w)
			renewalDue(w)
			w.fails(session.FailureUnavailable)
			expiry, tries := w.s.Status.Token.ExpiresAt.Time, 0
			for w.now.Before(expiry) {
				w.look()
				tries++
				if wait := w.s.Status.Attempt.NotBefore.Sub(w.now); wait > lifetime/10*11/10+time.Second {
					t.Errorf("after %d tries the wait is %s, which is more than a tenth of the token's life", tries, wait)
				}
				w.now = w.s.Status.Attempt.NotBefore.Time
			}
			if tries < 4 {
				t.Errorf("there are %d tries before the token is over, want 4 or more", tries)
			}
		})
	}
}

// A provider that is back before the token is over costs nobody a session.
func TestAnOutageShorterThanTheRenewalsRoomEndsNoSession(t *testing.T) {
	r := seeded()
	for range 50 {
		w := newWorld(func(s *v1.TerminalSession) { s.UID = types.UID(uid(r)) })
		loggedIn(w)
		renewalDue(w)
		over := w.s.Status.Token.ExpiresAt.Add(-15 * time.Minute)
		w.fails(session.FailureUnavailable)
		for w.s.Status.Token.Renewals == 0 {
			if w.now.After(over) {
				w.answer = nil
			}
			if w.look(); w.s.Status.Phase != v1.PhaseEstablished {
				t.Fatalf("the session is %s", w.s.Status.Phase)
			}
			w.now = session.WakeTime(w.s, w.now)
		}
	}
}

func TestAClockThatJumpsByAnHourEndsNoSession(t *testing.T) {
	for _, kind := range []v1.SessionType{v1.Continuous, v1.OneShot} {
		for _, jump := range []time.Duration{-time.Hour, time.Hour} {
			w := newWorld()
			w.s.Spec.Type, w.lifetime = kind, 2*time.Hour+time.Second
			loggedIn(w)
			w.now = w.now.Add(time.Hour).Add(jump)
			w.rest(t)
			if w.s.Status.SessionID != "session-1" || w.s.Status.Phase != v1.PhaseEstablished {
				t.Errorf("a %s session is %s after a jump of %s", kind, state(&w.s.Status), jump)
			}
		}
	}
}
