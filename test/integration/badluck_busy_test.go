package integration_test

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	v1 "terminals.dev/session-controller/api/v1"
)

// putOff answers with a status and, perhaps, with when to come back, and counts.
func putOff(status int, retryAfter string, date time.Time, asked *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, marker, status)
	}
}

func TestAServerThatAsksToBeLeftAloneIsLeftAloneAndItsTokensStay(t *testing.T) {
	t.Parallel()
	for _, status := range []struct {
		code   int
		reason string
		says   string
	}{
		{http.StatusTooManyRequests, v1.ReasonProviderBusy, "429)"},
		{http.StatusServiceUnavailable, v1.ReasonProviderUnavailable, "503)"},
	} {
		for _, test := range []struct {
			name string
			// after makes the header, of the time by the server's clock.
			after func(date time.Time) string
			// least and most bound the wait.
			least, most time.Duration
		}{
			{"without Retry-After", func(time.Time) string { return "" }, 5 * time.Second, 7 * time.Second},
			{"with Retry-After in seconds", func(time.Time) string { return "90" }, 90 * time.Second, 91 * time.Second},
			{
				"with Retry-After as a time, by a clock that is an hour off",
				func(date time.Time) string { return date.Add(5 * time.Minute).UTC().Format(http.TimeFormat) }, 298 * time.Second, 302 * time.Second,
			},
			{"with Retry-After beyond all bounds", func(time.Time) string { return "99999999999" }, 24 * time.Hour, 24*time.Hour + time.Second},
			{"with a Retry-After that is none", func(time.Time) string { return marker }, 5 * time.Second, 7 * time.Second},
		} {
			for kind, of := range map[string]func(*server, string) func(*v1.SessionProviderSpec){"oauth2": (*server).oauth2, "webhook": (*server).webhook} {
				t.Run(kind+" "+strconv.Itoa(status.code)+" "+test.name, func(t *testing.T) {
					t.Parallel()
					h, srv := newHarness(t), newUnlucky(t)
					path := map[string]string{"oauth2": atToken, "webhook": atWebhook}[kind]
					var asked atomic.Int64
					fail := func() {
						date := h.clock.Now().Add(time.Hour)
						srv.at(path, putOff(status.code, test.after(date), date, &asked))
					}
					h.apply(opaque("idp", "secret", "hunter2"))
					p := sessionProvider("remote", unchecked(of)(srv))
					h.provide(p)
					h.apply(session("till-1", at(v1.KindSessionProvider, "remote"), anybody(p)))
					expectWait := func(phase string) {
						t.Helper()
						h.expect("till-1", phase+": Reconciling ("+status.reason+")")
						h.expectMessage(h.get("till-1"), status.says)
						s, now := h.get("till-1"), h.clock.Now()
						if s.Status.Attempt.NotBefore == nil {
							t.Fatalf("it does not wait: %+v", s.Status.Attempt)
						}
						if wait := s.Status.Attempt.NotBefore.Sub(now); wait < test.least || wait > test.most {
							t.Errorf("it waits for %s, want %s to %s", wait, test.least, test.most)
						}
						if n := asked.Swap(0); n != 1 {
							t.Errorf("it was asked %d times, want once", n)
						}
						h.clock.SetTime(s.Status.Attempt.NotBefore.Add(-time.Second))
						h.settle("till-1")
						if n := asked.Load(); n > 0 {
							t.Errorf("before the wait is over it was asked %d times", n)
						}
					}

					fail()
					h.settle("till-1")
					expectWait("Establishing")
					srv.front.Instead(nil)
					h.step(time.Second)
					h.settle("till-1")
					h.expect("till-1", established)

					token := h.token("till-1-token")
					h.untilRenewal("till-1")
					fail()
					h.settle("till-1")
					expectWait("Established")
					if h.token("till-1-token") != token {
						t.Error("the token that is there did not stay")
					}
					h.expectProvider(p, ready)

					// It stays until its expiry, and not longer.
					until := h.get("till-1").Status.Token.ExpiresAt.Time
					h.clock.SetTime(until.Add(-time.Second))
					h.settle("till-1")
					h.expect("till-1", "Established: Reconciling ("+status.reason+")")
					h.clock.SetTime(until)
					h.settle("till-1")
					h.expect("till-1", "TokenExpired: Reconciling ("+status.reason+")")
					h.expectUntold("hunter2")

					srv.front.Instead(nil)
					h.step(24 * time.Hour)
					h.settle("till-1")
					h.expect("till-1", established)
				})
			}
		}
	}
}

// What a server asks of one session holds for those that come after it: for a minute at most, since another may be served.
func TestAServerThatIsBusyIsNotAskedByTheNextSessionEither(t *testing.T) {
	t.Parallel()
	h, srv := newHarness(t), newUnlucky(t)
	var asked atomic.Int64
	srv.at(atToken, putOff(http.StatusTooManyRequests, "30", h.clock.Now(), &asked))
	h.provide(sessionProvider("remote", srv.public))
	remote := at(v1.KindSessionProvider, "remote")
	h.apply(session("till-1", remote, nobodyInParticular), session("till-2", remote, nobodyInParticular))
	h.settle("till-1", "till-2")
	h.expect("till-2", "Establishing: Reconciling (ProviderBusy)")
	h.expectMessage(h.get("till-2"), "SessionProvider remote was left alone, as it has asked for")
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times, want once", n)
	}
	srv.front.Instead(nil)
	h.step(31 * time.Second)
	h.settle("till-1", "till-2")
	h.expect("till-1", established)
	h.expect("till-2", established)
}
