package integration_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	v1 "terminals.dev/session-controller/api/v1"
	"terminals.dev/session-controller/controllers"
)

const signedOut = "NotLoggedIn, held SignedOut: Ready (SignedOut)"

// logout is one of every session, with some changes.
func logout(name string, changes ...func(*v1.SessionLogoutSpec)) *v1.SessionLogout {
	l := &v1.SessionLogout{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1.SessionLogoutSpec{All: new(true), Reason: "end of shift", RequestedBy: "carol@acme.example"},
	}
	for _, change := range changes {
		change(&l.Spec)
	}
	return l
}

// advance has the controller look at a logout once.
func (h *harness) advance(l *v1.SessionLogout) ctrl.Result {
	h.t.Helper()
	h.sync()
	r := &controllers.SessionLogoutReconciler{Client: h.sessions.Client, Orders: h.sessions.Orders, Clock: h.clock}
	result, err := r.Reconcile(h.loud, h.request(l.Name))
	if err != nil {
		h.t.Fatalf("looking at SessionLogout %s: %v", l.Name, err)
	}
	return result
}

// run applies a logout, and has the controller look at it and at sessions until it is over. It returns how it stands then.
func (h *harness) run(l *v1.SessionLogout, sessions ...string) string {
	h.t.Helper()
	h.apply(l)
	h.advance(l)
	h.settle(sessions...)
	h.advance(l)
	return h.standing(l)
}

// standing is how a logout stands: "Complete AllSignedOut, 2 of 2".
func (h *harness) standing(l *v1.SessionLogout) string {
	h.t.Helper()
	h.again(l)
	var is []string
	reason := ""
	for _, kind := range []string{v1.ConditionComplete, v1.ConditionFailed, v1.ConditionReconciling, v1.ConditionStalled} {
		if c := meta.FindStatusCondition(l.Status.Conditions, kind); c != nil {
			is, reason = append(is, kind), c.Reason
			if c.Status != metav1.ConditionTrue || c.ObservedGeneration != l.Generation {
				h.t.Errorf("condition %+v", c)
			}
		}
	}
	return fmt.Sprintf("%s %s, %d of %d", strings.Join(is, " and "), reason, *l.Status.SignedOut, *l.Status.Matched)
}

func TestALogoutSignsOutWhomItSelects(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spec func(*v1.SessionLogoutSpec)
		out  []string
	}{
		"all":         {spec: func(*v1.SessionLogoutSpec) {}, out: []string{"till-1", "till-2", "till-3"}},
		"all but one": {spec: func(s *v1.SessionLogoutSpec) { s.Except = &v1.LogoutExcept{Names: []string{"till-1"}} }, out: []string{"till-2", "till-3"}},
		"a user":      {spec: selecting(v1.LogoutSelector{User: "Anna@ACME.example"}), out: []string{"till-1", "till-2"}},
		"a user's other tills": {spec: func(s *v1.SessionLogoutSpec) {
			selecting(v1.LogoutSelector{User: "anna@acme.example"})(s)
			s.Except = &v1.LogoutExcept{Names: []string{"till-1"}}
		}, out: []string{"till-2"}},
		"a terminal":      {spec: selecting(v1.LogoutSelector{TerminalID: "T-2"}), out: []string{"till-2"}},
		"a serial number": {spec: selecting(v1.LogoutSelector{SerialNumber: "SN-93AX"}), out: []string{"till-1", "till-3"}},
		"a merchant":      {spec: selecting(v1.LogoutSelector{MerchantID: "bakery"}), out: []string{"till-3"}},
		"names":           {spec: selecting(v1.LogoutSelector{Names: []string{"till-3", "till-9"}}), out: []string{"till-3"}},
		"labels": {
			spec: selecting(v1.LogoutSelector{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"floor": "1"}}}), out: []string{"till-2"},
		},
		"all of several things": {spec: selecting(v1.LogoutSelector{User: "anna@acme.example", TerminalID: "T-2"}), out: []string{"till-2"}},
		"nobody":                {spec: selecting(v1.LogoutSelector{User: "anna@acme.example", MerchantID: "bakery"})},
		"those from before a time": {
			spec: func(s *v1.SessionLogoutSpec) { s.EstablishedBefore = new(metav1.NewTime(time.Now().Add(-time.Hour))) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			second := session("till-2", func(s *v1.TerminalSessionSpec) { s.Terminal = v1.Terminal{ID: "T-2"} })
			second.Labels = map[string]string{"floor": "1"}
			h.loggedIn(session("till-1"), second, session("till-3", func(s *v1.TerminalSessionSpec) {
				s.User.Email, s.MerchantID = "bob@acme.example", "bakery"
			}))
			l := logout("out", test.spec)
			want := fmt.Sprintf("Complete AllSignedOut, %[1]d of %[1]d", len(test.out))
			if len(test.out) == 0 {
				want = "Complete NothingMatched, 0 of 0"
			}
			if got := h.run(l, "till-1", "till-2", "till-3"); got != want {
				t.Errorf("the logout is %s, want %s", got, want)
			}
			if !slices.Equal(l.Status.Names, test.out) {
				t.Errorf("the names are %v, want %v", l.Status.Names, test.out)
			}
			for _, s := range []string{"till-1", "till-2", "till-3"} {
				if slices.Contains(test.out, s) {
					h.expect(s, signedOut)
					h.expectNo(s + "-token")
				} else {
					h.expect(s, established)
				}
			}
			h.expectCalls()
		})
	}
}

func selecting(selector v1.LogoutSelector) func(*v1.SessionLogoutSpec) {
	return func(s *v1.SessionLogoutSpec) { s.All, s.Selector = nil, &selector }
}

func TestWhoIsSignedOutStaysOutUntilSomebodyAsks(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	old := h.get("till-1").Status.SessionID
	h.run(logout("out"), "till-1")
	h.expectWrites("patch SessionLogout/status out", "delete Secret till-1-token", "patch TerminalSession/status till-1", "patch SessionLogout/status out")
	st := h.get("till-1").Status
	if st.Hold.By != "carol@acme.example" || !strings.Contains(st.Hold.Message, "end of shift") || st.History != v1.HistoryLoggedOut ||
		st.Recent[0].SessionID != old || st.Recent[0].End != v1.ReasonSignedOut {
		t.Errorf("status is %+v", st)
	}
	want := "Warning SignedOut: Asked for by carol@acme.example. Signed out by SessionLogout out: end of shift. A login request lifts this."
	if len(h.events) != 1 || h.events[0] != want {
		t.Errorf("the events are %q, want %q", h.events, want)
	}
	if log := h.log.String(); !strings.Contains(log, `"by"="carol@acme.example"`) {
		t.Errorf("the log does not say who it was: %s", log)
	}
	h.restart()
	h.step(time.Hour)
	h.settle("till-1")
	h.expect("till-1", signedOut)
	h.expectCalls()

	h.annotate("till-1", v1.AnnotationLoginRequested, "1")
	h.settle("till-1")
	h.expect("till-1", established)
	h.expectCalls("Login")
}

func TestALoginThatWasAskedForBeforeIsAnsweredByTheSignOut(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.annotate("till-1", v1.AnnotationLoginRequested, "before")
	h.run(logout("out"), "till-1")
	h.expect("till-1", signedOut)
	h.expectCalls()
}

func TestALogoutHoldsThoseWhoWaitForALogin(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	refused := session("refused")
	h.answers.say(rejected)
	h.apply(refused)
	h.settle("refused")
	h.answers.say(unavailable)
	h.apply(session("waiting"), session("stalled", at(v1.KindSessionProvider, "missing")), session("unseen"), session("unwanted", loggedOut))
	h.apply(ban("mallory", func(s *v1.SessionBanSpec) { s.Match.User = "mallory@acme.example" }))
	h.apply(session("banned", func(s *v1.TerminalSessionSpec) { s.User.Email = "mallory@acme.example" }))
	h.settle("waiting", "stalled", "unwanted", "refused")
	h.answers.say(nil)
	all := []string{"banned", "refused", "stalled", "unseen", "waiting"}
	l := logout("out")
	if got := h.run(l, append(all, "unwanted")...); got != "Complete AllSignedOut, 5 of 5" || !slices.Equal(l.Status.Names, all) {
		t.Errorf("the logout is %s of %v", got, l.Status.Names)
	}
	h.answers.taken()
	h.step(time.Hour)
	h.apply(sessionProvider("missing"))
	h.look(h.provider("missing"))
	for _, s := range all {
		h.settle(s)
		if s != "banned" {
			h.expect(s, signedOut)
		}
	}
	h.expect("banned", "Terminated, held SignedOut: Ready (BanInForce)")
	h.expect("unwanted", "NotLoggedIn: Ready (LoggedOut)")
	h.expectCalls()
}

func TestATokenThatComesAfterASignOutIsDiscardedAndRevoked(t *testing.T) {
	t.Parallel()
	h := newTelling(t)
	h.apply(session("till-1"))
	l := logout("out")
	h.answers.say(meanwhile(func() { h.apply(l); h.advance(l); h.sync() }))
	h.settle("till-1")
	h.expect("till-1", signedOut)
	h.expectNo("till-1-token")
	h.expectCalls("Login")
	h.expectAside(h.answers.tokens...)
	h.advance(l)
	if got := h.standing(l); got != "Complete AllSignedOut, 1 of 1" {
		t.Errorf("the logout is %s", got)
	}
}

func TestADryRunTellsWhoWouldBeSignedOut(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"), session("till-2"))
	l := logout("out", func(s *v1.SessionLogoutSpec) { s.DryRun = new(true) })
	if got := h.run(l, "till-1", "till-2"); got != "Complete DryRun, 0 of 2" || !slices.Equal(l.Status.Names, []string{"till-1", "till-2"}) {
		t.Errorf("the logout is %s of %v", got, l.Status.Names)
	}
	h.expectWrites("patch SessionLogout/status out")
	h.expect("till-1", established)
}

func TestALogoutOfMoreThanMaxAffectedChangesNothing(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"), session("till-2"))
	l := logout("out", func(s *v1.SessionLogoutSpec) { s.MaxAffected = 1 })
	if got := h.run(l, "till-1", "till-2"); got != "Failed and Stalled TooManyAffected, 0 of 2" {
		t.Errorf("the logout is %s", got)
	}
	if text := message(l, v1.ConditionFailed); !strings.Contains(text, "2 sessions would be signed out, more than spec.maxAffected (1)") {
		t.Errorf("it says %q", text)
	}
	h.expectWrites("patch SessionLogout/status out")
	h.settle("till-1", "till-2")
	h.expectWrites()
	h.expect("till-1", established)
}

func TestALogoutRunsOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"), session("till-2"))
	l := logout("out")
	h.apply(l)
	h.advance(l)
	h.settle("till-1")
	h.advance(l)
	if got := h.standing(l); got != "Reconciling SigningOut, 1 of 2" {
		t.Errorf("half-way it is %s", got)
	}
	h.restart() // and goes on where it was
	h.annotate("till-1", v1.AnnotationLoginRequested, "again")
	h.settle("till-1")
	h.expect("till-1", established)
	h.settle("till-2")
	h.advance(l)
	if got := h.standing(l); got != "Complete AllSignedOut, 2 of 2" {
		t.Errorf("in the end it is %s", got)
	}
	h.expect("till-1", established)
	h.annotate("till-2", v1.AnnotationLoginRequested, "again")
	h.settle("till-1", "till-2")
	h.advance(l)
	h.expect("till-1", established)
	h.expect("till-2", established)
}

func TestALogoutWrittenOutInGitSignsNobodyOutAgain(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	h.step(time.Minute)
	written := func(s *v1.SessionLogoutSpec) { s.EstablishedBefore = new(seconds(h.clock.Now())) }
	l := logout("out", written)
	if got := h.run(l, "till-1"); got != "Complete AllSignedOut, 1 of 1" {
		t.Errorf("the logout is %s", got)
	}
	h.step(time.Minute)
	h.annotate("till-1", v1.AnnotationLoginRequested, "again")
	h.settle("till-1")
	again := logout("out", func(s *v1.SessionLogoutSpec) { *s = l.Spec })
	h.delete(l)
	if got := h.run(again, "till-1"); got != "Complete NothingMatched, 0 of 0" {
		t.Errorf("made again, the logout is %s", got)
	}
	h.expect("till-1", established)
}

func TestAFinishedLogoutIsRemovedWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.loggedIn(session("till-1"))
	l := logout("out", func(s *v1.SessionLogoutSpec) { s.TTLSecondsAfterFinished = new(int32(60)) })
	h.run(l, "till-1")
	if after := h.advance(l).RequeueAfter; after < 58*time.Second || after > time.Minute {
		t.Errorf("it is looked at again in %v, want in a minute", after)
	}
	h.step(time.Minute)
	h.advance(l)
	if err := h.api.Get(h.ctx, h.key("out"), l); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there (%v)", err)
	}
	h.settle("till-1")
	h.expect("till-1", signedOut)
}
