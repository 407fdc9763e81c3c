package storm

import (
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/internal/tokenstore"
	"terminals.dev/session-controller/test/identityenv"
)

const (
	size = 1000
	// away is for how long the server is gone: long enough for the whole fleet to notice.
	away = 5 * time.Second
)

func TestWithTheServerKilledInTheMiddleOfAThousandRenewalsNoSessionIsLostOrLoggedInTwiceAndTheLimitHolds(t *testing.T) {
	limit := v1.RateLimit{RequestsPerSecond: 100, Burst: 20, Concurrent: 16}
	s := startServer(t)
	f := newFleet(t, startManager(t), s, "storm", limit)
	began := time.Now()
	must(t, f.each(t.Context(), size, f.login))
	f.until(t, 3*time.Minute, size, "established", isEstablished)
	t.Logf("%d sessions were established in %s", size, passed(began, time.Now()))
	before := f.seen()

	// The manager hears of all of them at the same moment, and the server is killed between its book and its answer.
	must(t, f.manager.Signal(syscall.SIGSTOP))
	must(t, f.each(t.Context(), size, f.renewal("storm")))
	must(t, s.KillAfter(t.Context(), size/3))
	began = time.Now()
	must(t, f.manager.Signal(syscall.SIGCONT))
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Fatal("the server was not asked for a third of the renewals")
	}
	killed, done := time.Now(), f.count(isRenewed)
	<-time.After(away)
	s.start(t)
	back := time.Now()
	f.until(t, 2*time.Minute, size, "at rest again", isAnswered)
	over := time.Now()
	t.Logf("%d renewals were done when the server was killed, after %s; it was away for %s; %s after it was back, all were done",
		done, passed(began, killed), passed(killed, back), passed(back, over))
	t.Logf("the provider's Ready was %s", f.ready(began))

	sameSessions(t, f, before)
	theLimitHeld(t, s, limit, began)
	theBookAgrees(t, f, s, int(limit.Concurrent))
}

func passed(from, to time.Time) time.Duration { return to.Sub(from).Round(10 * time.Millisecond) }

// sameSessions checks that no session was ever lost or logged in twice, and that each was renewed.
func sameSessions(t *testing.T, f *fleet, before map[string]*v1.TerminalSession) {
	t.Helper()
	failed, most := 0, 0
	for name, s := range f.seen() {
		if was := before[name]; s.Status.SessionID != was.Status.SessionID || len(s.Status.Recent) != 0 || !isEstablished(s) {
			t.Errorf("%s had session %s and is %s with %s; ended were %v", name, was.Status.SessionID, s.Status.Phase, s.Status.SessionID, s.Status.Recent)
		}
		if s.Status.Token == nil || s.Status.Token.Renewals != 1 {
			t.Errorf("%s was not renewed once: %+v", name, s.Status.Token)
		}
		more := int(s.Status.Attempt.Number-before[name].Status.Attempt.Number) - 1
		failed, most = failed+more, max(most, more)
	}
	for _, lost := range f.lost() {
		t.Errorf("for a while %s", lost)
	}
	t.Logf("%d attempts failed, most of them as the provider was left alone; at most %d of one session; the calls were %s", failed, most, f.calls(t))
}

// theLimitHeld checks what the server saw against what the provider allows. What comes in within a span of time has left within it too, but
// for what was under way when it began: that is as many as may be under way, and whoever is looking at the server.
func theLimitHeld(t *testing.T, s *server, limit v1.RateLimit, renewals time.Time) {
	t.Helper()
	all, err := s.Arrivals()
	must(t, err)
	from := slices.IndexFunc(all, func(a identityenv.Arrival) bool { return a.At.After(renewals) })
	rate, burst, underway := int(limit.RequestsPerSecond), int(limit.Burst), int(limit.Concurrent)+1
	t.Logf("the server had %d requests, %d of them since renewals were asked for; at most %d and %d in one second, where %d are allowed; "+
		"at most %.1f and %.1f above %d a second, where a burst of %d is allowed", len(all), len(all)-from, inOneSecond(all), inOneSecond(all[from:]),
		rate+burst, above(all, rate), above(all[from:], rate), rate, burst)
	if most := inOneSecond(all); most > rate+burst+underway {
		t.Errorf("in one second there were %d requests", most)
	}
	if most := above(all, rate); most > float64(burst+underway) {
		t.Errorf("there were %.1f requests more than %d a second allow", most, rate)
	}
}

// theBookAgrees checks what is in the Secrets against what the server honours.
func theBookAgrees(t *testing.T, f *fleet, s *server, underway int) {
	t.Helper()
	list := &corev1.SecretList{}
	must(t, api.List(t.Context(), list, client.InNamespace(f.namespace), client.HasLabels{tokenstore.LabelSession}))
	sessions := f.seen()
	var access, refresh []string
	for _, secret := range list.Items {
		owner := sessions[secret.Labels[tokenstore.LabelSession]]
		switch {
		case owner == nil:
			t.Errorf("Secret %s has no session", secret.Name)
		case secret.Type == tokenstore.TypeGrant:
			refresh = append(refresh, string(secret.Data["refreshToken"]))
		case string(secret.Data[tokenstore.KeySessionID]) == owner.Status.SessionID:
			access = append(access, string(secret.Data[tokenstore.KeyToken]))
		}
	}
	book, err := s.Audit(t.Context(), identityenv.ClientBasic, access, refresh)
	must(t, err)
	t.Logf("the book has %d logins, and %d grants of which nobody heard; of %d access and %d refresh tokens %d and %d are not honoured",
		book.Logins, book.Orphans, len(access), len(refresh), book.Dead, book.Spent)
	if len(access) != size || len(refresh) != size || book.Dead+book.Replaced+book.Spent != 0 {
		t.Errorf("the Secrets and the book disagree: %d access and %d refresh tokens, %+v", len(access), len(refresh), book)
	}
	if book.Logins != size {
		t.Errorf("there were %d logins", book.Logins)
	}
	if book.Orphans < 1 || book.Orphans > underway {
		t.Errorf("nobody has heard of %d grants, want one at least, and no more than could be under way", book.Orphans)
	}
}

func isEstablished(s *v1.TerminalSession) bool { return s.Status.Phase == v1.PhaseEstablished }

func isRenewed(s *v1.TerminalSession) bool {
	return s.Status.Token != nil && s.Status.Token.Renewals > 0
}

// isAnswered is whether what was asked for was done, be it by a login.
func isAnswered(s *v1.TerminalSession) bool {
	st := &s.Status
	return st.LastHandledRenewRequest == s.Annotations[v1.AnnotationRenewRequested] && st.Attempt != nil && st.Attempt.Failures == 0 &&
		meta.IsStatusConditionTrue(st.Conditions, v1.ConditionReady)
}
